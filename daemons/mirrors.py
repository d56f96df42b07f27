"""Copies of what one cluster holds, one a kind of object: kept fresh together, and as old together as the oldest of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from sliceward.daemons.complaints import Complaints
from sliceward.remediations.ports import POD
from sliceward.topology.names import NAMES
from sliceward.topology.owners import asks_for_chips

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Iterable, Iterator

    from sliceward.remediations.ports import Kind, Object
    from sliceward.topology.names import Names

log = structlog.get_logger(__name__)

WHAT_TO_DO = "Correct the object: until then it counts as not there"


class Mirror(Protocol):
    """A copy of all objects of one kind; see `sliceward.remediations.kubernetes`."""

    synced: bool
    problem: str
    set_aside: dict[str, str]
    expired: int

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


class Mirroring(Protocol):
    """A cluster that can be mirrored."""

    def mirror(self, kind: Kind, *, fields: str = "", labels: str = "", needed: Callable[[Object], bool] | None = None) -> Mirror:
        """Give a mirror of one kind; objects that are not ``needed`` it may leave out."""
        ...


class Mirrors(Mapping[str, Mirror]):
    """The mirrors of one cluster by plural of their kind; there are none where there is no cluster."""

    def __init__(self, cluster: Mirroring | None, kinds: Iterable[Kind], names: Names = NAMES) -> None:
        """Make the mirrors; nothing runs yet. Of pods only those that ask for chips are held: most of a cluster's do not."""
        needed = {POD: partial(asks_for_chips, names=names)}
        self._mirrors = {} if cluster is None else {kind.plural: cluster.mirror(kind, needed=needed.get(kind)) for kind in kinds}

    def __getitem__(self, plural: str) -> Mirror:
        """Give the mirror of one kind."""
        return self._mirrors[plural]

    def __iter__(self) -> Iterator[str]:
        """Go through the plurals."""
        return iter(self._mirrors)

    def __len__(self) -> int:
        """Give how many kinds are mirrored: 0 without a cluster."""
        return len(self._mirrors)

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once."""
        return all(mirror.synced for mirror in self._mirrors.values())

    @property
    def age(self) -> float | None:
        """Seconds since the oldest mirror was fresh; None before all were listed, 0 without a cluster."""
        return max((mirror.age for mirror in self._mirrors.values()), default=0.0) if self.synced else None

    @property
    def problem(self) -> str:
        """Why the copies are not kept fresh, "" while they are."""
        return next((f"{plural}: {mirror.problem}" for plural, mirror in self.items() if mirror.problem), "")

    @property
    def set_aside(self) -> Mapping[str, str]:
        """The objects that cannot be read, by kind and name, with why: they count as not there."""
        return {f"{plural} {name}": why for plural, mirror in self._mirrors.items() for name, why in mirror.set_aside.items()}

    @property
    def expired(self) -> Mapping[str, int]:
        """How many watches of each kind began at a version that the server had forgotten (410), so that it was listed anew."""
        return {plural: mirror.expired for plural, mirror in self._mirrors.items()}

    def keep(self, tasks: asyncio.TaskGroup, on_change: Callable[[], None], *, where: str) -> None:
        """Keep all of them fresh, each in a task of the group; ``where`` names the cluster."""
        complaints = Complaints(log)

        def changed() -> None:
            for name, why in self.set_aside.items():
                complaints.tell("object set aside", where=f"{where}: {name}", why=why, what_to_do=WHAT_TO_DO)
            on_change()

        for plural, mirror in self._mirrors.items():
            tasks.create_task(mirror.run(changed), name=f"mirror of {plural} in {where}")
