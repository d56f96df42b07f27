// The list of incidents and the story of one: timeline, steps as bars, the decision record, pages.

import {h, svg, table} from "./dom.js";
import {clock, number, severityClass, short, since} from "./format.js";
import {post} from "./api.js";
import {pictureChart} from "./picture.js";

const ENTRY_CLASS = {"step-failed": "bad", seen: "warn", located: "warn", decided: "act", held: "warn", silenced: "warn", paged: "warn", "step-done": "good", closed: "good", approved: "act", aborted: "bad"};

// What is shown until the reader chooses: the newest that is open, else what stood there, else the newest; never one that is told in another if there is a choice.
export function shownFirst(incidents, shown) {
  const own = incidents.filter((incident) => incident.how !== "folded");
  const open = own.find((incident) => incident.state === "open"), last = own.find((incident) => incident.id === shown);
  return (open ?? last ?? own[0] ?? incidents[0])?.id ?? null;
}

export function incidentRow(incident, selected, choose) {
  return h("li", {}, h("button", {"aria-current": incident.id === selected, onclick: () => choose(incident.id), "data-incident": incident.id},
    h("span", {class: `badge ${severityClass(incident.severity)}`}, incident.kind),
    h("span", {class: `badge ${incident.state === "open" ? "act" : "good"}`}, incident.how ?? incident.phase),
    incident.silenced ? h("span", {class: "badge warn"}, "silenced") : null,
    short(incident.part), " ", h("span", {class: "soft"}, clock(incident.opened))));
}

function story(incident) {
  return h("ol", {class: "timeline"}, incident.timeline.map((entry) => h("li", {"data-kind": entry.kind},
    h("time", {datetime: entry.at, title: clock(entry.at)}, `+${since(incident.opened, entry.at)}`),
    h("span", {class: ENTRY_CLASS[entry.kind] ?? "soft"}, entry.kind),
    h("span", {}, entry.text))));
}

function gantt(incident, asOf) {
  const steps = incident.steps.filter((step) => step.started);
  if (!steps.length) return null;
  const from = new Date(incident.opened), to = new Date(incident.closed ?? asOf ?? Date.now());
  const width = 640, left = 150, row = 17, span = Math.max(1, to - from);
  const x = (at) => left + (width - left - 8) * Math.min(1, Math.max(0, (new Date(at) - from) / span));
  const bars = steps.map((step, place) => {
    const start = x(step.started), end = x(step.ended ?? to);
    return [svg("text", {x: 0, y: place * row + 12}, step.name),
      svg("rect", {class: `bar ${step.state}`, x: start, y: place * row + 3, width: Math.max(2, end - start), height: row - 6, rx: 2, "data-step": step.name, "data-state": step.state},
        svg("title", {}, `${step.name}: ${step.state}, ${since(step.started, step.ended ?? to)}. ${step.text}`))];
  });
  const pages = incident.pages.map((page) => svg("circle", {class: "page-mark", cx: x(page.at), cy: steps.length * row + 8, r: 4}, svg("title", {}, `page ${page.event}: ${page.summary}`)));
  return svg("svg", {class: "gantt", viewBox: `0 0 ${width} ${steps.length * row + 18}`, role: "img", "aria-label": "Steps over time"},
    bars, svg("text", {class: "soft", x: 0, y: steps.length * row + 12}, "pages"), pages);
}

function conditionRow(condition) {
  const inputs = Object.entries(condition.inputs ?? {}).map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join(", ");
  return {cells: [tick(condition.value === true), condition.name, h("code", {}, condition.expression),
    h("code", {}, `${typeof condition.value === "string" ? condition.value : inputs}`)]};
}

const tick = (good) => h("span", {class: good ? "good" : "bad"}, good ? "✓" : "✗");

// What the reader opened or closed stays so when the story goes on.
const opened = new Map();

function decision(record, chosen) {
  const key = `${record.at} ${record.seq}`, open = opened.get(key) ?? chosen;
  const others = record.candidates.filter((one) => !one.matched && one.why_not);
  return h("details", {class: "decision", open, "data-playbook": record.playbook ?? "", "data-outcome": record.outcome},
    h("summary", {onclick: (event) => opened.set(key, !event.currentTarget.parentElement.open)},
      h("strong", {}, record.playbook ?? "no playbook"), ` ${record.outcome}: ${record.why} `, h("span", {class: "soft"}, clock(record.at))),
    record.conditions.length ? table(["", "condition", "expression", "inputs"], record.conditions.map(conditionRow)) : null,
    record.guards.length ? table(["", "guard", "why"], record.guards.map((guard) => ({cells: [tick(guard.ok), guard.name, guard.why]}))) : null,
    record.budgets.length ? table(["", "budget", "used", "asked", "limit"], record.budgets.map((budget) => ({cells: [
      tick(budget.ok), budget.name, number(budget.used), number(budget.asked), number(budget.limit)]}))) : null,
    others.length ? h("p", {class: "soft"}, "Why not: ", others.map((one) => `${one.playbook} ${one.why_not}`).join("; ")) : null);
}

// Newest first; the one that chose the playbook is open.
function decisions(incident) {
  const newestFirst = incident.decisions.toReversed();
  const chosen = newestFirst.find((record) => record.conditions.length) ?? newestFirst[0];
  return newestFirst.map((record) => decision(record, record === chosen));
}

function evidence(finding) {
  return h("li", {"data-finding": finding.kind},
    h("span", {class: `badge ${finding.state === "firing" ? "bad" : "soft"}`}, `${finding.kind} ${finding.state}`), finding.text,
    finding.picture ? pictureChart(finding.picture) : null,
    table(["metric", "value", "limit", "entity", "read"], finding.evidence.map((one) => ({cells: [
      one.metric, `${number(one.value, 4)} ${one.unit === "1" ? "" : one.unit}`, number(one.limit, 4), short(one.entity), clock(one.at)]}))));
}

function buttons(incident, refresh) {
  if (incident.state !== "open") return null;
  const act = (verb) => async () => {
    const reason = window.prompt(`Why ${verb} ${incident.id}?`);
    if (!reason) return;
    try {
      await post(`incidents/${incident.id}/${verb}`, {reason});
    } catch (error) {
      window.alert(error.message);
    }
    refresh();
  };
  return h("p", {}, incident.needs === "approval" ? h("button", {onclick: act("approve")}, "Approve") : null, " ", h("button", {onclick: act("abort")}, "Abort"));
}

export function incidentStory(incident, refresh, asOf) {
  return [
    h("h3", {}, `${incident.kind} on ${short(incident.part)}`),
    h("p", {}, h("span", {class: `badge ${incident.state === "open" ? "act" : "good"}`}, incident.how ?? incident.phase),
      h("code", {}, incident.id), ` ${incident.text}`),
    incident.needs === "human" ? h("p", {class: "warn"}, `A human must look: ${incident.why || "sliceward goes no further by itself"}`) : null,
    incident.silenced ? h("p", {class: "warn", "data-silenced": true}, `${incident.silenced}. Healing goes on${incident.paged ? "" : "; no page is opened until then"}.`) : null,
    buttons(incident, refresh),
    h("h4", {}, "Timeline"), gantt(incident, asOf), story(incident),
    h("h4", {}, "Decision record"), h("div", {id: "decisions"}, decisions(incident)),
    h("h4", {}, "Evidence"), h("ul", {}, incident.findings.map(evidence)),
    h("h4", {}, "Pages"), table(["event", "pager", "state", "summary"], incident.pages.map((page) => ({cells: [page.event, page.pager, page.state, page.summary]}))),
  ];
}
