"""Prometheus as a source: against a real one, and what malformed answers cost."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

from sliceward.daemons import topics
from sliceward.daemons.serving import serving
from sliceward.daemons.watcher.prometheus import Place, PrometheusSource, sorted_out
from sliceward.daemons.watcher.settings import PrometheusSettings
from sliceward.detectors.finding import Kind, State
from sliceward.detectors.frame import encode
from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.topology.errors import Retry
from tests.builders import NOW, a_fleet
from tests.daemons.watcher.stage import H0, H1, Stage, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.services.fixtures import ConfigRunner

FLEET = a_fleet().with_cubes(1).build()
DUTY = CATALOGUE["chip_duty_cycle_percent"]
HOST = next(iter(FLEET.hosts.values()))


def a_panel(period: float = 1.0) -> Panel:
    panel = Panel("c1", PanelSize(period, 120))
    panel.advance(NOW.timestamp())
    panel.expect([HOST.id.name])
    return panel


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_real_prometheus_that_scrapes_a_device_plugin_fills_the_panel(prometheus_runner: ConfigRunner) -> None:
    asked = asyncio.Event()
    scrapes = 0

    async def metrics(_: web.Request) -> web.Response:
        nonlocal scrapes
        scrapes += 1
        if scrapes > 2:
            asked.set()
        rows = [f'duty_cycle_node{{make="cloud-tpu",accelerator_id="{HOST.instance_id}-{n}"}} {10 * n}' for n in range(4)]
        return web.Response(text="\n".join(rows) + "\n")

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics)])
    async with serving(app, host="127.0.0.1", port=0) as port:
        config = f"scrape_configs: [{{job_name: tpu, scrape_interval: 1s, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]"
        with prometheus_runner(config=config) as service:
            async with asyncio.timeout(30):
                await asked.wait()
            source = PrometheusSource(PrometheusSettings(url=service.url), clock=now)
            panel = a_panel()
            panel.advance(now().timestamp())
            used = await source.read(panel, FLEET)
            again = await source.read(panel, FLEET)
            source.close()
    assert used >= 4
    assert again <= 4
    newest = np.nanmax(panel.ring.columns[DUTY.name][:, panel.slots[HOST.id.name]], axis=0)
    assert list(newest[:4]) == [0, 10, 20, 30]


async def test_a_prometheus_that_is_away_or_answers_nonsense_is_asked_again_later() -> None:
    async def nonsense(_: web.Request) -> web.Response:
        return web.Response(text="{}")

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=422, text="bad query")

    app = web.Application()
    app.add_routes([web.get("/a/api/v1/query_range", nonsense), web.get("/b/api/v1/query_range", broken)])
    async with serving(app, host="127.0.0.1", port=0) as port:
        for url in (f"http://127.0.0.1:{port}/a", f"http://127.0.0.1:{port}/b", "http://127.0.0.1:9"):
            source = PrometheusSource(PrometheusSettings(url=url), clock=now)
            with pytest.raises(Retry):
                await source.read(a_panel(), FLEET)
            source.close()


def test_series_that_cannot_be_read_or_placed_are_counted_and_the_rest_is_used() -> None:
    panel, at = a_panel(), NOW.timestamp()

    def place(labels: dict[str, str]) -> Place | None:
        return Place(labels["node"], "d", labels.get("dev", "")) if "node" in labels else None

    series = [
        {"metric": {"node": HOST.id.name, "dev": "10"}, "values": [[at, "90"]]},
        {"metric": {"node": HOST.id.name, "dev": "9"}, "values": [[at, "80"]]},
        {"metric": {"node": HOST.id.name}, "values": [[at, "many"]]},
        {"metric": {}, "values": []},
        {"metric": {"node": "stranger"}, "values": []},
        "nonsense",
    ]
    found = sorted_out(panel, series, place)  # type: ignore[arg-type]  # nonsense is among the series
    assert found == {HOST.id.name: {"d": {"10": {at: 90.0}, "9": {at: 80.0}}}}
    assert (panel.counts["prometheus_malformed"], panel.counts["prometheus_unplaced"]) == (2, 2)


class APrometheus:
    """Answers range queries about the duty of one host's chip, and remembers when each asked from and to."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []

    async def answer(self, request: web.Request) -> web.Response:
        start, end, step = (float(request.query[name]) for name in ("start", "end", "step"))
        if end < start:
            return web.json_response({"status": "error", "error": "end timestamp must not be before start time"}, status=400)
        if DUTY.prometheus not in request.query["query"]:
            return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": []}})
        self.asked.append((start, end))
        values = [[start + n * step, "50"] for n in range(int((end - start) / step) + 1)]
        rows = [{"metric": {"accelerator_id": f"{HOST.instance_id}-0"}, "values": values}]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": rows}})


