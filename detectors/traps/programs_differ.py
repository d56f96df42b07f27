"""A hang of which Megascale says that hosts run different programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.detectors.traps.hangs import Cause, hangs
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang whose hosts run different programs."""
    for hang in hangs(panel, fleet):
        if hang.cause is Cause.PROGRAMS:
            named = ", ".join(name for name, _ in hang.culprits[:4]) or "nobody"
            yield Trapped(
                hang.gang,
                f"it hangs since its hosts run different programs (the digest names {named}): the job, not the hardware",
                hang.evidence,
            )


PROGRAMS_DIFFER = Trap(
    name="programs-differ",
    kind=Kind.PROGRAMS_DIFFER,
    part="gang",
    severity=Severity.ERROR,
    says="it hangs since its hosts run different programs (the digest names {workers}): the job, not the hardware",
    about="Megascale's digest of a hang says INCONSISTENT_TPU_PROGRAM: the hosts of a gang wait in different programs for each other. It is a bug of the job or of how it was"
    " started, whatever else the digest says.",
    limits="One line of a job's log; over 15 minutes after the last, or when a member steps.",
    sources=("Megascale: HANG_DETECTED, and its digest's 'Potential cause: INCONSISTENT_TPU_PROGRAM'",),
    advice="Look for hosts with another version of the program, another order of data, or a branch that depends on the host.",
    find=find,
)
