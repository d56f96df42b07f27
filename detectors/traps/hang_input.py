"""A hang of which Megascale's digest shows a program counter of 0: it waits for its input."""

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
    """Give each gang that hangs before a program began."""
    for hang in hangs(panel, fleet):
        if hang.cause is Cause.INPUT:
            named = ", ".join(name for name, _ in hang.culprits[:4]) or "a worker"
            text = f"it hangs with a program counter of 0 on {named}: it waits for its input, not for the hardware"
            yield Trapped(hang.gang, text, hang.evidence)


HANG_INPUT = Trap(
    name="hang-input",
    kind=Kind.INPUT_STARVED,
    part="gang",
    severity=Severity.ERROR,
    says="it hangs with a program counter of 0 on {workers}: it waits for its input, not for the hardware",
    about="Megascale's digest of a hang names a worker whose program counter is 0: no program runs there, it waits for its input, though the digest may suspect a bad chip.",
    limits="One digest in a job's log; over 15 minutes after the last line, or when a member steps.",
    sources=("Megascale digest: a program counter of 0 waits for input and is no bad chip",),
    advice="Look at the input of the named worker: storage, preprocessing, the host's disk and memory.",
    find=find,
    instead_of=frozenset({Kind.COLLECTIVE_STUCK}),
)
