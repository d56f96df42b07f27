"""The shipped rules and the dashboard: they ask for metrics that exist, fire when they should, and lead to a page that helps."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from sliceward.daemons.agent.run import AgentMetrics, agent_of
from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.coordinator.alerts import read_payload
from sliceward.daemons.coordinator.metrics import Figures
from sliceward.daemons.coordinator.unplaced import Unplaced
from sliceward.daemons.settings import load
from sliceward.daemons.watcher.run import health_of
from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Retry
from sliceward.topology.ids import HostId
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_alerts import a_payload, an_alert
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, some_rounds
from tests.daemons.watcher.stage import H0
from tests.daemons.watcher.stage import Stage as WatcherStage
from tests.services.processes import need_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = MONITORING / "alerts.yaml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
}
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
NAME = re.compile(r"\bsliceward_[a-z_]+\b")
OF_PROMETHEUS = {"instance", "job", "le"}


# ── what the daemons export ───────────────────────────────────────────────────────────────────────────────────────────


async def _of_coordinator(folder: Path) -> CollectorRegistry:
    """Play what gives every series a sample: an incident, a page that waits, an alert twice, a bad message."""
    world = World(folder, actions=ACTIONS)
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.fill(the_fleet())
    world.pager.failing = [Retry("down")] * 100
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        registry = bench.coordinator.health.registry
        registry.register(Figures(bench.coordinator))
        registry.register(Unplaced([bench.side], bench.coordinator.deciding.looks.scene))
        await bench.coordinator.desk.take(read_payload(a_payload(an_alert()), receiver="main", now=world.clock()))
        await some_rounds(bench, 8)
        world.provider.now_all("done")
        await some_rounds(bench, 12)
        world.tell(world.finding(HostId("c1", "cube-3-host-07"), Kind.CHIP_LOST))
        await some_rounds(bench, 4)
        bench.coordinator.webhooks.labels("main", "200").inc()
        return _kept(registry)


async def _of_watcher() -> CollectorRegistry:
    stage = WatcherStage()
    async with stage.connected():
        await stage.rounds(8)
        stage.silent = {H0}
        await stage.rounds(12)
        stage.watcher.parts.loops.add("detect", deadline=60)
        return _kept(health_of(stage.watcher).registry)


def _of_agent(folder: Path) -> CollectorRegistry:
    environ = {"SLICEWARD_CLUSTER": "c1", "SLICEWARD_NODE_NAME": "n1", "SLICEWARD_STATE": str(folder)}
    agent = agent_of(load(AgentSettings, file=None, environ=environ))
    registry = CollectorRegistry()
    registry.register(AgentMetrics(agent))
    return _kept(registry)


class _Still:
    """What a registry showed once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.families = list(registry.collect())

    def collect(self) -> list[Any]:
        return self.families


