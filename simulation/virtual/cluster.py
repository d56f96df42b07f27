"""The port `Cluster` over objects in memory, and its mirrors: copies that lag behind, and that may stand still without knowing it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from sliceward.remediations.ports import Kind, Object
    from sliceward.simulation.virtual.objects import Objects
    from sliceward.simulation.virtual.way import Way

LISTED = 0.3
"""Seconds until the first list is there."""
LAG = (0.05, 0.8)
"""Seconds between a change and the copy that shows it; changes in between come with it."""


@dataclass(eq=False, slots=True)
class VirtualCluster:
    """One coordinator's view of a cluster. While ``watch`` is away in the weather, its mirrors stand still and say that they are fresh."""

    name: str
    objects: Objects
    way: Way
    lag: tuple[float, float] = LAG
    mirrors: list[VirtualMirror] = field(default_factory=list)
    _coming: bool = False

    def __post_init__(self) -> None:
        """Listen."""
        self.objects.listeners.append(self._changed)

    def leave(self) -> None:
        """Listen no more: the process is gone."""
        self.objects.listeners.remove(self._changed)

    # ── the port ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """Give the object, or None."""
        return await self.way.call(lambda: self.objects.get(kind, name, namespace))

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        """Give all that match."""
        return await self.way.call(lambda: self.objects.select(kind, namespace=namespace, labels=labels, fields=fields))

    async def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        """Create, or give the one that is there."""
        return await self.way.call(lambda: self.objects.create(kind, body, namespace))

    async def patch(self, kind: Kind, name: str, body: Object, namespace: str = "") -> Object:
        """Merge-patch."""
        return await self.way.call(lambda: self.objects.patch(kind, name, body, namespace))

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", grace: timedelta | None = None) -> bool:
        """Delete."""
        return await self.way.call(lambda: self.objects.delete(kind, name, namespace, uid=uid, grace=grace))

    # ── mirrors ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def mirror(
        self,
        kind: Kind,
        *,
        fields: str = "",
        labels: str = "",
        needed: Callable[[Object], bool] | None = None,  # noqa: ARG002 (a mirror may hold more than is needed)
    ) -> VirtualMirror:
        """Give a mirror of one kind."""
        mirror = VirtualMirror(self, kind, fields, labels)
        self.mirrors.append(mirror)
        return mirror

    def _changed(self, _kind: Kind, _before: Object | None, _after: Object | None, _ours: bool) -> None:  # noqa: FBT001 (a listener)
        if self.mirrors and not self._coming:
            self._coming = True
            self.way.agenda.after(self.way.dice.uniform(*self.lag), self._deliver)

    def _deliver(self) -> None:
        now = self.way.agenda.clock.seconds
        away = self.way.weather.away
        silent = [end for begin, end in (*away.get("watch", ()), *away.get(self.way.port, ())) if begin <= now < end]
        if silent:
            self.way.agenda.after(max(silent) - now + 0.01, self._deliver)
            return
        self._coming = False
        if self.way.life.alive:
            for mirror in self.mirrors:
                mirror.refresh()


@dataclass(eq=False, slots=True)
class VirtualMirror:
    """A copy of one kind. While the API server is away it ages; while the watch is silent it is old and says that it is fresh."""

    cluster: VirtualCluster
    kind: Kind
    fields: str
    labels: str
    synced: bool = False
    absent: bool = False
    problem: str = "not listed yet"
    set_aside: dict[str, str] = field(default_factory=dict)
    expired: int = 0
    objects: Sequence[Object] = ()
    _on_change: Callable[[], None] = lambda: None

    @property
    def age(self) -> float:
        """Seconds since the server last proved the copy fresh."""
        way = self.cluster.way
        if not (spells := way.weather.away.get(way.port)):
            return 0.0
        now = way.agenda.clock.seconds
        return max((now - begin for begin, end in spells if begin <= now < end), default=0.0)

    async def run(self, on_change: Callable[[], None] | None = None) -> None:
        """List, and follow for ever."""
        self._on_change = on_change or self._on_change
        while self.cluster.way.is_away:  # noqa: ASYNC110 (weather tells nobody when it is over)
            await asyncio.sleep(1.0)
        await asyncio.sleep(LISTED)
        self.synced, self.problem = True, ""
        self.refresh()
        await asyncio.Event().wait()

    def refresh(self) -> None:
        """Take over what there is now."""
        if not self.synced:
            return
        objects = self.cluster.objects
        new = (
            objects.select(self.kind, fields=self.fields, labels=self.labels)
            if self.fields or self.labels
            else objects.all(self.kind)
        )
        if len(new) != len(self.objects) or any(one is not other for one, other in zip(new, self.objects, strict=True)):
            self.objects = new
            self._on_change()