@asynccontextmanager
async def asking(stage: Stage) -> AsyncIterator[tuple[APrometheus, PrometheusSource]]:
    one, app = APrometheus(), web.Application()
    app.add_routes([web.get("/api/v1/query_range", one.answer)])
    async with serving(app, host="127.0.0.1", port=0) as port:
        settings = PrometheusSettings(url=f"http://127.0.0.1:{port}")
        source = PrometheusSource(settings, clock=lambda: stage.now)
        yield one, source
        source.close()


async def test_the_back_fill_waits_until_the_hosts_are_known_and_is_then_used() -> None:
    stage = Stage()
    stage.silent = set(stage.speakers)
    async with asking(stage) as (one, source):
        assert not await stage.watcher.ask(source)
        async with stage.connected():
            stage.say(topics.host("c1", H1, topics.FRAME), encode(stage.speakers[H1].say(stage.now.timestamp())))
            await settle()
            assert not await stage.watcher.ask(source), "a host speaks, but which hosts there are is not known yet"
            assert one.asked == []
            await stage.rounds(1)
            assert await stage.watcher.ask(source)
            (start, end) = one.asked[0]
            assert end - start == PrometheusSettings().back_fill.total_seconds()
            column = stage.watcher.panel.ring.columns[DUTY.name][:, stage.watcher.panel.slots[HOST.id.name], 0]
            assert np.count_nonzero(~np.isnan(column)) > 50
            await stage.rounds(3)
            assert await stage.watcher.ask(source)
            assert one.asked[1][1] - one.asked[1][0] < 120, "what was placed is not asked for again"


async def test_without_a_host_nothing_is_asked_and_nothing_counts_as_read() -> None:
    stage = Stage()
    async with asking(stage) as (one, source):
        empty = Panel("c1", PanelSize(10.0, 72))
        empty.advance(stage.now.timestamp())
        assert await source.read(empty, FLEET) == 0
        assert one.asked == []
        assert await source.read(a_panel(10.0), FLEET) > 50


async def test_a_clock_of_ours_that_was_set_back_does_not_stop_the_questions() -> None:
    stage = Stage()
    async with asking(stage) as (one, source):
        await source.read(a_panel(10.0), FLEET)
        stage.now -= timedelta(hours=2)
        await source.read(a_panel(10.0), FLEET)
        assert one.asked[1][1] == stage.now.timestamp()


@dataclass
class Plugins:
    """A Prometheus that scrapes the device plugins of many hosts: which devices each tells of now, and told of before."""

    stage: Stage
    served: dict[str, set[str]] = field(default_factory=dict)
    metrics: frozenset[str] = frozenset({"tensorcore_utilization_node", "duty_cycle_node"})
    away: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    _spans: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    def serve(self, machine: str, *devices: int) -> None:
        """Tell of these devices of a machine from now on, and of no others of it."""
        now, before = self.stage.now.timestamp(), self.served.get(machine, set())
        after = {f"{machine}-{device}" for device in devices}
        for gone in before - after:
            self._spans[gone][-1][1] = now
        for new in after - before:
            self._spans[new].append([now, math.inf])
        self.served[machine] = after

    async def answer(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503, text="away")
        name = request.query["query"].rpartition(" and ")[2]
        start, end, step = (float(request.query[key]) for key in ("start", "end", "step"))
        grid = [start + n * step for n in range(int((end - start) / step + 1e-6) + 1)]
        rows: list[dict[str, object]] = []
        for device, spans in self._spans.items() if name in self.metrics else ():
            values = [[at, "40"] for at in grid if any(first <= at < last for first, last in spans)]
            if values:
                rows.append({"metric": {"accelerator_id": device} | self.labels, "values": values})
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": rows}})


@dataclass
class Alone:
    """A watcher whose only source is Prometheus: no agent speaks."""

    stage: Stage
    plugins: Plugins
    url: str
    source: PrometheusSource = field(init=False)

    def __post_init__(self) -> None:
        self.instances = {host.id.name: host.instance_id for host in self.stage.builder.build().hosts.values()}
        self.source = self.new_source()

    def new_source(self) -> PrometheusSource:
        return PrometheusSource(PrometheusSettings(url=self.url), clock=lambda: self.stage.now)

    async def rounds(self, count: int, *, between: int = 3) -> None:
        """Let the watcher go round, and ask each third time."""
        for number in range(count):
            if number % between == 0:
                with contextlib.suppress(Retry):
                    await self.stage.watcher.ask(self.source)
            await self.stage.rounds(1)

    def firing(self) -> set[str]:
        return {name for name, finding in self.stage.kept.items() if finding.state is State.FIRING}


@asynccontextmanager
async def alone() -> AsyncIterator[Alone]:
    stage = Stage()
    stage.silent = set(stage.speakers)
    plugins, app = Plugins(stage), web.Application()
    app.add_routes([web.get("/api/v1/query_range", plugins.answer)])
    async with serving(app, host="127.0.0.1", port=0) as port, stage.connected():
        one = Alone(stage, plugins, f"http://127.0.0.1:{port}")
        for instance in one.instances.values():
            plugins.serve(instance, 0, 1, 2, 3)
        await stage.rounds(1)
        try:
            yield one
        finally:
            one.source.close()


