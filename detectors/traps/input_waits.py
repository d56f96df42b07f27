"""A gang that makes no step since some of its hosts say that they wait for input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.detectors.traps.stalls import At, trapped
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang that waits for the input of some of its hosts."""
    return trapped(panel, fleet, At.INPUT)


INPUT_WAITS = Trap(
    name="input-waits",
    kind=Kind.INPUT_STARVED,
    part="gang",
    severity=Severity.ERROR,
    says="no step for {seconds} s: {hosts} wait for input, and {count} others wait for them: the job, not the hardware",
    about="All members of a gang run, none steps, and hosts say that they wait for their input, while the others spin in a collective and wait for them. Rule"
    " input-starved finds the same by chips that idle with nothing queued; here the hosts say so themselves, and are named.",
    limits='15 minutes without a step, 30 without a first one; half of the last 50 s spent on it. The job must say so (`with reporter.doing("input")`).',
    sources=("Megascale digest: a program counter of 0 waits for input and is no bad chip",),
    advice="Look at the input pipeline of the named hosts: storage, preprocessing, the host's disk and memory.",
    find=find,
    instead_of=frozenset({Kind.COLLECTIVE_STUCK}),
)
