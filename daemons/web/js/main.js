// The page's state and its wiring: read everything once, then follow the event stream and read again what changed.

import {follow, get, NeedsToken} from "./api.js";
import {h, put} from "./dom.js";
import {number} from "./format.js";
import {incidentRow, incidentStory, shownFirst} from "./incidents.js";
import {silenceTable} from "./silences.js";
import {gangTable, hostTable, problemList, quotaBars} from "./tables.js";
import {cubeCard, gangClasses, legend} from "./torus.js";

const state = {fleet: null, incidents: [], selected: null, chosen: false, filter: "", last: null, silences: null};

function showFleet(fleet) {
  const colours = gangClasses(fleet);
  const all = (name) => fleet.clusters.flatMap((cluster) => cluster[name]);
  put("legend", [...colours], () => legend(fleet, colours));
  put("clusters", {clusters: fleet.clusters.map(({name, reachable, cubes, links, gangs}) => ({name, reachable, cubes, links, slices: gangs.map((gang) => gang.slices)}))},
    () => fleet.clusters.map((cluster) => h("div", {},
      fleet.clusters.length > 1 || !cluster.reachable ? h("h3", {}, cluster.name, cluster.reachable ? "" : " (not reachable: what is shown is old)") : null,
      h("div", {class: "cubes"}, cluster.cubes.map((cube) => cubeCard(cube, cluster, colours))))));
  put("gang-table", all("gangs"), gangTable);
  put("quota", all("quota"), quotaBars);
  put("problems", all("problems"), problemList);
  showHosts();
  const chips = all("cubes").flatMap((cube) => cube.chips);
  const sick = chips.filter((chip) => chip.health === "unhealthy").length;
  const unknown = chips.filter((chip) => chip.health === "unknown").length;
  const links = all("links").filter((link) => link.state === "firing").length;
  document.getElementById("totals").textContent =
    `${number(chips.length)} chips, ${sick} sick, ${unknown} unknown, ${links} sick ${links === 1 ? "link" : "links"} · ${all("cubes").length} cubes, ${all("cubes").filter((cube) => cube.spare).length} spare · ${all("gangs").length} gangs`;
}

function showHosts() {
  const hosts = state.fleet.clusters.flatMap((cluster) => [...cluster.cubes.flatMap((cube) => cube.hosts), ...cluster.hosts]);
  put("host-table", [hosts, state.filter], ([rows, filter]) => hostTable(rows, filter));
}

async function showIncident() {
  if (!state.selected) return put("incident", null, () => h("p", {class: "soft"}, "No incident yet. When a part breaks, its story stands here."));
  put("incident", await get(`incidents/${state.selected}`), (incident) => incidentStory(incident, readIncidents, state.fleet?.as_of));
}

async function readIncidents() {
  state.incidents = (await get("incidents?limit=100")).items;
  if (!state.chosen) state.selected = shownFirst(state.incidents, state.selected);
  put("incident-list", [state.incidents, state.selected], ([rows, selected]) => rows.map((row) => incidentRow(row, selected, choose)));
  await showIncident();
}

async function choose(id) {
  state.selected = id;
  state.chosen = true;
  await readIncidents();
}

async function readFleet() {
  state.fleet = await get("fleet");
  showFleet(state.fleet);
}

async function readStatus() {
  const status = await get("status");
  if (status.silences !== state.silences) {
    state.silences = status.silences;
    silencesChanged();
  }
  const late = [["store", status.store], ["broker", status.broker]].filter(([, part]) => part && !part.ok).map(([name]) => `${name} not reachable`);
  const shown = document.getElementById("status");
  shown.className = status.paused || late.length ? "warn" : "";
  shown.textContent = [`live`, `mode ${status.mode}`, status.paused ? "PAUSED: harm is stopped, healing goes on" : null,
    status.silences ? `${status.silences} ${status.silences === 1 ? "silence" : "silences"} in force` : null, ...late].filter(Boolean).join(" · ");
}

async function readSilences() {
  const [active, pending, windows] = await Promise.all([get("silences?state=active"), get("silences?state=pending"), get("windows")]);
  const shown = [...active.items, ...pending.items, ...windows.items.filter((one) => one.state !== "ended")];
  put("silence-table", shown, (rows) => silenceTable(rows, readSilences));
}

// At most one read of each kind a second, however many events come.
function calmly(read) {
  let timer = null, again = false;
  return () => {
    if (timer) {
      again = true;
      return;
    }
    const round = async () => {
      again = false;
      try {
        await read();
      } catch (error) {
        told(error);
      }
      timer = setTimeout(() => {
        timer = null;
        if (again) {
          timer = true;
          round();
        }
      }, 1000);
    };
    timer = true;
    round();
  };
}

// Tells what went wrong; asks for a token where that is what is missing.
function told(error) {
  document.getElementById("login").hidden = !(error instanceof NeedsToken);
  const status = document.getElementById("status");
  status.textContent = error.message;
  status.className = "bad";
}

const fleetChanged = calmly(readFleet), incidentsChanged = calmly(readIncidents), statusChanged = calmly(readStatus), silencesChanged = calmly(readSilences);

let hurry = () => {};

async function live() {
  for (let wait = 500; ; wait = Math.min(wait * 2, 10000)) {
    try {
      await follow(state.last, () => {
        document.getElementById("login").hidden = true;
        fleetChanged();
        incidentsChanged();
        statusChanged();
        silencesChanged();
      }, (event, data, id) => {
        wait = 500;
        if (id) state.last = Number(id);
        if (event === "entry") incidentsChanged();
        if (event === "entry" && data.kind.startsWith("silence")) silencesChanged();
        fleetChanged();
        statusChanged();
      });
    } catch (error) {
      told(error instanceof NeedsToken ? error : new Error(`not connected: ${error.message}`));
    }
    await new Promise((resolve) => {
      hurry = resolve;
      setTimeout(resolve, wait * (0.5 + Math.random() / 2));
    });
  }
}

document.getElementById("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", document.getElementById("token").value.trim());
  hurry();
});
document.getElementById("host-filter").addEventListener("input", (event) => {
  state.filter = event.target.value;
  if (state.fleet) showHosts();
});
live();
