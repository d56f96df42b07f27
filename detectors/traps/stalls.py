"""Silent stalls: all members of a gang run, none fails, and no step comes. What each of its hosts is at tells why.

In a gang all wait for the slowest: the hosts that spin in a collective wait for those that do something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.progress import gang_of, latest
from sliceward.detectors.traps.trap import Trapped
from sliceward.topology.gangs import GangState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import GangId

LIMIT = 900.0
"""Seconds without a step: above the collective time-out (10 min) and the longest stage of a checkpoint."""
FIRST = 1800.0
"""Seconds without a first step: large programs compile for many minutes."""
NEWS, LOOK = 3, 5
"""Periods after which a reading is old, and over which it is looked what a host is at."""
SPEAKS = 60.0
SHARE = 0.5
SPINS, IDLES = 80.0, 5.0
MOST_NAMED = 4
INSTEAD = frozenset({Kind.COLLECTIVE_STUCK, Kind.INPUT_STARVED})
"""What rules say of such a gang host by host; who knows the cause says it instead."""


class At(StrEnum):
    """What a host is at, in words that complete "its hosts …"."""

    COMPILE = "compile"
    CHECKPOINT = "save a checkpoint"
    INPUT = "wait for input"
    COLLECTIVE = "spin in a collective"
    IDLE = "idle with nothing queued"
    UNKNOWN = "do what nobody tells"


_TOLD = {
    At.COMPILE: "host_compile_seconds_total",
    At.CHECKPOINT: "host_checkpoint_seconds_total",
    At.INPUT: "host_input_seconds_total",
}


@dataclass(frozen=True, slots=True)
class Stall:
    """One gang. ``seconds`` without a step; ``first``: it never made one. ``at``: what each host is at. ``silent``: a member's agent is silent."""

    gang: GangId
    seconds: float
    first: bool
    at: Mapping[str, At]
    silent: bool

    def hosts(self, at: At) -> list[str]:
        """Give the hosts that are at it, by name."""
        return sorted(name for name, one in self.at.items() if one is at)

    @property
    def cause(self) -> At:
        """What the gang waits for: what the fewest are at who do not wait for others."""
        return next((at for at in (At.COMPILE, At.CHECKPOINT, At.INPUT) if at in self.at.values()), At.UNKNOWN)

    def says(self, at: At) -> str:
        """Say who is at it, and that the others wait."""
        there = self.hosts(at)
        more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
        rest = len(self.at) - len(there)
        waits = f", and {rest} others wait for them" if rest else ""
        which = "first step" if self.first else "step"
        return (
            f"no {which} for {self.seconds:.0f} s: {', '.join(there[:MOST_NAMED])}{more} {at}{waits}: the job, not the hardware"
        )


def trapped(panel: Panel, fleet: Fleet, cause: At) -> Iterator[Trapped]:
    """Give the gangs that stand still for a cause."""
    for stall in stalls(panel, fleet):
        if stall.silent:
            yield Trapped(stall.gang, "a member is silent", seen=False)
        elif stall.cause is cause:
            yield Trapped(stall.gang, stall.says(cause), proof(panel, stall))


def proof(panel: Panel, stall: Stall) -> tuple[Evidence, ...]:
    """Give the number that decided."""
    limit = FIRST if stall.first else LIMIT
    return (
        Evidence(
            "seconds without a step", stall.seconds, limit, "seconds", datetime.fromtimestamp(panel.now, UTC), str(stall.gang)
        ),
    )


def stalls(panel: Panel, fleet: Fleet) -> list[Stall]:
    """Give every gang of which all members run and none steps."""
    return panel.memory.lately("stalls", panel.now, 0.0, lambda: list(_stalls(panel, fleet)))


def _stalls(panel: Panel, fleet: Fleet) -> Iterator[Stall]:
    ages, voices = newest(panel, "host_step_age_seconds"), newest(panel, "host_source_age_reporter_seconds")
    stepless = (voices <= SPEAKS) & ~(ages < LIMIT)
    gangs: set[GangId] = set()
    for slot in np.flatnonzero(stepless):
        known = panel.hosts[int(slot)]
        gang = None if known is None else gang_of(panel.cluster, known.notes.get("gang", ""))
        if gang is not None:
            gangs.add(gang)
    spells = panel.memory.spells
    waiting = {f"no-step/{gang}" for gang in gangs}
    for key in [key for key in spells if key.startswith("no-step/") and key not in waiting]:
        del spells[key]
    for gang in sorted(gangs, key=str):
        shown = fleet.gangs.get(gang)
        if shown is not None and shown.state is GangState.RUNNING:
            stall = _stall(panel, shown, ages, voices)
            if stall is not None:
                yield stall


def _stall(panel: Panel, gang: Gang, ages: NDArray[np.float64], voices: NDArray[np.float64]) -> Stall | None:
    slots = {host.name: panel.slots[host.name] for host in gang.hosts if host.name in panel.slots}
    key = f"no-step/{gang.id}"
    speaking = {name: slot for name, slot in slots.items() if voices[slot] <= SPEAKS}
    if not speaking or any(ages[slot] < LIMIT for slot in slots.values()):
        panel.memory.spells.pop(key, None)
        return None
    stepped = [ages[slot] for slot in speaking.values() if not np.isnan(ages[slot])]
    began = panel.memory.spells.setdefault(key, panel.now)
    seconds = float(min(stepped)) if stepped else panel.now - began
    if seconds < (LIMIT if stepped else FIRST):
        return None
    silent = any(_is_silent(panel, slot) for slot in slots.values())
    return Stall(gang.id, seconds, not stepped, {name: _at(panel, name, slot) for name, slot in speaking.items()}, silent)


def _is_silent(panel: Panel, slot: int) -> bool:
    known = panel.hosts[slot]
    return known is not None and panel.silence(slot) > NEWS * max(known.period, panel.size.period)


def _at(panel: Panel, name: str, slot: int) -> At:
    rows, period = panel.ring.recent(LOOK * panel.size.period), panel.size.period
    for at, metric in _TOLD.items():
        column = panel.ring.columns.get(metric)
        if column is not None and np.nansum(column[rows, slot]) >= SHARE * LOOK * period:
            return at
    column = panel.ring.columns.get("chip_duty_cycle_percent")
    duty = np.array([]) if column is None else column[rows, slot][~np.isnan(column[rows, slot])]
    if len(duty) and duty.min() >= SPINS:
        return At.COLLECTIVE
    if len(duty) and duty.max() <= IDLES and latest(panel, "host_hlo_queue_size", name) == 0:
        return At.IDLE
    return At.UNKNOWN


def newest(panel: Panel, metric: str) -> NDArray[np.float64]:
    """Give the newest reading of each host that is still news; NaN where there is none."""
    column, found = panel.ring.columns.get(metric), np.full(panel.ring.hosts, np.nan)
    for row in panel.ring.recent(NEWS * panel.size.period) if column is not None else ():
        found = np.where(np.isnan(found), column[row], found)  # type: ignore[index]  # without a column there is no row
    return found
