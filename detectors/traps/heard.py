"""What members of gangs printed before they ended, on the watcher's clock: notes ``sightings`` and ``end`` of each host's frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from sliceward.detectors.finding import Evidence
from sliceward.detectors.progress import gang_of, latest
from sliceward.detectors.sightings import END_NOTE, NOTE, from_note
from sliceward.topology.gangs import GangState
from sliceward.topology.ids import GangId, HostId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.detectors.panel import Panel
    from sliceward.detectors.sightings import Sighting
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang

MOST_TOLD = 6
"""Lines that stand in the evidence of one finding."""

_read = lru_cache(maxsize=4096)(from_note)


@dataclass(frozen=True, slots=True)
class Heard:
    """A line, and who printed it. ``first`` and ``last``: unix seconds on the watcher's clock."""

    host: HostId
    machine: str
    gang: GangId | None
    said: Sighting
    first: float
    last: float

    @property
    def evidence(self) -> Evidence:
        """Give it as a number that decided: how many such lines, and the first of them."""
        at = datetime.fromtimestamp(self.first, UTC)
        return Evidence(f"log: {self.said.line}", self.said.count, 1, "lines", at, str(self.host), self.said.text)


def heard(panel: Panel) -> list[Heard]:
    """Give every line that is told now, the earliest first. A note that nobody can read is counted and left out."""
    return panel.memory.lately("sightings", panel.now, 0.0, lambda: _heard(panel))


def _heard(panel: Panel) -> list[Heard]:
    found: list[Heard] = []
    for known in panel.hosts:
        if known is None or (NOTE not in known.notes and END_NOTE not in known.notes):
            continue
        try:
            told = tuple(one for note in (NOTE, END_NOTE) if note in known.notes for one in _read(known.notes[note]))
        except (ValueError, msgspec.MsgspecError, RecursionError):
            panel.counts["sightings_set_aside"] += 1
            continue
        # Two hosts' clocks differ by more than the seconds between cause and consequence: all is put on ours.
        moved = 0.0 if math.isnan(known.offset) else known.offset
        host = HostId(panel.cluster, known.name)
        found += [
            Heard(host, known.instance_id, gang_of(panel.cluster, one.seat), one, one.first + moved, one.last + moved)
            for one in told
        ]
    return sorted(found, key=lambda one: (one.first, one.host.name, one.said.line))


def by_gang(panel: Panel, fleet: Fleet, told: Iterable[Heard]) -> Mapping[GangId, list[Heard]]:
    """Sort lines by gang: of gangs that the fleet shows, that are not done, and that made no step after their last line."""
    found: dict[GangId, list[Heard]] = {}
    for one in told:
        gang = fleet.gangs.get(one.gang) if one.gang is not None else None
        if gang is not None and gang.state is not GangState.FINISHED:
            found.setdefault(gang.id, []).append(one)
    return {gang: lines for gang, lines in found.items() if not _goes_on(panel, fleet, gang, lines)}


def _goes_on(panel: Panel, fleet: Fleet, gang: GangId, lines: list[Heard]) -> bool:
    """Whether a member stepped after all that was printed: what it was, it is over."""
    last = max(one.last for one in lines)
    for host in fleet.gangs[gang].hosts:
        age = latest(panel, "host_step_age_seconds", host.name)
        if age is not None and panel.now - age > last + panel.size.period:
            return True
    return False


def member_named(gang: Gang, address: str) -> HostId | None:
    """Give the host of the member that an address names: its pod, or the host name of an indexed Job's pod, which bears five random characters more."""
    name = address.partition(".")[0].partition(":")[0]
    for member in gang.members if name else ():
        if member.host is not None and not member.ended and name in (member.pod, member.pod.rpartition("-")[0]):
            return member.host
    return None
