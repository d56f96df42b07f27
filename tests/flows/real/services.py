"""The services that a fleet stands on, each of which can go away and come back where it was."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from tests.daemons.manifests.deployed import broker_as_deployed
from tests.services import servers
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.daemons.manifests.deployed import Broker
    from tests.services.servers import Service

T = TypeVar("T")


@dataclass(eq=False)
class Restartable(Generic[T]):
    """A server that ``begin`` starts, each time at the same address."""

    begin: Callable[[], AbstractContextManager[T]]
    running: ExitStack = field(default_factory=ExitStack)

    def start(self) -> T:
        """Start it; gives what it is."""
        return self.running.enter_context(self.begin())

    async def back(self) -> None:
        """Let it come back."""
        await asyncio.to_thread(self.start)

    async def away(self) -> None:
        """Let it go away."""
        await asyncio.to_thread(self.running.close)


def a_broker(folder: Path, *, cluster: str, nodes: Sequence[str]) -> Restartable[Broker]:
    """Give a Mosquitto as deployed, which has forgotten everything whenever it comes back."""
    port = free_port()

    def begin() -> AbstractContextManager[Broker]:
        shutil.rmtree(folder / "data", ignore_errors=True)
        return broker_as_deployed(folder, cluster=cluster, nodes=nodes, port=port)

    return Restartable(begin)


def a_database(folder: Path) -> Restartable[Service]:
    """Give a PostgreSQL, which keeps what it holds."""
    port = free_port()
    return Restartable(lambda: servers.postgres(folder, port=port))


@dataclass(frozen=True)
class ApiServer:
    """The API server of a control plane in a folder; etcd and all else go on without it."""

    folder: Path

    async def away(self) -> None:
        """End it as a crash does. What its watchers were told is the past by the time it is back."""
        await asyncio.to_thread(servers.end_api_server, self.folder)
        await asyncio.to_thread(servers.let_history_go_on, self.folder)

    async def back(self) -> None:
        """Start it with the same words. Its watches begin anew: whoever watched from an old version is told so."""
        await asyncio.to_thread(servers.start_api_server, self.folder)
