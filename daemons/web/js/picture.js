// One metric of a part over the band of its peers: why it was named. A gap in what was read is a gap in the line.

import {svg} from "./dom.js";
import {number} from "./format.js";

const WIDTH = 640, HEIGHT = 150, LEFT = 70, BOTTOM = 18;

// Runs of what is known: [[place, value], ...] each.
function runs(values) {
  const found = [[]];
  values.forEach((value, place) => {
    if (value !== null) found.at(-1).push([place, value]);
    else if (found.at(-1).length) found.push([]);
  });
  return found.filter((run) => run.length);
}

export function pictureChart(picture) {
  const known = [picture.values, picture.low, picture.high].flat().filter((value) => value !== null);
  if (!known.length) return null;
  const least = Math.min(...known), most = Math.max(...known), span = most - least || 1, count = picture.values.length;
  const x = (place) => LEFT + (WIDTH - LEFT - 8) * (count > 1 ? place / (count - 1) : 1);
  const y = (value) => 8 + (HEIGHT - BOTTOM - 16) * (1 - (value - least) / span);
  const line = (run) => run.map(([place, value], first) => `${first ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const both = picture.low.map((low, place) => low === null || picture.high[place] === null ? null : place);
  const bands = runs(both).map((run) => `${line(run.map(([place]) => [place, picture.high[place]]))}L${line(run.map(([place]) => [place, picture.low[place]]).reverse()).slice(1)}Z`);
  const unit = picture.unit === "1" ? "" : ` ${picture.unit}`;
  return svg("svg", {class: "picture", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "data-metric": picture.metric,
    "aria-label": `${picture.metric} of the part, and the band in which eight in ten of its ${picture.peers} peers are`},
    bands.map((d) => svg("path", {class: "band", d})),
    runs(picture.middle).map((run) => svg("path", {class: "middle", d: line(run)})),
    runs(picture.values).map((run) => svg("path", {class: "mine", d: line(run)})),
    [most, least].map((value) => svg("text", {x: LEFT - 6, y: y(value) + 4, "text-anchor": "end"}, number(value, 4))),
    svg("text", {class: "soft", x: LEFT, y: HEIGHT - 4}, `${picture.metric}${unit}: the part over eight in ten of ${picture.peers} peers, ${Math.round(count * picture.step / 60)} minutes; ${number(picture.nats, 3)} nats of ${number(picture.need, 3)}`));
}
