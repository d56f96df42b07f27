"""Everything about one cluster: its mirrors, its broker, its agents, and the fleet snapshot made of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from sliceward.daemons import topics
from sliceward.daemons.coordinator.hosts import WireHosts
from sliceward.daemons.coordinator.presence import Presence
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, SLICE, WORKLOAD, Cluster, Ports
from sliceward.topology.reading import read_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from sliceward.daemons.coordinator.settings import PaceSettings
    from sliceward.daemons.wire import Bus, Message
    from sliceward.remediations.ports import Hosts, Kind, Object, Provider
    from sliceward.topology.fleet import Fleet

KINDS: Mapping[str, Kind] = {
    "nodes": NODE,
    "pods": POD,
    "jobsets": JOBSET,
    "jobs": JOB,
    "slices": SLICE,
    "workloads": WORKLOAD,
}


class Mirror(Protocol):
    """A copy of all objects of one kind; see `sliceward.remediations.kubernetes`."""

    synced: bool
    problem: str

    @property
    def age(self) -> float:
        """Seconds since the server last proved the copy fresh."""
        ...

    @property
    def objects(self) -> Collection[Object]:
        """The objects."""
        ...

    async def run(self, on_change: Callable[[], None] | None = None) -> None:
        """Keep it fresh for ever."""
        ...


class MirroredCluster(Cluster, Protocol):
    """A `Cluster` that can also be mirrored."""

    def mirror(self, kind: Kind, *, fields: str = "", labels: str = "") -> Mirror:
        """Give a mirror of one kind."""
        ...


def subscriptions(cluster: str) -> tuple[str, ...]:
    """Give the topics of one cluster that the coordinator hears."""
    return (
        topics.finding(cluster, "+"),
        topics.progress(cluster, "+"),
        topics.watcher(cluster),
        topics.host(cluster, "+", topics.EVENT),
    )


@dataclass(eq=False)
class Side:
    """One cluster as the coordinator holds it. ``wake`` is called whenever something changed."""

    name: str
    cluster: MirroredCluster
    bus: Bus
    provider: Provider
    pace: PaceSettings
    clock: Callable[[], datetime]
    wake: Callable[[], None] = lambda: None
    hosts: Hosts | None = None
    presence: Presence = field(init=False)
    agents: WireHosts = field(init=False)
    _mirrors: dict[str, Mirror] = field(init=False)
    _fleet: Fleet | None = field(init=False, default=None)
    _dirty: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        """Make the mirrors; nothing runs yet."""
        self.presence = Presence(self.name, self.bus, clock=self.clock, pace=self.pace)
        self.agents = WireHosts(self.name, self.bus)
        self._mirrors = {plural: self.cluster.mirror(kind) for plural, kind in KINDS.items()}

    @property
    def ports(self) -> Ports:
        """What actions may touch here."""
        return Ports(cluster=self.cluster, hosts=self.hosts or self.agents, provider=self.provider)

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once."""
        return all(mirror.synced for mirror in self._mirrors.values())

    @property
    def age(self) -> timedelta | None:
        """Age of the oldest mirror; None before all were listed."""
        return timedelta(seconds=max(mirror.age for mirror in self._mirrors.values())) if self.synced else None

    @property
    def problem(self) -> str:
        """Why the copy is not kept fresh, "" while it is."""
        return next((f"{plural}: {mirror.problem}" for plural, mirror in self._mirrors.items() if mirror.problem), "")

    @property
    def reachable(self) -> bool:
        """Whether the API server spoke lately."""
        return self.age is not None and self.age <= self.pace.fleet_stale_after

    @property
    def watched(self) -> bool:
        """Whether a watcher spoke lately: only then does silence about a part mean that it is well."""
        age = self.presence.watcher_age
        return self.bus.connected and self.presence.settled and age is not None and age <= self.pace.findings_told_within

    @property
    def fleet(self) -> Fleet | None:
        """The snapshot, read again only after a change; None before all kinds were listed once."""
        if not self.synced:
            return None
        if self._dirty or self._fleet is None:
            self._dirty = False
            held = {plural: tuple(mirror.objects) for plural, mirror in self._mirrors.items()}
            self._fleet = read_fleet(
                self.name,
                nodes=held["nodes"],
                pods=held["pods"],
                jobsets=held["jobsets"],
                jobs=held["jobs"],
                slices=held["slices"],
                workloads=held["workloads"],
                as_of=self.clock(),
            )
        return self._fleet

    async def run(self) -> None:
        """Keep everything fresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for plural, mirror in self._mirrors.items():
                tasks.create_task(mirror.run(self._changed), name=f"mirror of {plural} in {self.name}")
            tasks.create_task(self.bus.run(self._take, self._connected), name=f"broker of {self.name}")

    def _changed(self) -> None:
        self._dirty = True
        self.wake()

    def _take(self, message: Message) -> None:
        if self.presence.take(message) or self.agents.take(message):
            self.wake()

    async def _connected(self) -> None:
        self.presence.notice()
        self.wake()
