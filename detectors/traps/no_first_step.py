"""A gang of which all members run, and that has never made a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.detectors.traps.stalls import At, proof, stalls
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang that never stepped and does not say why."""
    for stall in stalls(panel, fleet):
        if not stall.first or stall.cause is not At.UNKNOWN:
            continue
        if stall.silent:
            yield Trapped(stall.gang, "a member is silent", seen=False)
            continue
        told = "; ".join(f"{len(stall.hosts(at))} {at}" for at in At if stall.hosts(at))
        text = f"no first step for {stall.seconds:.0f} s while all members run ({told}): the job, not the hardware"
        yield Trapped(stall.gang, text, proof(panel, stall))


NO_FIRST_STEP = Trap(
    name="no-first-step",
    kind=Kind.NO_FIRST_STEP,
    part="gang",
    severity=Severity.ERROR,
    says="no first step for {seconds} s while all members run ({what they are at}): the job, not the hardware",
    about="Every process of a gang runs and reports, and none has made a step yet: members wait for a peer that will not come, at another coordinator or with another"
    " number of slices, or hang in the start of libtpu. Where members disagree, gang-disagrees names them; where they compile or load, that is said instead.",
    limits="30 minutes since the watcher first heard a process of the gang: large programs compile for many minutes. It sees only jobs that import the reporter.",
    sources=(
        "Post-mortems of production fleets: half of a gang at attempt 0's address, half at attempt 1's; all running, no step",
    ),
    advice="Take stacks of one rank a host. Look for members that were told something else, then start the gang again once.",
    find=find,
)
