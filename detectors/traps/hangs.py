"""Megascale's digest of a hang, as jobs print it: a hang is a symptom, and the digest tells three of its causes apart.

A program counter of 0 waits for input. Programs that differ are the job. A counter that stands elsewhere on the same host again after a
restart is a chip; once, it is a suspicion.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sliceward.detectors.sightings import Line
from sliceward.detectors.traps.heard import MOST_TOLD, by_gang, heard, member_named

if TYPE_CHECKING:
    from sliceward.detectors.finding import Evidence
    from sliceward.detectors.panel import Panel
    from sliceward.detectors.traps.heard import Heard
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import GangId, HostId

OF_IT = frozenset({Line.HANG_CHIP, Line.HANG_PROGRAM, Line.CULPRIT, Line.COUNTER})


class Cause(StrEnum):
    """What a digest says when it is read to its end."""

    PROGRAMS = "programs"
    INPUT = "input"
    CHIP = "chip"


@dataclass(frozen=True, slots=True)
class Hang:
    """One gang. ``culprits``: the workers that the digest names, with their host where it is a member's; ``pods``: who printed it."""

    gang: GangId
    cause: Cause
    culprits: tuple[tuple[str, HostId | None], ...]
    pods: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    at: float


def hangs(panel: Panel, fleet: Fleet) -> list[Hang]:
    """Give what is told of hangs now, by gang."""
    return panel.memory.lately("hangs", panel.now, 0.0, lambda: _hangs(panel, fleet))


def _hangs(panel: Panel, fleet: Fleet) -> list[Hang]:
    lines = [one for one in heard(panel) if one.said.line in OF_IT]
    found = []
    for gang, told in sorted(by_gang(panel, fleet, lines).items(), key=lambda one: str(one[0])):
        culprits, cause = _culprits(told, fleet.gangs[gang]), _cause(told)
        if cause is not None:
            pods = tuple(sorted({one.said.pod for one in told}))
            evidence = tuple(one.evidence for one in told[:MOST_TOLD])
            found.append(Hang(gang, cause, culprits, pods, evidence, max(one.last for one in told)))
    return found


def _culprits(told: list[Heard], gang: Gang) -> tuple[tuple[str, HostId | None], ...]:
    names = dict.fromkeys(one.said.what for one in told if one.said.line is Line.CULPRIT and one.said.what)
    return tuple((name, member_named(gang, name)) for name in names)


def _cause(told: list[Heard]) -> Cause | None:
    lines = {one.said.line for one in told}
    if Line.HANG_PROGRAM in lines:
        return Cause.PROGRAMS
    named = {one.said.what for one in told if one.said.line is Line.CULPRIT}
    counters = {one.said.chips for one in told if one.said.line is Line.COUNTER and (not named or one.said.what in named)}
    if counters and all(int(counter, 16) == 0 for counter in counters):
        return Cause.INPUT
    return Cause.CHIP if Line.HANG_CHIP in lines else None
