"""The invariant sweep: every mark of ours has an open incident (invariant 5); marks whose incident is over are given back.

Giving back is healing: no pause and no budget stops it. Marks of others are never looked at. An incident that the store
does not know at all (a lost store, another coordinator) gets a long grace first, and none is taken that could not be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.coordinator.guarded import GuardedCluster
from sliceward.daemons.store import Unstorable
from sliceward.playbooks.incident import Entry, EntryKind
from sliceward.playbooks.record import BadRecord
from sliceward.remediations import marks
from sliceward.remediations.ports import NODE
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.daemons.coordinator.deciding import Deciding
    from sliceward.daemons.coordinator.side import Side
    from sliceward.daemons.loops import Loop
    from sliceward.daemons.store import Store
    from sliceward.topology.ids import HostId

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 64
UNKNOWN_GRACE = timedelta(minutes=10)


@dataclass(eq=False)
class Sweep:
    """Compares marks with incidents. ``unknown_grace``: how long a mark of an unknown incident is left alone."""

    store: Store
    sides: Mapping[str, Side]
    deciding: Deciding
    clock: Callable[[], datetime]
    loop: Loop
    unknown_grace: timedelta = UNKNOWN_GRACE
    _next: dict[str, int] = field(default_factory=dict)
    _first_seen: dict[str, dict[tuple[HostId, str], datetime]] = field(default_factory=dict)

    async def round(self) -> int:
        """Give back what is orphaned; gives how many hosts. Raises `Retry` where the store is away, or does not say who leads.

        What nobody expected of one cluster does not keep the others from being healed, and is shown.
        """
        await self.store.ping()
        given, aside = 0, dict[str, str]()
        for side in self.sides.values():
            try:
                await side.read()
                for host, incident in self._in_turn(side):
                    await self.deciding.stops.asks()  # where nobody says who leads, the round ends at the first, not after each
                    given += await self._give_back(side, host, incident)
            except (Retry, Refused):
                raise
            except Exception as error:
                name, why = f"cluster {side.name}", f"{type(error).__name__}: {error}"[:500]
                if self.loop.set_aside.get(name) != why:
                    log.exception("cluster set aside", cluster=side.name)
                aside[name] = why
        self._forget_gone()
        self.loop.set_aside.update(aside)
        self.loop.beat()
        return given

    def _in_turn(self, side: Side) -> list[tuple[HostId, str]]:
        """Give the suspects of this round: those that have to stay for now must not keep the others from being looked at."""
        found = self.suspects(side)
        start = self._next.get(side.name, 0) % max(1, len(found))
        turn = (found[start:] + found[:start])[:MOST_AT_ONCE]
        self._next[side.name] = start + len(turn)
        return turn

    def suspects(self, side: Side) -> list[tuple[HostId, str]]:
        """Give the hosts with a mark of ours whose incident is not open, each with that incident."""
        fleet = side.fleet
        if fleet is None:
            return []
        found = [
            (host.id, mark.value)
            for host in fleet.hosts.values()
            for mark in host.our_marks
            if mark.value not in self.deciding.docket.cases
        ]
        before = self._first_seen.get(side.name, {})
        self._first_seen[side.name] = {key: before.get(key, self.clock()) for key in found}
        return found

    async def _give_back(self, side: Side, host: HostId, incident: str) -> int:
        about = _about(host, incident)
        try:
            if not await self._is_over(side, host, incident):
                return 0
            node = await side.cluster.get(NODE, host.name)
            patch = None if node is None else marks.given_back(node, incident=incident)
            if patch is None:
                return 0
            await GuardedCluster(side.cluster, self.deciding.looks.guard(side)).patch(NODE, host.name, patch)
        except Retry as error:
            self.loop.set_aside[about] = str(error)
            return 0
        except (Refused, BadRecord, Unstorable) as error:
            log.warning("orphaned mark kept", host=str(host), incident=incident, why=str(error))
            self.loop.set_aside[about] = str(error)
            return 0
        self.loop.set_aside.pop(about, None)
        text = f"gave back {host.name}: it carried our mark of an incident that is over"
        log.info("orphaned mark given back", host=str(host), incident=incident)
        numbers = await self.store.append(
            side.name, Entry(self.clock(), incident, EntryKind.STEP_DONE, text, {"host": host.name})
        )
        self.deciding.docket.told(numbers[-1])
        return 1

    def _forget_gone(self) -> None:
        """Forget what was set aside and is no suspect any more: somebody else took the mark away, or its incident is open again."""
        suspects = {_about(host, incident) for found in self._first_seen.values() for host, incident in found}
        for about in self.loop.set_aside.keys() - suspects:
            del self.loop.set_aside[about]

    async def _is_over(self, side: Side, host: HostId, incident: str) -> bool:
        """Whether nobody works on this incident: closed, or unknown for long and no open one about this host."""
        case = await self.store.load(incident)
        if case is not None:
            # Open but not in memory: it was set aside at the start, and its marks with it.
            return not case.incident.open
        about_host = any(host in case.incident.domain for case in self.deciding.docket.cases.values())
        return not about_host and self.clock() - self._first_seen[side.name][host, incident] >= self.unknown_grace


def _about(host: HostId, incident: str) -> str:
    return f"mark of {incident} on {host.name}"
