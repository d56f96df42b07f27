"""Prometheus as a source: against a real one, and what malformed answers cost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

from sliceward.daemons.health import serving
from sliceward.daemons.watcher.prometheus import PrometheusSource, take
from sliceward.daemons.watcher.settings import PrometheusSettings
from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.topology.errors import Retry
from tests.builders import NOW, a_fleet

if TYPE_CHECKING:
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
