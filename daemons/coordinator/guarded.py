"""The ports of one call of an action, for as long as this replica leads: before each write it is looked at anew.

An action takes seconds and writes many times, and a process may be frozen anywhere in between. So the look stands right before
each write, once it has its turn among the writes of the cluster, with no await in between: who wakes up goes on with none of them.
"""

from __future__ import annotations

from asyncio import Semaphore
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sliceward.daemons.coordinator.stops import nobody_is_asked
from sliceward.remediations.kubernetes.calls import WRITES_AT_ONCE
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from datetime import datetime, timedelta

    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Cluster, Hosts, Kind, Object, Ports, Provider, Repair
    from sliceward.topology.ids import HostId

LEAD_OVER = "the lead ran out: nothing more is called"
LOOK_OVER = "this process stood still: nothing more is called by what was looked at before"
TOO_LONG = "the time of the call was up before any of its writes could go out"


@dataclass(eq=False)
class Turns:
    """The turns of writes, by cluster: as many as its connection sends at once, so that none waits there after the look."""

    _of: defaultdict[str, Semaphore] = field(default_factory=lambda: defaultdict(lambda: Semaphore(WRITES_AT_ONCE)))

    def of(self, cluster: str) -> Semaphore:
        """Give those of one cluster."""
        return self._of[cluster]


@dataclass(eq=False)
class Guard:
    """Stands before the writes of one call. ``asks``: see `Stops`. ``stale``: whether the look that the call follows from is too old.

    ``came``: whether a write was asked for; ``passed``: whether one went out; ``held``: why one did not, "" where none was kept back.
    """

    leads: Callable[[], bool]
    turns: Semaphore
    asks: Callable[[], Awaitable[None]] = nobody_is_asked
    stale: Callable[[], bool] = lambda: False
    came: bool = False
    passed: bool = False
    held: str = ""

    async def look(self) -> None:
        """Let a write pass. Raises `Refused` where the lead ran out or the look is too old, and `Retry` where nobody can say who leads."""
        self.came = True
        try:
            await self.asks()
            self._hold()
        except (Refused, Retry) as error:
            self.held = str(error)
            raise
        self.passed = True

    def _hold(self) -> None:
        if not self.leads():
            raise Refused(LEAD_OVER)
        if self.stale():
            raise Refused(LOOK_OVER)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, then look."""
        self.came = True
        async with self.turns:
            await self.look()
            yield

    def late(self) -> None:
        """Note that the time of the call is up: what waits until then does not go out."""
        if self.came and not self.passed:
            self.held = self.held or TOO_LONG

    def whole(self, answer: Outcome) -> Outcome:
        """Give what the action answered. Raises `Refused` where a write was held: that is neither done nor failed."""
        if self.held:
            raise Refused(self.held)
        return answer

    @property
    def kept_all(self) -> bool:
        """Whether writes were held and none went out, so that nothing was called."""
        return bool(self.held) and not self.passed

    def ports(self, ports: Ports) -> Ports:
        """Give the same ports, with the look before each write."""
        return replace(
            ports,
            cluster=GuardedCluster(ports.cluster, self),
            hosts=_GuardedHosts(ports.hosts, self),
            provider=_GuardedProvider(ports.provider, self),
        )


class GuardedCluster:
    """A `Cluster`. Reads pass."""

    def __init__(self, cluster: Cluster, guard: Guard) -> None:
        """Stand before ``cluster``."""
        self.name = cluster.name
        self._cluster, self._guard = cluster, guard
        self.get, self.list = cluster.get, cluster.list

    async def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        """Create, as the leader."""
        async with self._guard.turn():
            return await self._cluster.create(kind, body, namespace)

    async def patch(self, kind: Kind, name: str, body: Object, namespace: str = "") -> Object:
        """Merge-patch, as the leader."""
        async with self._guard.turn():
            return await self._cluster.patch(kind, name, body, namespace)

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", grace: timedelta | None = None) -> bool:
        """Delete, as the leader."""
        async with self._guard.turn():
            return await self._cluster.delete(kind, name, namespace, uid=uid, grace=grace)


class _GuardedHosts:
    def __init__(self, hosts: Hosts, guard: Guard) -> None:
        self._hosts, self._guard = hosts, guard
        self.answer = hosts.answer

    async def ask(self, host: HostId, request: str, *, request_id: str, deadline: datetime, facts: Mapping[str, Any]) -> None:
        await self._guard.look()
        await self._hosts.ask(host, request, request_id=request_id, deadline=deadline, facts=facts)


class _GuardedProvider:
    def __init__(self, provider: Provider, guard: Guard) -> None:
        self.name = provider.name
        self._provider, self._guard = provider, guard
        self.repair = provider.repair

    async def request_repair(self, host: HostId, *, instance_id: str, behavior: str, text: str, operation_id: str) -> Repair:
        await self._guard.look()
        return await self._provider.request_repair(
            host, instance_id=instance_id, behavior=behavior, text=text, operation_id=operation_id
        )
