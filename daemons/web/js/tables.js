// Gangs with their progress, quota bars, hosts, problems.

import {h, svg, table} from "./dom.js";
import {healthClass, number, short} from "./format.js";

export function gangTable(gangs) {
  return table(["gang", "state", "chips", "slices on", "step", "steps/s", "checkpoint", "managed by"], gangs.map((gang) => ({
    attributes: {"data-gang": gang.id},
    cells: [short(gang.id), h("span", {class: gang.state === "running" ? "good" : "warn"}, gang.state), number(gang.chips),
      gang.slices.map((slice) => slice.cubes.map(short).join("+") || "–").join(", ") || "–",
      number(gang.progress?.step), number(gang.progress?.rate, 2),
      gang.progress?.checkpoint_step == null ? "–" : `step ${number(gang.progress.checkpoint_step)}, ${number(gang.progress.checkpoint_age)} s ago`, gang.managed_by],
  })));
}

export function quotaBars(rows) {
  if (!rows.length) return h("p", {class: "soft"}, "No quota is set.");
  return rows.map((row) => {
    const limit = row.nominal ?? row.used, most = Math.max(limit, row.used, 1);
    return h("div", {class: "meter", "data-tenant": row.tenant}, h("span", {}, `${row.tenant} · ${row.generation}`),
      svg("svg", {viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": row.nominal === null ? `${row.used} chips` : `${row.used} of ${row.nominal} chips`},
        svg("rect", {class: "room", width: 100 * limit / most, height: 10}),
        svg("rect", {class: row.used > limit ? "over" : "used", width: 100 * row.used / most, height: 10})),
      h("span", {class: "soft"}, row.nominal === null ? `${number(row.used)} chips, no limit` : `${number(row.used)} of ${number(row.nominal)} chips`));
  });
}

export function hostTable(hosts, wanted) {
  const text = (host) => [host.name, host.cube, host.gang, host.health, host.incident, host.in_service ? "in service" : "out of service"].join(" ").toLowerCase();
  const rows = hosts.filter((host) => text(host).includes(wanted.toLowerCase()));
  const most = 200;
  return [table(["host", "cube", "health", "ready", "gang", "marks"], rows.slice(0, most).map((host) => ({
    attributes: {"data-host": host.name},
    cells: [host.name, short(host.cube), h("span", {class: healthClass(host.health)}, host.health), host.ready, short(host.gang),
      [...host.marks.map((mark) => `${mark.ours ? "ours: " : ""}${mark.key}${mark.value ? `=${mark.value}` : ""}`), ...(host.cordoned ? ["cordoned"] : [])].join(", ") || "–"],
  }))), h("p", {class: "soft"}, rows.length > most ? `${most} of ${rows.length} hosts; narrow the search` : `${rows.length} hosts`)];
}

export function problemList(problems) {
  if (!problems.length) return h("p", {class: "soft"}, "None.");
  return table(["problem", "about", "why", "what to do"], problems.map((one) => ({cells: [one.name, one.about, one.why, one.what_to_do]})));
}
