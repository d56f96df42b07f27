"""A real Alertmanager delivers to our webhook, and both sides agree on what was said."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.alerts import AlertMap, AlertRule
from sliceward.daemons.coordinator.settings import TokenSettings
from sliceward.daemons.settings import Secret
from sliceward.detectors.finding import Kind, State
from tests.daemons.coordinator.bench import World, the_fleet
from tests.daemons.coordinator.test_api import ALERT, VIEW, Caller, calling

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

    from tests.services.fixtures import ConfigRunner

CONFIG = """
route: {{receiver: sliceward, group_wait: 50ms, group_interval: 1s, group_by: [alertname]}}
receivers:
- name: sliceward
  webhook_configs:
  - url: {url}/v1/webhooks/alertmanager/main
    http_config: {{authorization: {{credentials: {token}}}}}
"""


async def _until(caller: Caller, status: str) -> dict[str, object]:
    async with asyncio.timeout(20):
        while True:
            _, body = await caller.get(f"/api/v1/alerts?status={status}", token=VIEW)
            if body["items"]:
                return dict(body["items"][0])
            await asyncio.sleep(0.05)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.clock.now = datetime.now(UTC)
    world.alerts = AlertMap(rules=[AlertRule(alert="HostDown", kind=Kind.HOST_LOST, part="c1/host/{node}")])
    world.fill(the_fleet())
    return world


async def test_an_alert_comes_through_fires_and_resolves(world: World, alertmanager_runner: ConfigRunner) -> None:
    tokens = [
        TokenSettings(name=role, role=role, token=Secret(value=value))  # type: ignore[arg-type]  # pydantic checks the roles
        for role, value in (("alert", ALERT), ("view", VIEW))
    ]
    async with calling(world, *tokens) as caller:
        config = CONFIG.format(url=caller.base, token=ALERT)
        with alertmanager_runner(config=config) as service:
            alert: dict[str, object] = {
                "labels": {"alertname": "HostDown", "node": "cube-3-host-01"},
                "annotations": {"summary": "no answer"},
                "startsAt": (world.clock() - timedelta(minutes=1)).isoformat(),
            }
            await _send(caller.session, service.url, alert)
            row = await _until(caller, "firing")
            assert (row["receiver"], row["alertname"], row["ends_at"]) == ("main", "HostDown", None)
            await caller.bench.coordinator.desk.round()
            (finding,) = caller.bench.coordinator.desk.findings("c1").values()
            assert (finding.state, str(finding.part), finding.text) == (State.FIRING, "c1/host/cube-3-host-01", "no answer")
            await _send(caller.session, service.url, alert | {"endsAt": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()})
            await _until(caller, "resolved")
            await caller.bench.coordinator.desk.round()
            (finding,) = caller.bench.coordinator.desk.findings("c1").values()
            assert finding.state is State.RESOLVED


async def _send(session: aiohttp.ClientSession, url: str, alert: dict[str, object]) -> None:
    async with session.post(f"{url}/api/v2/alerts", json=[alert]) as answer:
        assert answer.status == 200, await answer.text()