async def test_a_host_that_is_scraped_is_not_silent_though_no_agent_speaks() -> None:
    async with alone() as one:
        await one.rounds(30)
        assert one.stage.kept == {}


async def test_a_chip_whose_series_are_gone_while_its_hosts_others_go_on_is_lost_and_no_other() -> None:
    async with alone() as one:
        await one.rounds(9)
        one.plugins.serve(one.instances[H0], 0, 2, 3)
        await one.rounds(15)
        assert one.firing() == {f"ChipLost c1/chip/{H0}/1"}
        (found,) = one.stage.kept.values()
        assert (found.detector, found.instance_id) == ("chip-unscraped", one.instances[H0])
        panel = one.stage.watcher.panel
        newest = panel.ring.columns[DUTY.name][panel.ring.recent(50), panel.slots[H0], :4]
        assert [bool(np.isnan(chip).all()) for chip in newest.T] == [False, True, False, False]
        one.plugins.serve(one.instances[H0], 0, 1, 2, 3)
        await one.rounds(60)
        assert one.firing() == set()
        assert one.stage.kept[f"ChipLost c1/chip/{H0}/1"].state is State.RESOLVED


async def test_a_plugin_or_a_prometheus_that_is_gone_is_unknown_and_accuses_no_chip() -> None:
    async with alone() as one:
        await one.rounds(9)
        one.plugins.serve(one.instances[H0], 0, 1, 2)
        await one.rounds(15)
        assert one.firing() == {f"ChipLost c1/chip/{H0}/3"}
        one.plugins.serve(one.instances[H0])
        one.plugins.serve(one.instances[H1])
        await one.rounds(30)
        assert one.firing() == {f"TelemetryLost c1/host/{H0}", f"TelemetryLost c1/host/{H1}"}
        assert one.stage.kept[f"ChipLost c1/chip/{H0}/3"].state is State.UNKNOWN
        one.plugins.away = True
        await one.rounds(30)
        lost = {name for name, finding in one.stage.kept.items() if finding.state is State.FIRING}
        assert lost == {f"TelemetryLost c1/host/{name}" for name in one.instances}
        age = next(number for number in one.stage.kept[f"TelemetryLost c1/host/{H0}"].evidence)
        assert age.value > 300
        assert not one.source.fresh
        assert "503" in one.source.problem


async def test_what_comes_and_goes_with_jobs_accuses_no_chip() -> None:
    async with alone() as one:
        one.plugins.metrics = frozenset({"duty_cycle_node", "memory_used_node"})
        await one.rounds(9)
        one.plugins.serve(one.instances[H0], 0)
        await one.rounds(30)
        assert one.stage.kept == {}


async def test_a_chip_is_still_missed_after_a_start_of_ours() -> None:
    async with alone() as one:
        await one.rounds(9)
        one.plugins.serve(one.instances[H0], 0, 1, 2)
        await one.rounds(90)
        before = one.stage.kept[f"ChipLost c1/chip/{H0}/3"]
        one.stage.restart()
        one.source.close()
        one.source = one.new_source()
        async with one.stage.connected():
            await one.rounds(30)
            found = one.stage.kept[f"ChipLost c1/chip/{H0}/3"]
            assert (found.state, found.since) == (State.FIRING, before.since)
            assert found.seen > before.seen
            assert one.firing() == {f"ChipLost c1/chip/{H0}/3"}


async def test_where_an_agent_spoke_it_knows_better() -> None:
    async with alone() as one:
        one.stage.silent -= {H0}
        await one.rounds(9, between=1)
        one.plugins.serve(one.instances[H0], 0, 1, 3)
        await one.rounds(30, between=1)
        assert not any(finding.kind is Kind.CHIP_LOST for finding in one.stage.kept.values())


async def test_an_answer_that_was_cut_off_accuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with alone() as one:
        await one.rounds(9)
        monkeypatch.setattr("sliceward.daemons.watcher.prometheus.MOST_SERIES", 62)
        await one.rounds(18)
        assert one.firing() == set()
        assert one.stage.watcher.panel.counts["prometheus_truncated"] == 6


async def test_a_series_whose_instance_is_that_of_another_host_is_nobodys() -> None:
    async with alone() as one:
        one.plugins.labels = {"node": H1}
        await one.rounds(3)
        panel = one.stage.watcher.panel
        assert panel.counts["prometheus_unplaced"] == 2 * 4 * (len(one.instances) - 1)
        assert not np.isnan(panel.ring.columns[DUTY.name][:, panel.slots[H1]]).all()
        assert np.isnan(panel.ring.columns[DUTY.name][:, panel.slots[H0]]).all()
