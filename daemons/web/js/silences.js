// Silences and maintenance windows that are in force or to come, with a way to end those that people made.

import {h, table} from "./dom.js";
import {post} from "./api.js";

const what = (matches) => Object.entries(matches).filter(([, patterns]) => patterns.length).map(([kind, patterns]) => `${kind} ${patterns.join(", ")}`).join("; ");

const time = (iso) => new Date(iso).toLocaleString([], {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false});

function ending(silence, refresh) {
  if (silence.id.startsWith("window/")) return null;
  return h("button", {onclick: async () => {
    const reason = window.prompt(`Why end ${silence.id}?`);
    if (!reason) return;
    try {
      await post(`silences/${silence.id}/end`, {reason});
    } catch (error) {
      window.alert(error.message);
    }
    refresh();
  }}, "End");
}

export function silenceTable(silences, refresh) {
  if (!silences.length) return h("p", {class: "soft"}, "Nothing is left alone.");
  return table(["", "what", "when", "who and why"], silences.map((one) => ({
    attributes: {"data-silence": one.id, "data-state": one.state},
    cells: [h("span", {class: `badge ${one.state === "active" ? "warn" : "soft"}`}, one.state), what(one.matches),
      one.state === "active" ? `until ${time(one.until)}` : `${time(one.from)} to ${time(one.until)}`,
      [`${one.id.startsWith("window/") ? one.id : one.by}: ${one.why} `, ending(one, refresh)]],
  })));
}