def _kept(registry: CollectorRegistry) -> CollectorRegistry:
    still = CollectorRegistry()
    still.register(_Still(registry))
    return still


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Give each series that a daemon exports with the names of its labels."""

    async def play() -> list[CollectorRegistry]:
        return [await _of_coordinator(tmp_path_factory.mktemp("coordinator")), await _of_watcher()]

    registries = [*asyncio.run(play()), _of_agent(tmp_path_factory.mktemp("agent"))]
    found: dict[str, set[str]] = {}
    for registry in registries:
        for family in registry.collect():
            for suffix in {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",)):
                # A series without a sample yet still knows its labels.
                found.setdefault(family.name + suffix, set()).update(getattr(family, "_labelnames", ()))
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return {name: labels for name, labels in found.items() if not name.endswith("_created")}


def queries() -> list[Any]:
    """Give each PromQL expression that is shipped."""
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    asked = [(f"dashboard: {panel['title']}", target["expr"]) for panel in panels for target in panel["targets"]]
    asked += [("dashboard: variable", one["query"]["query"]) for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    asked += [(name, rule["expr"]) for name, rule in ALERTS.items()]
    return [pytest.param(query, id=f"{where}-{place}") for place, (where, query) in enumerate(asked)]


@pytest.mark.parametrize("query", queries())
def test_each_query_asks_for_series_and_labels_that_exist(query: str, exported: dict[str, set[str]]) -> None:
    named = set(NAME.findall(query))
    assert named
    assert named - set(exported) == set()
    for name, selector in re.findall(r"(sliceward_[a-z_]+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)(?:=~|!=|!~|=)", selector)) - exported[name] == set(), name
    known = set().union(*(exported[name] for name in named)) | OF_PROMETHEUS
    for group in re.findall(r"\bby \(([^)]*)\)", query):
        assert {label.strip() for label in group.split(",")} - known == set()


@pytest.mark.parametrize("name", ALERTS)
def test_each_label_that_an_alert_tells_is_one_that_its_query_keeps(name: str, exported: dict[str, set[str]]) -> None:
    rule = ALERTS[name]
    kept = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
    grouped = {label.strip() for group in kept for label in group.split(",")}
    series = set().union(*(exported[one] for one in NAME.findall(rule["expr"]))) | OF_PROMETHEUS
    told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    assert told - (grouped or (set() if rule["expr"].startswith(("sum(", "max(", "(sum(")) else series)) == set()


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

Series = dict[str, str]
C1 = 'cluster="c1"'
CASES: dict[str, tuple[Series, Series]] = {
    # alert: (series with which it fires at 40 m, series with which it does not); `a+bxN` begins at a and adds b each minute
    "SlicewardHeartbeat": ({'loop_beats_total{loop="deciding"}': "0+12x60"}, {'loop_beats_total{loop="deciding"}': "7x60"}),
    "SlicewardNoLeader": ({"leading": "0x60"}, {'leading{instance="a"}': "0x60", 'leading{instance="b"}': "1x60"}),
    "SlicewardTwoLeaders": (
        {'leading{instance="a"}': "1x60", 'leading{instance="b"}': "1x60"},
        {'leading{instance="a"}': "1x60", 'leading{instance="b"}': "0x60"},
    ),
    "SlicewardLoopLate": (
        {'loop_age_seconds{loop="deciding"}': "100x60", 'loop_deadline_seconds{loop="deciding"}': "45x60"},
        {'loop_age_seconds{loop="deciding"}': "40x60", 'loop_deadline_seconds{loop="deciding"}': "45x60"},
    ),
    "SlicewardSetAside": ({'loop_set_aside{loop="deciding"}': "1x60"}, {'loop_set_aside{loop="deciding"}': "0x60"}),
    "SlicewardStoreSilent": ({"store_age_seconds": "200x60"}, {"store_age_seconds": "30x60"}),
    "SlicewardBrokerAway": ({f"broker_connected{{{C1}}}": "0x60"}, {f"broker_connected{{{C1}}}": "1x36 0 0 1x60"}),
    "SlicewardClusterSilent": ({f"cluster_reachable{{{C1}}}": "0x60"}, {f"cluster_reachable{{{C1}}}": "1x60"}),
    "SlicewardWatcherSilent": (
        {f"watched{{{C1}}}": "0x60", f"broker_connected{{{C1}}}": "1x60"},
        {f"watched{{{C1}}}": "0x60", f"broker_connected{{{C1}}}": "0x60"},
    ),
    "SlicewardManyAgentsSilent": (
        {f"hosts_silent{{{C1}}}": "60x60", f"hosts_known{{{C1}}}": "1000x60"},
        {f"hosts_silent{{{C1}}}": "0x60", f"hosts_known{{{C1}}}": "0x60"},
    ),
    "SlicewardAgentsSilent": ({f"hosts_silent{{{C1}}}": "1x60"}, {f"hosts_silent{{{C1}}}": "0x20 1x60"}),
    "SlicewardFindingsUnknown": (
        {f'fleet_findings{{{C1}, kind="ChipLost", state="unknown"}}': "2x120"},
        {f'fleet_findings{{{C1}, kind="ChipLost", state="firing"}}': "2x120"},
    ),
    "SlicewardFramesMalformed": (
        {f'frames_total{{{C1}, outcome="bad_frame"}}': "0+1x60"},
        {f'frames_total{{{C1}, outcome="taken"}}': "0+1x60"},
    ),
    "SlicewardMessagesMalformed": (
        {f'messages_total{{{C1}, outcome="bad_finding"}}': "0+1x60"},
        {f'messages_total{{{C1}, outcome="received"}}': "0+1x60"},
    ),
    "SlicewardFramesDropped": (
        {f'wire_messages_total{{{C1}, outcome="dropped_full"}}': "0+5x60"},
        {f'wire_messages_total{{{C1}, outcome="dropped_unasked"}}': "0+5x60"},
    ),
    "SlicewardWebhookRefuses": (
        {'webhook_requests_total{receiver="main", code="503"}': "0+1x60"},
        {'webhook_requests_total{receiver="main", code="200"}': "0+1x60"},
    ),
    "SlicewardAlertsTruncated": (
        {'alerts_total{outcome="truncated"}': "0x30 3x30"},
        {'alerts_total{outcome="accepted"}': "0x30 3x30"},
    ),
    "SlicewardPagesRefused": (
        {'pages_total{pager="on-call", outcome="failed"}': "0x30 1x30"},
        {'pages_total{pager="on-call", outcome="failed"}': "4x60"},
    ),
    "SlicewardOutboxOld": (
        {'outbox_oldest_seconds{pager="on-call"}': "0+60x60"},
        {'outbox_oldest_seconds{pager="on-call"}': "200x60"},
    ),
    "SlicewardHeartbeatRefused": (
        {'heartbeat_age_seconds{pager="on-call"}': "0+60x60"},
        {'heartbeat_age_seconds{pager="on-call"}': "60x60"},
    ),
    "SlicewardApprovalWaits": (
        {f'incidents_open{{{C1}, phase="waiting-for-approval", needs="approval"}}': "1x60"},
        {f'incidents_open{{{C1}, phase="acting", needs="nothing"}}': "1x60"},
    ),
    "SlicewardIncidentNeedsHuman": (
        {f'incidents_open{{{C1}, phase="handed-over", needs="human"}}': "1x60"},
        {f'incidents_open{{{C1}, phase="handed-over", needs="human"}}': "_x20 1x60"},
    ),
    "SlicewardIncidentLong": (
        {f'run_oldest_seconds{{{C1}, phase="acting"}}': "6000+60x60"},
        {
            f'run_oldest_seconds{{{C1}, phase="repairing"}}': "6000+60x60",
            f'run_oldest_seconds{{{C1}, phase="acting"}}': "60x60",
            f'incident_oldest_seconds{{{C1}, phase="acting", needs="nothing"}}': "90000x60",
        },
    ),
    "SlicewardStepsFail": (
        {'steps_total{action="domain.mark", outcome="failed"}': "0+1x60"},
        {'steps_total{action="domain.mark", outcome="waiting"}': "0+1x60"},
    ),
    "SlicewardManyHostsOut": (
        {f"fleet_hosts_out{{{C1}}}": "20x60", f"fleet_hosts{{{C1}}}": "100x60"},
        {f"fleet_hosts_out{{{C1}}}": "5x60", f"fleet_hosts{{{C1}}}": "100x60"},
    ),
    "SlicewardPausedLong": ({"paused": "1x900"}, {"paused": "0x60"}),
}
LATER = {"SlicewardFindingsUnknown": "90m", "SlicewardPausedLong": "13h"}


@pytest.fixture(scope="module")
def promtool() -> str:
    return need_program("promtool", variable="SLICEWARD_PROMTOOL")


def _told(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)  # noqa: S603 (found above)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_each_replica_tells_is_not_added_up() -> None:
    """The leader alone tells of its work; of the fleet both tell, and a sum would count everything twice."""
    twice = ("sliceward_fleet_", "sliceward_cluster_", "sliceward_watcher_")
    added = re.compile(rf"\bsum\b[^()]*(?:\([^()]*\))?\s*\(\s*(?:{'|'.join(twice)})")
    told = [(name, rule["expr"]) for name, rule in ALERTS.items() if added.search(rule["expr"])]
    assert told == []


def test_prometheus_accepts_the_rules(promtool: str) -> None:
    assert f"{len(ALERTS)} rules found" in _told(promtool, "check", "rules", RULES)


def test_each_alert_is_tried() -> None:
    assert list(CASES) == list(ALERTS)


def _unit_tests() -> Iterator[dict[str, Any]]:
    for name, cases in CASES.items():
        for wanted, series in zip((1, 0), cases, strict=True):
            given = [{"series": f"sliceward_{one}", "values": values} for one, values in series.items()]
            query = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
            samples = [{"labels": "{}", "value": 1}] if wanted else []
            asked = {"expr": query, "eval_time": LATER.get(name, "40m"), "exp_samples": samples}
            yield {
                "name": f"{name} {'fires' if wanted else 'is quiet'}",
                "interval": "1m",
                "input_series": given,
                "promql_expr_test": [asked],
            }


def test_each_alert_fires_when_it_should_and_not_otherwise(promtool: str, tmp_path: Path) -> None:
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": list(_unit_tests())}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    assert "SUCCESS" in _told(promtool, "test", "rules", tmp_path / "tests.yaml")


def test_an_alert_tells_what_and_where(promtool: str, tmp_path: Path) -> None:
    wanted = {
        "exp_labels": {"severity": "critical", "loop": "deciding", "instance": "coordinator-0"},
        "exp_annotations": {
            "summary": "loop deciding of coordinator-0 hangs",
            "description": "It has not finished a round for 1m 40s.",
            "runbook": "docs/runbooks/loop-late.md",
        },
    }
    labels = 'loop="deciding", instance="coordinator-0"'
    given = [
        {"series": f"sliceward_loop_age_seconds{{{labels}}}", "values": "100x10"},
        {"series": f"sliceward_loop_deadline_seconds{{{labels}}}", "values": "45x10"},
    ]
    asked = {"eval_time": "5m", "alertname": "SlicewardLoopLate", "exp_alerts": [wanted]}
    tests = {"rule_files": [str(RULES)], "tests": [{"interval": "1m", "input_series": given, "alert_rule_test": [asked]}]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    assert "SUCCESS" in _told(promtool, "test", "rules", tmp_path / "tests.yaml")


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_runbook_that_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "error", "warning", "none"}
    assert {"summary", "description", "runbook"} == set(rule["annotations"])
    text = (ROOT / rule["annotations"]["runbook"]).read_text(encoding="utf-8")
    assert name in text
    titles = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert titles == ["What it means", "Where to look", "What to do"]


def test_each_runbook_belongs_to_an_alert_and_stands_in_the_list() -> None:
    pages = {f"docs/runbooks/{page.name}" for page in (ROOT / "docs/runbooks").glob("*.md") if page.name != "README.md"}
    assert pages == {rule["annotations"]["runbook"] for rule in ALERTS.values()}
    listed = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
    assert [name for name in ALERTS if f"| [{name}](" not in listed] == []


def test_the_page_for_operators_tells_each_series_and_no_other(exported: dict[str, set[str]]) -> None:
    told = set(NAME.findall((ROOT / "docs/operations.md").read_text(encoding="utf-8")))
    names = {re.sub(r"_(bucket|sum|count)$", "", name) if "duration" in name else name for name in exported}
    assert told == names


# ── the dashboard ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("monitoring_make", MONITORING / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_dashboard_is_what_its_source_makes(maker: ModuleType) -> None:
    assert (MONITORING / "dashboard.json").read_text(encoding="utf-8") == maker.text(), "run `python deploy/monitoring/make.py`"


def test_the_panels_have_their_own_place_and_number() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_each_panel_says_what_it_shows_and_whence() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in panels if not panel["description"]] == []
    assert {panel["datasource"]["uid"] for panel in panels} == {"${source}"}
