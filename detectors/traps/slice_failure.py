"""A slice's session fails: which code, who *missed* a health check, who *reports*, which chips. They are seldom the same host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.detectors.sightings import Line
from sliceward.detectors.traps.heard import MOST_TOLD, by_gang, heard, member_named
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.checks import mixed_slices
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.detectors.traps.heard import Heard
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang

OF_IT = frozenset({Line.SLICE_FAILURE, Line.MISSED, Line.REPORTS})
CODES = {
    "UNKNOWN": "for a reason that libtpu does not know",
    "INIT_ERROR": "as ICI could not be configured at the start: look at the placement and the TPU environment first",
    "WORKER_UNAVAILABLE": "as a worker was silent for too long: look at the one that missed",
    "FLAPPING_TASK_ERROR": "as a worker was restarted too fast: back off and try again, it blames nobody",
    "SW_INJECT_ERROR": "as software or a test asked for it: it blames no hardware",
    "CHIP_DRIVER_ERROR": "by a chip fault or an ICI link that is down",
}
"""Codes of libtpu's callback extension, and what each says."""
BLAMELESS = frozenset({"FLAPPING_TASK_ERROR", "SW_INJECT_ERROR"})
MOST_NAMED = 4


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang of which a slice's session fails."""
    lines = [one for one in heard(panel) if one.said.line in OF_IT]
    placed = panel.memory.about("slice-mixed", fleet, lambda: mixed_slices(fleet)) if lines else ()
    mixed = {one.gang: one.why for one in placed}
    for gang, told in sorted(by_gang(panel, fleet, lines).items(), key=lambda one: str(one[0])):
        text = _says(told, fleet.gangs[gang])
        if gang in mixed:
            text = f"{text}; but its pods are placed wrongly, which gives the same: {mixed[gang]}"
        yield Trapped(gang, text, tuple(one.evidence for one in told[:MOST_TOLD]))


def _says(told: list[Heard], gang: Gang) -> str:
    codes = list(dict.fromkeys(one.said.what for one in told if one.said.line is Line.SLICE_FAILURE))
    missed = _workers(told, Line.MISSED, gang)
    reports = _workers(told, Line.REPORTS, gang)
    chips = dict.fromkeys(one.said.chips for one in told if one.said.line is Line.REPORTS and one.said.chips)
    head = (
        f"{codes[0]}: the slice fails {CODES.get(codes[0], 'for a reason that we do not know')}"
        if codes
        else "the slice's session fails"
    )
    parts = [head, f"then {', '.join(codes[1:])}" if codes[1:] else ""]
    parts.append(f"{missed} missed health checks" if missed else "")
    parts.append(f"{reports} reports" if reports else "")
    parts.append(f"reporting chips {', '.join(list(chips)[:MOST_NAMED])}" if chips else "")
    if (missed or reports) and not BLAMELESS.intersection(codes[:1]):
        suspects = (missed and "who missed", chips and "the reporting chips", missed and reports and "the link between")
        parts.append(f"suspects are {', '.join(one for one in suspects if one)}" if missed or chips else "")
    return "; ".join(part for part in parts if part)


def _workers(told: list[Heard], line: Line, gang: Gang) -> str:
    named = list(dict.fromkeys(_worker(one, gang) for one in told if one.said.line is line))
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return ", ".join(named[:MOST_NAMED]) + more


def _worker(one: Heard, gang: Gang) -> str:
    """Give an address with the node behind it, where it is a member's name."""
    host = member_named(gang, one.said.what)
    return one.said.what if host is None else f"{one.said.what} on {host.name}"


SLICE_FAILURE = Trap(
    name="slice-failure",
    kind=Kind.SLICE_FAILURE,
    part="gang",
    severity=Severity.ERROR,
    says="{code}: the slice fails {why}; {worker} missed health checks; {worker} reports; reporting chips {places}; suspects are {…}",
    about="The log of a slice's first worker tells that its session fails: libtpu's code, who missed health checks, who reports, and which chips. They are"
    " kept apart, since who missed and who reports differ. The code decides what it means: FLAPPING_TASK_ERROR and SW_INJECT_ERROR blame nobody, INIT_ERROR"
    " is the placement or the environment until shown otherwise, WORKER_UNAVAILABLE is the one that missed, CHIP_DRIVER_ERROR is a chip or a link. Pods that"
    " are placed wrongly give the same codes, which is then said.",
    limits="One line. It is over 15 minutes after the last one, or when a member has made a step since. Addresses are told with their node where they are"
    " names of members; the numbers of tpuN:peM:K are libtpu's own places, which no public document maps to our chips.",
    sources=(
        "OpenXLA, PJRT callback extension: slice failure codes 0 to 5",
        "Google's guide to troubleshooting slices: look at the worker that missed the check",
        "Post-mortems of production fleets: a slice over two node pools, and blocks chosen by worker number, died with CHIP_DRIVER_ERROR",
    ),
    advice="Check the placement before you accuse hardware. Then look at the worker that missed the check, the chips that report, and the link between them; let the"
    " gang start again elsewhere, and a burn-in decide about them. After FLAPPING_TASK_ERROR wait before the next start.",
    find=find,
)
