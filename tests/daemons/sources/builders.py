"""A host's layout, root folder and simulated doors for the tests of sources and agent."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sliceward.daemons.sources.devices import Devices
from sliceward.daemons.sources.source import Layout
from sliceward.simulation.hosts import HostState, RunningJob, SimulatedHost
from sliceward.simulation.hosts.host import Pace
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

TPU7X = Layout(GENERATIONS["tpu7x"], 4)
POD = "0a0b0c0d-1111-2222-3333-000000000001"


def a_state(node: str = "node-1") -> HostState:
    return HostState(node, GENERATIONS["tpu7x"], 4, "77001", "b00t-1", index=3)


def a_job(pod_uid: str = POD) -> RunningJob:
    places = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0))
    return RunningJob("ml/JobSet/llm", "slice", 1, 3, pod_uid, 4711, time.time(), coordinates=places)


@asynccontextmanager
async def a_host(folder: Path, *, address: str = "127.121.0.1", state: HostState | None = None) -> AsyncIterator[SimulatedHost]:
    """Serve a host on an address of its own; its reporter speaks each 50 ms."""
    state, socket, pace = state or a_state(), folder / "reporter.sock", Pace(0.05, 0.05)
    async with SimulatedHost(state, address=address, folder=folder, socket=socket, pace=pace) as host:
        yield host


def devices_of(host: SimulatedHost) -> Devices:
    return Devices(TPU7X, host.folder)


async def eventually(is_so: Callable[[], object]) -> None:
    """Let real sockets have their turn until ``is_so``, for five seconds at most."""
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 (what is waited for comes through a socket of somebody else)
            await asyncio.sleep(0.002)
