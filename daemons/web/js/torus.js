// Draws each cube as slabs: one 4x4 square per z layer, one cell a chip, host borders, gang colour, sick links as bars.
// Slabs show a fault at a glance where a 3D box hides it behind healthy cells.

import {h, svg} from "./dom.js";
import {number, short} from "./format.js";

const CELL = 14, GAP = 12, TOP = 14, EDGE = 2;

export function gangClasses(fleet) {
  const gangs = fleet.clusters.flatMap((cluster) => cluster.gangs.map((gang) => gang.id)).sort();
  return new Map(gangs.map((id, place) => [id, `gang-${place % 6}`]));
}

const place = ([x, y, z], shape) => [EDGE + (z ?? 0) * (shape[0] * CELL + GAP) + x * CELL, TOP + EDGE + (shape[1] - 1 - y) * CELL];

function chipCell(chip, cube, hostsByName, colours) {
  const host = hostsByName.get(chip.host);
  const gang = host?.gang;
  const base = gang ? colours.get(gang) ?? "gang-0" : cube.spare ? "spare" : "idle";
  const state = chip.health === "unhealthy" ? " sick" : chip.health === "unknown" ? " unknown" : "";
  const [x, y] = place(chip.at, cube.shape), reading = chip.reading;
  const title = `${chip.host} chip ${chip.index} at ${chip.at.join(",")}: ${chip.health}${gang ? `, ${short(gang)}` : ""}${host?.in_service === false ? ", out of service" : ""}${reading ? `; ${reading.metric} ${number(reading.value, 4)}, peers ${number(reading.low, 4)} to ${number(reading.high, 4)}` : ""}`;
  const marks = [svg("rect", {class: `chip ${base}${state}`, x, y, width: CELL, height: CELL, rx: 2,
    "data-chip": `${chip.host}/${chip.index}`, "data-at": chip.at.join(","), "data-health": chip.health, "data-gang": gang ?? ""}, svg("title", {}, title))];
  if (host?.in_service === false) marks.push(svg("path", {class: "hatch", d: `M${x + 1} ${y + CELL - 1}L${x + CELL - 1} ${y + 1}`}));
  if (reading) marks.push(bandMark(reading, x, y));
  if (chip.health === "unhealthy") marks.push(svg("path", {class: "cross", d: `M${x + 4} ${y + 4}l6 6m0 -6l-6 6`}));
  return marks;
}

// A small gauge in the cell: the band of the peers as a bar, what the chip reads as a dot beside or in it.
function bandMark(reading, x, y) {
  const least = Math.min(reading.value, reading.low), most = Math.max(reading.value, reading.high), span = most - least || 1;
  const at = (value) => y + CELL - 2 - (CELL - 4) * (value - least) / span;
  return svg("g", {class: "reading", "data-reading": reading.metric},
    svg("rect", {class: "band", x: x + CELL / 2 - 2, y: at(reading.high), width: 4, height: Math.max(1, at(reading.low) - at(reading.high))}),
    svg("circle", {class: "mine", cx: x + CELL / 2, cy: at(reading.value), r: 2.2}));
}

function hostBox(host, chips, shape) {
  const own = chips.filter((chip) => chip.host === host.name).map((chip) => place(chip.at, shape));
  if (!own.length) return null;
  const x = Math.min(...own.map((p) => p[0])), y = Math.min(...own.map((p) => p[1]));
  const width = Math.max(...own.map((p) => p[0])) - x + CELL, height = Math.max(...own.map((p) => p[1])) - y + CELL;
  return svg("rect", {class: "host-box", x, y, width, height, rx: 2});
}

