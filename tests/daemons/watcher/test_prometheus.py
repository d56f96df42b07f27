"""Prometheus as a source: against a real one, and what malformed answers cost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

from sliceward.daemons import topics
from sliceward.daemons.serving import serving
from sliceward.daemons.watcher.prometheus import PrometheusSource, take
from sliceward.daemons.watcher.settings import PrometheusSettings
from sliceward.detectors.frame import encode
from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.topology.errors import Retry
from tests.builders import NOW, a_fleet
from tests.daemons.watcher.test_watcher import H1, Stage, settle

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

    def place(labels: dict[str, str]) -> tuple[str, str] | None:
        return (labels["node"], labels.get("dev", "")) if "node" in labels else None

    series = [
        {"metric": {"node": HOST.id.name, "dev": "d-10"}, "values": [[at, "90"]]},
        {"metric": {"node": HOST.id.name, "dev": "d-9"}, "values": [[at, "80"]]},
        {"metric": {"node": HOST.id.name}, "values": [[at, "many"]]},
        {"metric": {}, "values": []},
        {"metric": {"node": "stranger"}, "values": []},
        "nonsense",
    ]
    assert take(panel, DUTY, series, place) == 2  # type: ignore[arg-type]  # nonsense is among the series
    assert list(panel.ring.columns[DUTY.name][panel.ring.row_at(at), 0, :2]) == [80, 90]
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
