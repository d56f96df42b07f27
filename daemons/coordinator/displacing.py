"""Which gang had to go for which of late, so that nobody displaces its displacer, also not after a restart.

Kueue says it of a gang that waits, and no longer once that runs again: what is new is kept in the store for a day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from sliceward.scheduling.rights import REMEMBERED, Displaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from sliceward.daemons.store import Store
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Displacing:
    """The displacements that are known."""

    store: Store
    clock: Callable[[], datetime]
    _known: dict[tuple[GangId, datetime], Displaced] = field(default_factory=dict)

    def begin(self, stored: Iterable[Displaced]) -> None:
        """Begin with what the store has of late."""
        self._known = {(one.gang, one.at): one for one in stored}

    def past(self) -> tuple[Displaced, ...]:
        """Give those of late, the oldest first."""
        edge = self.clock() - REMEMBERED
        return tuple(sorted((one for one in self._known.values() if one.at > edge), key=lambda one: (one.at, one.gang)))

    async def round(self, fleets: Iterable[Fleet]) -> None:
        """Keep what is new. Raises `Retry` where the store is away."""
        fresh = {key: one for key, one in _told(fleets) if key not in self._known and one.at > self.clock() - REMEMBERED}
        if not fresh:
            return
        await self.store.displacements.add(*fresh.values())
        edge = self.clock() - REMEMBERED
        self._known = {key: one for key, one in self._known.items() if one.at > edge} | fresh
        for one in fresh.values():
            log.info("displaced", gang=str(one.gang), by=str(one.by), at=one.at)


def _told(fleets: Iterable[Fleet]) -> Iterator[tuple[tuple[GangId, datetime], Displaced]]:
    """Give what Kueue says: of a gang by whose owner it went, where that is there."""
    gangs = [gang for fleet in fleets for gang in fleet.gangs.values()]
    went = [(gang.id, gang.preempted) for gang in gangs if gang.preempted is not None]
    by_uid = {gang.uid: gang.id for gang in gangs} if went else {}
    for gang, told in went:
        by = by_uid.get(told.by)
        if by is not None and by != gang:
            yield (gang, told.at), Displaced(gang, by, told.at)
