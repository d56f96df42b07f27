"""Two replicas of the coordinator as processes of their own, over a real API server, broker and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from sliceward.daemons import topics
from sliceward.daemons.wire import Wire
from sliceward.detectors.finding import Kind, to_json
from sliceward.remediations import kubernetes
from sliceward.remediations.ports import Kind as ObjectKind
from sliceward.topology.ids import ChipId
from tests.daemons.coordinator.bench import World
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.services.servers import Service

ROOT = Path(__file__).parents[2]
NAMESPACES = ObjectKind("v1", "namespaces", namespaced=False)
PATIENCE = 60.0
PART = ChipId("c1", "host-7", 0)


@dataclass(eq=False)
class Replica:
    """One process and where its API is."""

    name: str
    url: str
    process: asyncio.subprocess.Process

    def send(self, which: signal.Signals) -> None:
        self.process.send_signal(which)


@dataclass(eq=False)
class Pair:
    """Two replicas over the same store, and a client that asks them."""

    replicas: list[Replica]
    session: aiohttp.ClientSession
    broker: str
    folder: Path

    async def ask(self, replica: Replica, path: str) -> Any:  # noqa: ANN401 (any JSON)
        """Give what a replica answers, None where it does not (yet)."""
        try:
            async with self.session.get(f"{replica.url}{path}", timeout=aiohttp.ClientTimeout(total=3)) as answer:
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def until(self, replica: Replica, path: str, good: Callable[[Any], bool]) -> Any:  # noqa: ANN401 (as above)
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.ask(replica, path)
                if found is not None and good(found):
                    return found
                await asyncio.sleep(0.1)

    async def leader(self) -> tuple[Replica, Replica]:
        """Give who leads and who stands by, once both say the same."""
        holders = set()
        for replica in self.replicas:
            found = await self.until(replica, "/api/v1/status", lambda status: bool(status["leader"]))
            holders.add(found["leader"])
        (holder,) = holders
        first, second = self.replicas
        return (first, second) if holder.endswith(f"-{first.process.pid}") else (second, first)

    async def tell(self, kind: Kind) -> str:
        """Publish a finding as a watcher does; gives its id."""
        finding = World(self.folder).finding(PART, kind)
        wire, connected = Wire(self.broker, client_id="watcher"), asyncio.Event()

        async def greet() -> None:
            connected.set()

        speaking = asyncio.create_task(wire.run(lambda _message: None, greet))
        await connected.wait()
        await wire.publish(topics.finding("c1", finding.id), to_json(finding), retain=True)
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        return finding.id

    async def opened(self, replica: Replica, kind: Kind) -> None:
        await self.until(replica, "/api/v1/incidents", lambda shown: any(row["kind"] == kind.value for row in shown["items"]))


@asynccontextmanager
async def a_replica(name: str, environ: dict[str, str], folder: Path) -> AsyncIterator[Replica]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    more = {"SLICEWARD_API__PORT": str(port), "SLICEWARD_LEADER__ADDRESS": url}
    with (folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sliceward.daemons.cli", "coordinator", env=environ | more, stdout=log, stderr=log, cwd=folder
        )
    try:
        yield Replica(name, url, process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.wait()


@pytest.fixture
async def pair(bare_control_plane: Path, mosquitto: Service, postgres: str, tmp_path: Path) -> AsyncIterator[Pair]:
    namespace = f"two-{os.getpid()}-{free_port()}"
    async with kubernetes.connect("c1", kubeconfig=bare_control_plane) as cluster:
        await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLICEWARD_")}
    environ = plain | {
        "PYTHONPATH": str(ROOT / ".types"),
        "SLICEWARD_CLUSTER": "c1",
        "SLICEWARD_MQTT_URL": mosquitto.url,
        "SLICEWARD_STORE_URL": postgres.replace("postgresql+asyncpg", "postgresql"),
        "SLICEWARD_LEADER__LEASE": "sliceward-coordinator",
        "SLICEWARD_LEADER__NAMESPACE": namespace,
        "SLICEWARD_LEADER__KUBECONFIG": str(bare_control_plane),
        "SLICEWARD_PACE__DECIDE_EVERY": "200ms",
        "SLICEWARD_PACE__BROKER_GRACE": "200ms",
        "KUBECONFIG": str(bare_control_plane),
    }
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        replicas = [await stack.enter_async_context(a_replica(name, environ, tmp_path)) for name in ("one", "two")]
        yield Pair(replicas, session, mosquitto.url, tmp_path)


async def test_the_second_acts_after_the_first_was_killed_and_answers_for_it_before(pair: Pair) -> None:
    first, second = await pair.leader()
    assert (await pair.ask(second, "/readyz"))["ok"], "a replica that stands by is ready"
    await pair.tell(Kind.CHIP_LOST)
    await pair.opened(second, Kind.CHIP_LOST)
    before = await pair.ask(second, "/api/v1/status")
    first.send(signal.SIGKILL)
    await pair.tell(Kind.CHIP_THROTTLED)
    await pair.opened(second, Kind.CHIP_THROTTLED)
    after = await pair.ask(second, "/api/v1/status")
    assert after["epoch"] == before["epoch"] + 1
    assert after["leader"] != before["leader"]


async def test_a_leader_that_was_paused_wakes_up_writes_nothing_and_stands_by(pair: Pair) -> None:
    first, second = await pair.leader()
    was = (await pair.ask(first, "/api/v1/status"))["leader"]
    first.send(signal.SIGSTOP)
    await pair.until(second, "/api/v1/status", lambda status: status["leader"] != was)
    await pair.tell(Kind.CHIP_LOST)
    await pair.opened(second, Kind.CHIP_LOST)
    now = await pair.ask(second, "/api/v1/status")
    first.send(signal.SIGCONT)
    found = await pair.until(first, "/api/v1/status", lambda status: status["leader"] == now["leader"])
    assert found["epoch"] == now["epoch"], "the one that woke up took no new epoch, and passes on what it is asked"
    (shown,) = (await pair.ask(first, "/api/v1/incidents"))["items"]
    story = (await pair.ask(second, f"/api/v1/incidents/{shown['id']}"))["timeline"]
    assert [entry["kind"] for entry in story].count("seen") == 1
    assert first.process.returncode is None


async def test_a_leader_that_is_told_to_end_hands_over_at_once(pair: Pair) -> None:
    first, second = await pair.leader()
    was = (await pair.ask(first, "/api/v1/status"))["leader"]
    first.send(signal.SIGTERM)
    found = await pair.until(second, "/api/v1/status", lambda status: status["leader"] not in ("", was))
    assert found["epoch"] == 2
    assert await first.process.wait() == 0
