"""The coordinator as it is started: real HTTP to a cluster, a real broker, and an end when asked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sliceward.daemons import topics
from sliceward.daemons.broker import running_broker
from sliceward.daemons.coordinator.run import running
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load
from sliceward.daemons.wire import Message, Wire
from sliceward.detectors.finding import Kind, to_json
from sliceward.simulation.kube.server import running_api
from tests.daemons.coordinator.bench import World, the_fleet
from tests.daemons.coordinator.test_whole_incident import PART

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def environ(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """A cluster with a fleet in it, and a broker."""
    async with running_api() as api, running_broker() as broker:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        objects = the_fleet().objects()
        async with aiohttp.ClientSession() as session:
            for node in objects.nodes:
                for key in ("resourceVersion", "uid"):
                    node["metadata"].pop(key, None)
                async with session.post(f"{api.url}/api/v1/nodes", json=node) as answer:
                    assert answer.status == 201, await answer.text()
        yield {
            "SLICEWARD_CLUSTER": "c1",
            "SLICEWARD_MQTT_URL": broker,
            "SLICEWARD_STORE_URL": f"sqlite:///{tmp_path / 'store.db'}",
            "SLICEWARD_API__PORT": "0",
            "SLICEWARD_PACE__DECIDE_EVERY": "200ms",
            "SLICEWARD_PACE__BROKER_GRACE": "1s",
            "KUBECONFIG": str(kubeconfig or tmp_path / "kubeconfig"),
        }


async def _until(session: aiohttp.ClientSession, url: str, good: str) -> str:
    async with asyncio.timeout(20):
        while True:
            async with session.get(url) as answer:
                text = await answer.text()
            if good in text:
                return text
            await asyncio.sleep(0.05)


async def test_it_gets_ready_sees_the_fleet_and_opens_an_incident(environ: dict[str, str], tmp_path: Path) -> None:
    settings = load(CoordinatorSettings, file=None, environ=environ)
    async with running(settings) as found, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{found.port}"
        await _until(session, f"{base}/readyz", '"ok": true, "dependencies"')
        await _until(session, f"{base}/api/v1/hosts?limit=500", "cube-3-host-15")
        watcher = Wire(environ["SLICEWARD_MQTT_URL"], client_id="watcher")
        connected = asyncio.Event()

        async def greet() -> None:
            connected.set()

        speaking = asyncio.create_task(watcher.run(lambda _message: None, greet))
        await connected.wait()
        finding = World(tmp_path).finding(PART, Kind.CHIP_LOST)
        message = Message(topics.finding("c1", finding.id), to_json(finding))
        await watcher.publish(message.topic, message.payload, retain=True)
        text = await _until(session, f"{base}/api/v1/incidents", "inc-")
        assert json.loads(text)["items"][0]["part"] == str(PART)
        speaking.cancel()
        await asyncio.wait([speaking])


async def test_sigterm_ends_it_in_order(environ: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sliceward.daemons.cli",
        "coordinator",
        env=os.environ | environ | {"PYTHONPATH": str(ROOT / ".types"), "SLICEWARD_LOG__FORMAT": "json"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(120):
        while b'"serving"' not in (line := await process.stderr.readline()):
            assert line, "it ended before it served"
        process.send_signal(signal.SIGTERM)
        rest = await process.stderr.read()
        assert await process.wait() == 0, rest.decode()
    assert b'"stopping"' in rest
    assert b"Traceback" not in rest
