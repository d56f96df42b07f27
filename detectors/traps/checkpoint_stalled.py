"""A gang that makes no step since some of its hosts save a checkpoint that does not end."""

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
    """Give each gang that waits for a checkpoint."""
    return trapped(panel, fleet, At.CHECKPOINT)


CHECKPOINT_STALLED = Trap(
    name="checkpoint-stalled",
    kind=Kind.CHECKPOINT_STALLED,
    part="gang",
    severity=Severity.ERROR,
    says="no step for {seconds} s: {hosts} save a checkpoint, and {count} others wait for them: the job, not the hardware",
    about="All members of a gang run, none steps, and hosts say that their steps wait for a checkpoint: storage that is slow or away, a full disk, a lock of a member that"
    " is gone. It is said instead of collective-stuck and input-starved.",
    limits="15 minutes without a step, which is above the longest stage of a checkpoint in the fleets that we know; half of the last 50 s spent on it. The job must say so"
    ' (`with reporter.doing("checkpoint")`).',
    sources=(
        "Post-mortems of production fleets: 15 minutes is above the collective time-out and the longest stage of a checkpoint",
    ),
    advice="Look at the storage that the named hosts write to. Do not restart before it ends if you can wait: what it saves is what a restart begins from.",
    find=find,
    instead_of=INSTEAD,
)