// A link inside one slab is a bar across the border of its chips; one between slabs or through a face is a ring on each end.
function linkMark(link, chips, shape) {
  const ends = link.ends.map((end) => chips.get(end.split("/").slice(2).join("/"))).filter(Boolean);
  const state = link.state === "firing" ? "" : " resolved";
  const title = () => svg("title", {}, `${link.kind} ${short(link.id)} (${link.state})`);
  const near = ends.length === 2 && ends[0].at[2] === ends[1].at[2]
    && Math.abs(ends[0].at[0] - ends[1].at[0]) + Math.abs(ends[0].at[1] - ends[1].at[1]) === 1;
  if (near) {
    const [[ax, ay], [bx, by]] = ends.map((chip) => place(chip.at, shape).map((v) => v + CELL / 2));
    const d = `M${ax} ${ay}L${bx} ${by}`;
    return [svg("path", {class: "link-halo", d}), svg("path", {class: `link${state}`, d, "data-link": link.id}, title())];
  }
  return ends.map((chip) => {
    const [x, y] = place(chip.at, shape);
    return svg("circle", {class: `link-end${state}`, cx: x + CELL / 2, cy: y + CELL / 2, r: CELL / 2.4, "data-link": link.id}, title());
  });
}

function drawing(cube, links, colours) {
  const shape = [cube.shape[0], cube.shape[1] ?? 1, cube.shape[2] ?? 1];
  const hosts = new Map(cube.hosts.map((host) => [host.name, host]));
  const chips = new Map(cube.chips.map((chip) => [`${chip.host}/${chip.index}`, chip]));
  const width = 2 * EDGE + shape[2] * shape[0] * CELL + (shape[2] - 1) * GAP, height = TOP + 2 * EDGE + shape[1] * CELL;
  return svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${cube.name}: ${cube.chips.length} chips`},
    Array.from({length: shape[2]}, (_, z) => svg("text", {class: "slab-name", x: EDGE + z * (shape[0] * CELL + GAP), y: 9}, `z=${z}`)),
    cube.chips.flatMap((chip) => chipCell(chip, {...cube, shape}, hosts, colours)),
    cube.hosts.map((host) => hostBox(host, cube.chips, shape)),
    links.flatMap((link) => linkMark(link, chips, shape)));
}

function caption(cube, cluster) {
  const slices = cluster.gangs.flatMap((gang) => gang.slices.filter((slice) => slice.cubes.includes(cube.id)).map((slice) => `${short(gang.id)} slice ${slice.index}`));
  const words = [...slices];
  if (cube.spare) words.push("spare");
  if (!cube.in_service) words.push("out of service");
  if (cube.state && cube.state !== "HEALTHY") words.push(cube.state);
  if (cube.health !== "healthy") words.push(cube.health);
  return words.join(" · ") || "free";
}

export function cubeCard(cube, cluster, colours) {
  const links = cluster.links.filter((link) => link.ends.some((end) => cube.hosts.some((host) => host.name === end.split("/")[2])));
  return h("div", {class: `cube${cube.in_service ? "" : " out"}`, "data-cube": cube.name, "data-health": cube.health, "data-in-service": String(cube.in_service), "data-spare": String(cube.spare)},
    h("h3", {}, cube.name), h("p", {}, caption(cube, cluster)), drawing(cube, links, colours));
}

export function legend(fleet, colours) {
  const box = (classes, ...more) => svg("svg", {viewBox: "-1 -1 16 16", "aria-hidden": "true"}, svg("rect", {class: `chip ${classes}`, width: 14, height: 14, rx: 2}), more);
  const rows = [
    ...[...colours].slice(0, 6).map(([id, colour]) => [box(colour), short(id)]),
    [box("spare"), "spare"], [box("idle"), "free"],
    [box("sick", svg("path", {class: "cross", d: "M4 4l6 6m0 -6l-6 6"})), "sick chip"],
    [box("idle", svg("path", {class: "link", d: "M2 7L12 7"})), "sick link"],
    [box("idle unknown"), "unknown"],
    [box("idle", svg("path", {class: "hatch", d: "M1 13L13 1"})), "out of service"],
  ];
  return rows.map(([picture, text]) => h("li", {}, picture, text));
}
