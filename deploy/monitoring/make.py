"""Writes dashboard.json, the Grafana dashboard of sliceward: ``python deploy/monitoring/make.py``; ``--check`` only compares.

One row a question that an operator asks, one panel an answer. tests/test_monitoring.py holds each query to the metrics that
the daemons really export. Grafana's JSON model: version 39 of its schema (Grafana 10.4 and later).
"""  # noqa: INP001 (a script)

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FILE = HERE / "dashboard.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, STAT_HEIGHT, GRAPH_HEIGHT = 24, 4, 8
HERE_ONLY = 'cluster=~"$cluster"'
"""Selector of the clusters that the reader chose."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``queries``: PromQL -> legend. ``bad_from``: value from which a stat turns red. ``kind``: Grafana's name of it."""

    title: str
    about: str
    queries: dict[str, str]
    kind: str = "timeseries"
    unit: str = "short"
    bad_from: float | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A question, and the panels that answer it side by side."""

    title: str
    panels: tuple[Panel, ...]


def stat(title: str, about: str, query: str, *, unit: str = "short", bad_from: float | None = None) -> Panel:
    """Give one number."""
    return Panel(title, about, {query: ""}, "stat", unit, bad_from)


ROWS = (
    Row(
        "Does somebody have to do something?",
        (
            stat("leads", "Coordinators that decide: one.", "sum(sliceward_leading)"),
            stat("open incidents", "All phases.", f"sum(sliceward_incidents_open{{{HERE_ONLY}}}) or vector(0)"),
            stat(
                "wait for a human",
                "Handed over, or asking for a yes.",
                f'sum(sliceward_incidents_open{{{HERE_ONLY}, needs!="nothing"}}) or vector(0)',
                bad_from=1,
            ),
            stat(
                "late loops",
                "Loops past their deadline.",
                "count(sliceward_loop_age_seconds > sliceward_loop_deadline_seconds) or vector(0)",
                bad_from=1,
            ),
            stat("set aside", "Rows and objects that are skipped.", "sum(sliceward_loop_set_aside)", bad_from=1),
            stat("paused", "1: a person stopped harm; healing goes on.", "max(sliceward_paused)", bad_from=1),
            stat("pages that wait", "Not delivered yet.", "sum(sliceward_outbox_pages) or vector(0)", bad_from=10),
            stat(
                "hosts out",
                "Hosts that carry our mark.",
                f"sum(max by (cluster) (sliceward_fleet_hosts_out{{{HERE_ONLY}}}))",
            ),
        ),
    ),
    Row(
        "What is sick, and how does it stand?",
        (
            Panel(
                "findings that fire",
                "By kind, as decided on: of watchers and alerts.",
                {f'sum by (kind) (max by (cluster, kind) (sliceward_fleet_findings{{{HERE_ONLY}, state="firing"}}))': "{{kind}}"},
                stacked=True,
            ),
            Panel(
                "findings that are unknown",
                "Their readings are lost.",
                {
                    f'sum by (kind) (max by (cluster, kind) (sliceward_fleet_findings{{{HERE_ONLY}, state="unknown"}}))': "{{kind}}"
                },
                stacked=True,
            ),
            Panel(
                "open incidents",
                "By phase.",
                {f"sum by (phase) (sliceward_incidents_open{{{HERE_ONLY}}})": "{{phase}}"},
                stacked=True,
            ),
            Panel(
                "oldest incident",
                "By phase.",
                {f"max by (phase) (sliceward_incident_oldest_seconds{{{HERE_ONLY}}})": "{{phase}}"},
                unit="s",
            ),
        ),
    ),
    Row(
        "What does it do?",
        (
            Panel(
                "decisions",
                "New ones in an hour, by playbook and outcome.",
                {"sum by (playbook, outcome) (increase(sliceward_decisions_total[1h]))": "{{playbook}}: {{outcome}}"},
            ),
            Panel(
                "answers of actions",
                "In an hour. Waiting is not failing.",
                {"sum by (action, outcome) (increase(sliceward_steps_total[1h]))": "{{action}}: {{outcome}}"},
            ),
            Panel(
                "time to heal",
                "Median and 90th percentile of incidents that were healed in a day.",
                {
                    'histogram_quantile(0.5, sum by (le) (increase(sliceward_incident_duration_seconds_bucket{how="healed"}[1d])))': "median",
                    'histogram_quantile(0.9, sum by (le) (increase(sliceward_incident_duration_seconds_bucket{how="healed"}[1d])))': "p90",
                },
                unit="s",
            ),
            Panel(
                "hosts",
                "Known, out by our mark, cordoned by people.",
                {
                    f"sum(max by (cluster) (sliceward_fleet_hosts{{{HERE_ONLY}}}))": "known",
                    f"sum(max by (cluster) (sliceward_fleet_hosts_out{{{HERE_ONLY}}}))": "out by our mark",
                    f"sum(max by (cluster) (sliceward_fleet_hosts_cordoned{{{HERE_ONLY}}}))": "cordoned",
                },
            ),
        ),
    ),
    Row(
        "Are people told?",
        (
            Panel(
                "deliveries",
                "In an hour, by pager and outcome.",
                {"sum by (pager, outcome) (increase(sliceward_pages_total[1h]))": "{{pager}}: {{outcome}}"},
            ),
            Panel(
                "oldest page that waits, last heartbeat",
                "By pager.",
                {
                    "max by (pager) (sliceward_outbox_oldest_seconds)": "page for {{pager}}",
                    "max by (pager) (sliceward_heartbeat_age_seconds)": "heartbeat of {{pager}}",
                },
                unit="s",
            ),
            Panel(
                "alerts that came in",
                "In an hour, by what became of them.",
                {"sum by (outcome) (increase(sliceward_alerts_total[1h]))": "{{outcome}}"},
            ),
            Panel(
                "answers to Alertmanager",
                "In an hour, by receiver and HTTP status.",
                {"sum by (receiver, code) (increase(sliceward_webhook_requests_total[1h]))": "{{receiver}}: {{code}}"},
            ),
        ),
    ),
    Row(
        "Can it see?",
        (
            Panel(
                "silent hosts",
                "Agents that are not heard, of those that should speak.",
                {
                    f"sum by (cluster) (sliceward_hosts_silent{{{HERE_ONLY}}})": "{{cluster}} silent",
                    f"sum by (cluster) (sliceward_hosts_known{{{HERE_ONLY}}})": "{{cluster}} known",
                },
            ),
            Panel(
                "frames",
                "A second, by what became of them.",
                {f"sum by (outcome) (rate(sliceward_frames_total{{{HERE_ONLY}}}[5m]))": "{{outcome}}"},
                unit="ops",
            ),
            Panel(
                "connections",
                "1: there. Broker and API server by who asks; the watcher by who hears it.",
                {
                    f"sliceward_broker_connected{{{HERE_ONLY}}}": "broker of {{cluster}}, {{instance}}",
                    f"sliceward_cluster_reachable{{{HERE_ONLY}}}": "API server of {{cluster}}, {{instance}}",
                    f"sliceward_watched{{{HERE_ONLY}}}": "watcher of {{cluster}}, {{instance}}",
                },
            ),
            Panel(
                "ages",
                "Of the store's last answer, of the copy of each cluster, of each watcher's last word.",
                {
                    "sliceward_store_age_seconds": "store, {{instance}}",
                    f"max by (cluster) (sliceward_cluster_age_seconds{{{HERE_ONLY}}})": "copy of {{cluster}}",
                    f"max by (cluster) (sliceward_watcher_age_seconds{{{HERE_ONLY}}})": "watcher of {{cluster}}",
                },
                unit="s",
            ),
        ),
    ),
    Row(
        "How is sliceward itself?",
        (
            Panel(
                "loops",
                "Age of the last whole round as a share of its deadline; 1 is late.",
                {"sliceward_loop_age_seconds / sliceward_loop_deadline_seconds": "{{loop}}, {{instance}}"},
                unit="percentunit",
            ),
            Panel(
                "messages that are refused",
                "In an hour.",
                {
                    f'sum by (cluster, outcome) (increase(sliceward_messages_total{{{HERE_ONLY}, outcome=~"bad_.*|unasked_event"}}[1h]))': "{{cluster}}: {{outcome}}",
                    f'sum by (cluster, outcome) (increase(sliceward_frames_total{{{HERE_ONLY}, outcome=~"bad_frame|wrong_.*|panel_full"}}[1h]))': "{{cluster}}: {{outcome}}",
                    f'sum by (cluster, outcome) (increase(sliceward_wire_messages_total{{{HERE_ONLY}, outcome=~"dropped_.*"}}[1h]))': "{{cluster}}: {{outcome}}",
                },
            ),
            Panel("memory of the panel", "By cluster.", {f"sliceward_panel_bytes{{{HERE_ONLY}}}": "{{cluster}}"}, unit="bytes"),
            Panel(
                "modes and versions",
                "How far each playbook may go; what runs where.",
                {
                    "count by (mode) (sliceward_playbook_mode)": "playbooks in {{mode}}",
                    "count by (version) (sliceward_build_info)": "processes of {{version}}",
                },
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Give the whole model."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        panels.append({"type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": _place(0, top, WIDTH, 1)})
        height = STAT_HEIGHT if row.panels[0].kind == "stat" else GRAPH_HEIGHT
        wide = WIDTH // len(row.panels)
        panels += [_panel(one, _place(number * wide, top + 1, wide, height)) for number, one in enumerate(row.panels)]
        top += 1 + height
    return {
        "uid": "sliceward",
        "title": "sliceward",
        "description": "Faults of the TPU fleet, what is done about them, and whether sliceward itself is well.",
        "tags": ["sliceward", "tpu"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), _clusters()]},
        "panels": [{"id": number, **one} for number, one in enumerate(panels, 1)],
    }


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(of: Panel, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if of.bad_from is not None:
        steps.append({"color": "red", "value": of.bad_from})
    fields: dict[str, Any] = {"unit": of.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if of.stacked:
        fields["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 30}
    targets = [
        {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend or "__auto"}
        for number, (query, legend) in enumerate(of.queries.items())
    ]
    return {
        "type": of.kind,
        "title": of.title,
        "description": of.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": fields, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if of.kind == "stat" else {"legend": {"displayMode": "list"}},
        "targets": targets,
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _clusters() -> dict[str, Any]:
    query = "label_values(sliceward_fleet_hosts, cluster)"
    return {
        "name": "cluster",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": "clusters"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def text() -> str:
    """Give the file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


def main() -> int:
    """Write it, or tell that it is out of date."""
    if "--check" in sys.argv[1:]:
        good = FILE.exists() and FILE.read_text(encoding="utf-8") == text()
        sys.stdout.write("" if good else f"{FILE.name} is out of date: run python deploy/monitoring/make.py\n")
        return int(not good)
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
