"""The root of a gang's failure: its earliest anomaly on aligned clocks. Whoever tells that a peer is gone is not to blame for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.sightings import BURST, Line
from sliceward.detectors.traps.heard import MOST_TOLD, by_gang, heard
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.detectors.traps.heard import Heard
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang

TOGETHER = 1.0
"""Seconds by which clocks are not told apart: a frame may take as long, and its time is all that aligns them."""
SILENT = 3
"""Periods of silence that are an anomaly."""
ENDING = frozenset({Line.PEER_LOST, Line.CHIP_FATAL, Line.SLICE_FAILURE, Line.MISSED, Line.PORT_TAKEN})
"""Lines after which a gang does not go on; a process that only prints an error may."""
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something of a member that is no consequence of a peer. ``blur``: seconds by which ``at`` may be too early."""

    at: float
    host: str
    text: str
    blur: float = 0.0


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang whose members print how it ends, with the member that was first."""
    for gang, lines in sorted(by_gang(panel, fleet, heard(panel)).items(), key=lambda one: str(one[0])):
        told = _last_burst(lines)
        if not any(one.said.line in ENDING for one in told):
            continue
        until = max(one.last for one in told)
        began = min(one.first for one in told) - BURST
        found = sorted(
            (
                *_printed(told),
                *_unheard(panel, fleet.gangs[gang], began, until),
                *_of_kernels(panel, fleet.gangs[gang], began, until),
            ),
            key=lambda one: (one.at, one.host),
        )
        victims = {one.host.name for one in told if one.said.line is Line.PEER_LOST} - {one.host for one in found}
        yield Trapped(gang, _says(found, victims, fleet.gangs[gang]), _evidence(panel, found, told))


def _last_burst(lines: list[Heard]) -> list[Heard]:
    """Give the lines of the latest failure: those before a longer quiet are of an earlier one."""
    start = 0
    for place in range(1, len(lines)):
        if lines[place].first - max(one.last for one in lines[start:place]) > BURST:
            start = place
    return lines[start:]


def _printed(told: list[Heard]) -> Iterator[Anomaly]:
    seen: set[str] = set()
    for one in told:  # the earliest first
        if one.said.line is not Line.PEER_LOST and one.host.name not in seen:
            seen.add(one.host.name)
            yield Anomaly(one.first, one.host.name, one.said.text)


def _unheard(panel: Panel, gang: Gang, began: float, until: float) -> Iterator[Anomaly]:
    """Give members whose agent fell silent before the last line: a host that dies prints nothing."""
    for host in gang.hosts:
        known = panel.known(host.name)
        if known is None or not began <= known.heard <= until:
            continue
        period = max(known.period, panel.size.period)
        if panel.silence(panel.slots[host.name]) > SILENT * period:
            yield Anomaly(known.heard, host.name, "its agent fell silent", blur=period)


def _of_kernels(panel: Panel, gang: Gang, began: float, until: float) -> Iterator[Anomaly]:
    """Give members whose kernel told of a fault meanwhile."""
    column, period = panel.ring.columns.get("host_kernel_faults_total"), panel.size.period
    if column is None:
        return
    rows = panel.ring.recent(min(panel.now - began, panel.ring.rows * period))
    for host in gang.hosts:
        if host.name not in panel.slots:
            continue
        rose = np.flatnonzero(np.nan_to_num(column[rows, panel.slots[host.name]]) > 0)
        if len(rose):
            at = (panel.now // period - int(rose[-1])) * period  # rows are newest first, and a row begins there
            if began <= at <= until:
                yield Anomaly(at, host.name, "its kernel told of a fault", blur=period)


def _says(found: list[Anomaly], victims: set[str], gang: Gang) -> str:
    rest = f"{len(victims)} others tell of a lost peer, which counts against nobody" if victims else ""
    if not found:
        quiet = sorted(host.name for host in gang.hosts if host.name not in victims)
        whom = f"; only {', '.join(quiet[:MOST_NAMED])} printed nothing of the kind" if 0 < len(quiet) <= MOST_NAMED else ""
        return f"all that is told is of lost peers ({len(victims)} members), which counts against nobody{whom}"
    first = found[0]
    near = [one for one in found[1:] if one.at - first.at <= max(TOGETHER, first.blur) and one.host != first.host]
    also = f", and within {max(TOGETHER, first.blur):g} s on {', '.join(one.host for one in near[:MOST_NAMED])}" if near else ""
    when = f"{datetime.fromtimestamp(first.at, UTC):%H:%M:%S}"
    return "; ".join(part for part in (f"began on {first.host} at {when}{also}: {first.text}", rest) if part)


def _evidence(panel: Panel, found: list[Anomaly], told: list[Heard]) -> tuple[Evidence, ...]:
    first = found[0].at if found else 0.0
    named = tuple(
        Evidence(
            "seconds after the first anomaly", one.at - first, 0.0, "seconds", datetime.fromtimestamp(one.at, UTC),
            f"{panel.cluster}/host/{one.host}", one.text,
        )
        for one in found[:MOST_TOLD]
    )  # fmt: skip
    return named or tuple(one.evidence for one in told[:MOST_TOLD])


GANG_FAILED = Trap(
    name="gang-failed",
    kind=Kind.GANG_FAILED,
    part="gang",
    severity=Severity.ERROR,
    says="began on {host} at {time}: {what was first}; {count} others tell of a lost peer, which counts against nobody",
    about="When one member of a gang dies, all others print errors, and the loudest is hardly ever the first. What members printed, when their agents fell silent"
    " and when their kernels told of a fault is put on one clock, and the earliest anomaly is named. `Socket closed`, `PollForError`, a barrier that timed"
    " out and an abort of JAX tell that a peer is gone: they date the failure and count against nobody who prints them.",
    limits="Host clocks are aligned by the fastest frame of each host, to about a second: what is closer together is told together. An agent's last frame and a"
    " fault of the kernel are known to a period. A member of a pod without labels of its gang is not seen. It is over 15 minutes after the last line, or"
    " when a member has made a step since.",
    sources=(
        "Post-mortems of production fleets: `Socket closed` and `Fatal Python error: Aborted` on all hosts but the one that had died first",
        "marin-community/marin issue 5258: the job told of PollForError from healthy hosts, while others hung in the start of libtpu",
    ),
    advice="Look at the member that was first, and at nobody else. If all only tell of lost peers, look at those that printed nothing.",
    find=find,
)
