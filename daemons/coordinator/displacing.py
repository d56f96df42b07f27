"""Which gang had to go for which of late, so that nobody displaces its displacer, also not after a restart.

Kueue says it of a gang that waits, and no longer once that runs again: what is new is kept in the store for a day. What the store
can never keep is set aside by name, and the rest goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.store import Unstorable
from sliceward.scheduling.rights import REMEMBERED, Displaced
from sliceward.topology.preempted import SKEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from sliceward.daemons.store import Store
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Displacing:
    """The displacements that are known. ``set_aside``: those that cannot be kept, name -> why, shown with the loop whose it is."""

    store: Store
    clock: Callable[[], datetime]
    _known: dict[tuple[GangId, datetime], Displaced] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)
    _aside: set[str] = field(default_factory=set)

    def begin(self, stored: Iterable[Displaced]) -> None:
        """Begin with what the store has of late."""
        self._known = {(one.gang, one.at): one for one in stored}

    def past(self) -> tuple[Displaced, ...]:
        """Give those of late, the oldest first."""
        return tuple(sorted(filter(self._of_late, self._known.values()), key=lambda one: (one.at, one.gang)))

    async def round(self, fleets: Iterable[Fleet]) -> None:
        """Keep what is new. Raises `Retry` where the store is away."""
        aside = dict[str, str]()
        for key, one in _told(fleets):
            if key not in self._known and self._of_late(one):
                try:
                    await self.store.displacements.add(one)
                except Unstorable as error:
                    aside[f"displacement of {one.gang}"] = str(error)
                else:
                    log.info("displaced", gang=str(one.gang), by=str(one.by), at=one.at)
                    self._known[key] = one
        self._known = {key: one for key, one in self._known.items() if self._of_late(one)}
        self._show(aside)

    def _of_late(self, one: Displaced) -> bool:
        """Whether it counts; a time that is still to come would count for ever."""
        now = self.clock()
        return now - REMEMBERED < one.at <= now + SKEW

    def _show(self, aside: Mapping[str, str]) -> None:
        for name in self._aside - aside.keys():
            self.set_aside.pop(name, None)
        for name in aside.keys() - self._aside:
            log.warning("displacement set aside", name=name, why=aside[name])
        self.set_aside.update(aside)
        self._aside = set(aside)


def _told(fleets: Iterable[Fleet]) -> Iterator[tuple[tuple[GangId, datetime], Displaced]]:
    """Give what Kueue says: of a gang by whose owner it went, where that is there."""
    gangs = [gang for fleet in fleets for gang in fleet.gangs.values()]
    went = [(gang.id, gang.preempted) for gang in gangs if gang.preempted is not None]
    by_uid = {gang.uid: gang.id for gang in gangs} if went else {}
    for gang, told in went:
        by = by_uid.get(told.by)
        if by is not None and by != gang:
            yield (gang, told.at), Displaced(gang, by, told.at)
