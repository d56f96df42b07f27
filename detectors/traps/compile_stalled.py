"""A gang that makes no step since some of its hosts compile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.detectors.traps.stalls import INSTEAD, At, trapped
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang that waits for a compilation."""
    return trapped(panel, fleet, At.COMPILE)


COMPILE_STALLED = Trap(
    name="compile-stalled",
    kind=Kind.COMPILE_STALLED,
    part="gang",
    severity=Severity.WARNING,
    says="no step for {seconds} s: {hosts} compile, and {count} others wait for them: the job, not the hardware",
    about="All members of a gang run, none steps, and hosts say that they compile: the chips idle there and spin in a collective elsewhere, which looks like sick chips"
    " from outside. It is said instead of collective-stuck and input-starved.",
    limits='15 minutes without a step, 30 without a first one; half of the last 50 s spent on it. The job must say so (`with reporter.doing("compile")`): nothing outside'
    " of the process tells a compilation from a hang.",
    sources=("Post-mortems of production fleets: all members RUNNING, no error, no restart, last step 16.5 minutes ago",),
    advice="Wait, or look at why it compiles again: shapes that change, a cache that was lost. Take stacks of one rank a host before any restart.",
    find=find,
    instead_of=INSTEAD,
)
