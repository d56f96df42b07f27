"""Seconds from kill -9 of the leading coordinator to the first write of the other; reference: a leader that is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.claim import Claim, setup, tell
from sliceward.daemons.broker import running_broker
from sliceward.simulation.kube.server import running_api
from tests.services import servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

GOAL = 15.0
TRIALS = 3
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Replica:
    """A coordinator in a process of its own, and where its API is."""

    url: str
    process: asyncio.subprocess.Process


def free_port() -> int:
    """Give a loopback port that nobody holds at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@asynccontextmanager
async def a_replica(environ: dict[str, str]) -> AsyncIterator[Replica]:
    """Run one for as long as the block lasts."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    more = {"SLICEWARD_API__PORT": str(port), "SLICEWARD_LEADER__ADDRESS": url}
    quiet = asyncio.subprocess.DEVNULL
    command = (sys.executable, "-m", "sliceward.daemons.cli", "coordinator")
    process = await asyncio.create_subprocess_exec(*command, env=environ | more, stdout=quiet, stderr=quiet)
    try:
        yield Replica(url, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def leads(session: aiohttp.ClientSession, replica: Replica) -> bool:
    """Whether this replica itself has the lead and has read the store."""
    try:
        async with session.get(f"{replica.url}/api/v1/status") as answer:
            holder = str((await answer.json())["leader"]) if answer.ok else ""
    except aiohttp.ClientError:
        return False
    return holder.endswith(f"-{replica.process.pid}")


async def writes(session: aiohttp.ClientSession, replica: Replica) -> bool:
    """Whether a write through this replica is taken by the store."""
    try:
        async with session.post(f"{replica.url}/api/v1/resume", json={"reason": "benchmark"}) as answer:
            return answer.ok
    except aiohttp.ClientError:
        return False


async def until(question: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until the answer is yes."""
    while True:
        if await question():
            return
        await asyncio.sleep(0.05)


async def gap(environ: dict[str, str], end: signal.Signals) -> float:
    """Give the seconds for which nothing could be written after the leader got the signal."""
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)))
        first = await stack.enter_async_context(a_replica(environ))
        await until(lambda: leads(session, first))
        second = await stack.enter_async_context(a_replica(environ))
        await until(lambda: writes(session, second))  # passed on to the leader
        await asyncio.sleep(2.5)
        began = time.monotonic()
        first.process.send_signal(end)
        await until(lambda: leads(session, second))
        await until(lambda: writes(session, second))
        return time.monotonic() - began


async def measure() -> tuple[float, float]:
    """Give the longest gap after a kill, and that after a hand-over."""
    with tempfile.TemporaryDirectory(prefix="sliceward-") as database, servers.postgres(Path(database)) as store:
        return await _gaps(store.url.replace("+asyncpg", ""))


async def _gaps(store: str) -> tuple[float, float]:
    async with running_api() as api, running_broker() as broker:
        gaps = []
        for trial in range(TRIALS + 1):
            with tempfile.TemporaryDirectory(prefix="sliceward-") as folder:
                plain = {name: value for name, value in os.environ.items() if not name.startswith("SLICEWARD_")}
                environ = plain | {
                    "SLICEWARD_CLUSTER": "c1",
                    "SLICEWARD_MQTT_URL": broker,
                    "SLICEWARD_STORE_URL": store,
                    "SLICEWARD_LEADER__LEASE": f"trial-{trial}",
                    "SLICEWARD_LEADER__NAMESPACE": "default",
                    "KUBECONFIG": str(api.write_kubeconfig(Path(folder) / "kubeconfig")),
                }
                gaps.append(await gap(environ, signal.SIGKILL if trial else signal.SIGTERM))
    return max(gaps[1:]), gaps[0]


def main() -> None:
    """Measure and print."""
    killed, told = asyncio.run(measure())
    tell(
        Claim(
            claim="failover_s: nobody writes after the leading coordinator was killed",
            value=killed,
            unit="s",
            goal=GOAL,
            better="lower",
            reference="after a leader that was told to end, and gave its Lease back",
            reference_value=told,
            setup=setup(
                f"longest of {TRIALS} kills -9, Lease of 8 s, two processes, emulated API server, PostgreSQL without fsync"
            ),
        )
    )


if __name__ == "__main__":
    main()
