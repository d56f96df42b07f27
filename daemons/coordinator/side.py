"""Everything about one cluster: its mirrors, its broker, its agents, and the fleet snapshot made of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from sliceward.daemons import topics
from sliceward.daemons.coordinator.hosts import WireHosts
from sliceward.daemons.coordinator.presence import Presence
from sliceward.daemons.coordinator.together import all_at_once
from sliceward.daemons.mirrors import Mirroring, Mirrors
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, SLICE, WORKLOAD, Cluster, Ports
from sliceward.topology.names import NAMES
from sliceward.topology.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from sliceward.daemons.coordinator.settings import PaceSettings
    from sliceward.daemons.wire import Bus, Message
    from sliceward.remediations.ports import Hosts, Provider
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.names import Names

log = structlog.get_logger(__name__)

KINDS = (NODE, POD, JOBSET, JOB, SLICE, WORKLOAD)


class MirroredCluster(Cluster, Mirroring, Protocol):
    """A `Cluster` that can also be mirrored."""


def subscriptions(cluster: str) -> tuple[str, ...]:
    """Give the topics of one cluster that the coordinator hears."""
    return (
        topics.finding(cluster, "+"),
        topics.progress(cluster, "+"),
        topics.watcher(cluster),
        topics.host(cluster, "+", topics.EVENT),
    )


@dataclass(eq=False, repr=False)  # what is held here is a whole fleet: no line of a traceback
class Side:
    """One cluster as the coordinator holds it. ``wake`` is called whenever something changed.

    ``beside`` calls something that takes long, so that the event loop goes on meanwhile: in a thread, where there are threads.
    """

    name: str
    cluster: MirroredCluster
    bus: Bus
    provider: Provider
    pace: PaceSettings
    clock: Callable[[], datetime]
    wake: Callable[[], None] = lambda: None
    hosts: Hosts | None = None
    names: Names = NAMES
    beside: Callable[[Callable[[], Fleet]], Awaitable[Fleet]] = asyncio.to_thread
    presence: Presence = field(init=False)
    agents: WireHosts = field(init=False)
    _mirrors: Mirrors = field(init=False)
    _fleet: Fleet | None = field(init=False, default=None)
    _dirty: bool = field(init=False, default=True)
    _behind: datetime | None = field(init=False, default=None)
    _unread: str = field(init=False, default="")
    _reader: Reader = field(init=False)
    _reading: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _changes: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Make the mirrors; nothing runs yet."""
        self.presence = Presence(self.name, self.bus, clock=self.clock, pace=self.pace)
        self.agents = WireHosts(self.name, self.bus)
        self._mirrors = Mirrors(self.cluster, KINDS, self.names)
        self._reader = Reader(self.name, self.names)

    @property
    def ports(self) -> Ports:
        """What actions may touch here."""
        return Ports(self.cluster, self.hosts or self.agents, self.provider, together=all_at_once)

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once."""
        return self._mirrors.synced

    @property
    def age(self) -> timedelta | None:
        """Age of the snapshot: of the oldest mirror, or of the first change that is not in it yet; None before all were listed."""
        heard = self._heard
        behind = timedelta(0) if self._behind is None else self.clock() - self._behind
        return None if heard is None else max(heard, behind)

    @property
    def _heard(self) -> timedelta | None:
        age = self._mirrors.age
        return None if age is None else timedelta(seconds=age)

    @property
    def problem(self) -> str:
        """Why the snapshot is not kept fresh, "" while it is."""
        return self._mirrors.problem or self._unread

    @property
    def set_aside(self) -> Mapping[str, str]:
        """The objects that cannot be read, with why."""
        return self._mirrors.set_aside

    @property
    def expired(self) -> Mapping[str, int]:
        """How many watches of each kind began at a version that the API server had forgotten."""
        return self._mirrors.expired

    @property
    def heard(self) -> bool:
        """Whether the API server spoke lately."""
        return self._heard is not None and self._heard <= self.pace.fleet_stale_after

    @property
    def reachable(self) -> bool:
        """Whether the snapshot is of lately: the API server spoke, and what it said could be read."""
        return self.age is not None and self.age <= self.pace.fleet_stale_after

    @property
    def watched(self) -> bool:
        """Whether a watcher spoke lately: only then does silence about a part mean that it is well."""
        age = self.presence.watcher_age
        return self.bus.connected and self.presence.settled and age is not None and age <= self.pace.findings_told_within

    @property
    def fleet(self) -> Fleet | None:
        """The snapshot as `read` made it last; None before all kinds were listed once."""
        return self._fleet

    async def read(self) -> Fleet | None:
        """Give the snapshot, after a change made anew: beside the loop, for 10,000 nodes take two seconds when all are new."""
        async with self._reading:
            if self.synced and self._dirty:
                began, self._dirty = self.clock(), False
                try:
                    self._fleet = await self.beside(self._reading_now())
                except BaseException as error:
                    self._dirty = True
                    if isinstance(error, Exception):
                        self._unread = f"its objects cannot be read as a fleet: {type(error).__name__}: {error}"[:500]
                    raise
                self._behind, self._unread = began if self._dirty else None, ""
        return self._fleet

    def _reading_now(self) -> Callable[[], Fleet]:
        """Give the reading of what the mirrors hold now; their objects are replaced and never changed, so a thread may do it."""
        reading = partial(
            self._reader.read,
            nodes=self._mirrors["nodes"].objects,
            pods=self._mirrors["pods"].objects,
            jobsets=self._mirrors["jobsets"].objects,
            jobs=self._mirrors["jobs"].objects,
            slices=self._mirrors["slices"].objects,
            workloads=self._mirrors["workloads"].objects,
            as_of=self.clock(),
        )
        return lambda: reading().counted()

    async def run(self) -> None:
        """Keep everything fresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._mirrors.keep(tasks, self._changed, where=self.name)
            tasks.create_task(self._follow(), name=f"fleet of {self.name}")
            tasks.create_task(self.bus.run(self._take, self._connected), name=f"broker of {self.name}")

    async def _follow(self) -> None:
        """Read after each change, for those who only look; who decides reads for himself, and shows what nobody expected there."""
        told = False
        while True:
            await self._changes.wait()
            self._changes.clear()
            began = asyncio.get_running_loop().time()
            try:
                await self.read()
            except Exception as error:
                log.log(logging.DEBUG if told else logging.ERROR, "fleet not read", cluster=self.name, exc_info=error)
                told = True
            else:
                told = False
            self.wake()
            # Changes may come faster than a large fleet is read: at least half of the time is everybody else's.
            await asyncio.sleep(asyncio.get_running_loop().time() - began)

    def _changed(self) -> None:
        self._dirty, self._behind = True, self._behind or self.clock()
        self._changes.set()

    def _take(self, message: Message) -> None:
        if self.presence.take(message) or self.agents.take(message):
            self.wake()

    async def _connected(self) -> None:
        self.presence.notice()
        self.wake()
