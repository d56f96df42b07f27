"""The watcher as a process: configuration, rules, health, and frames over a real broker."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from click.testing import CliRunner

from sliceward.daemons import topics
from sliceward.daemons.broker import running_broker
from sliceward.daemons.settings import load
from sliceward.daemons.watcher import run
from sliceward.daemons.watcher.command import command
from sliceward.daemons.watcher.settings import RuleSettings, WatcherSettings
from sliceward.daemons.wire import Message, Wire
from sliceward.detectors.finding import from_json
from sliceward.detectors.frame import encode
from sliceward.topology.errors import Misconfigured
from tests.detectors.frames import Speaker

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"SLICEWARD_CLUSTER": "c1", "SLICEWARD_KUBERNETES": "false", "SLICEWARD_HEALTH__PORT": "0"}


def settings_of(**more: str) -> WatcherSettings:
    return load(WatcherSettings, file=None, environ=ENVIRON | more)


def test_the_command_checks_configuration_and_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLICEWARD_CLUSTER", "c1")
    answer = CliRunner().invoke(command, ["--check"], catch_exceptions=False)
    assert "configuration is good: cluster c1" in answer.output


def test_rules_of_a_folder_come_over_the_shipped_ones(tmp_path: Path) -> None:
    shipped = {rule.name: rule for rule in run.read_rules(RuleSettings())}
    (tmp_path / "mine.yaml").write_text(
        "name: chip-missing\nkind: ChipLost\npart: chip\nseverity: info\nsays: mine\n"
        "when: {threshold: {metric: chip_present, op: '<', value: 1}}\n"
    )
    mine = {rule.name: rule for rule in run.read_rules(RuleSettings(folders=[tmp_path]))}
    assert mine.keys() == shipped.keys()
    assert mine["chip-missing"].says == "mine"


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="holds no YAML file"):
        run.read_rules(RuleSettings(folders=[tmp_path]))


async def test_without_a_broker_the_watcher_says_what_is_missing() -> None:
    with pytest.raises(Misconfigured, match="SLICEWARD_MQTT_URL"):
        async with run.running(settings_of()):
            pass


async def test_frames_over_a_broker_become_findings_on_it() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def hear(message: Message) -> None:
        if not heard.done():
            heard.set_result(message.payload)

    async with running_broker() as url:
        settings = settings_of(
            SLICEWARD_MQTT_URL=url,
            SLICEWARD_PANEL__PERIOD="50ms",
            SLICEWARD_RULES__WARM_UP="100ms",
            SLICEWARD_STATISTICS__ENABLED="true",
            SLICEWARD_PROMETHEUS_URL="http://127.0.0.1:9",
        )
        agent = Wire(url, client_id="agent", subscribe=(topics.ALL_FINDINGS,))
        async with run.running(settings) as (watcher, task, port), asyncio.timeout(30):
            speaking = asyncio.create_task(agent.run(hear, lambda: speak(agent, heard)))
            finding = from_json(await heard)
            statistics = watcher.statistics
            assert statistics is not None
            while not statistics.ticks["compared"]:  # noqa: ASYNC110 (whoever waits for it asks as a scrape does)
                await asyncio.sleep(0.05)
            health, ready, metrics = [await get(port, path) for path in ("healthz", "readyz", "metrics")]
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            assert not task.done()
            assert watcher.findings
    assert str(finding.part) == "c1/chip/n1/3"
    assert '"ok": true' in health
    assert '"broker"' in ready
    assert 'sliceward_frames_total{cluster="c1",outcome="taken"}' in metrics
    assert 'sliceward_statistics_ticks_total{cluster="c1",outcome="skipped"}' in metrics
    assert '"statistics"' in health, "a loop of its own"
    assert 'sliceward_findings{cluster="c1",kind="ChipLost",state="firing"}' in metrics


async def speak(agent: Wire, heard: asyncio.Future[bytes]) -> None:
    speaker, clock = Speaker("n1", period=0.05), asyncio.get_running_loop().time
    off = datetime(2026, 9, 1).astimezone().timestamp() - clock()
    speaker.chip("chip_present", 3, 0)
    while not heard.done():
        await agent.publish(topics.host("c1", "n1", topics.FRAME), encode(speaker.say(off + clock())), qos=0)
        await asyncio.sleep(0.05)


async def get(port: int, path: str) -> str:
    patience = aiohttp.ClientTimeout(total=timedelta(seconds=10).total_seconds())
    async with aiohttp.ClientSession(timeout=patience) as session, session.get(f"http://127.0.0.1:{port}/{path}") as answer:
        return await answer.text()
