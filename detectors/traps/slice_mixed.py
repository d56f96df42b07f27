"""Split gang: the pods of one slice sit in more than one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.checks import mixed_slices
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang of which a slice is not whole."""
    for mixed in panel.memory.about("slice-mixed", fleet, lambda: mixed_slices(fleet)):
        yield Trapped(mixed.gang, f"slice {mixed.role}-{mixed.index} is not whole: {mixed.why}")


SLICE_MIXED = Trap(
    name="slice-mixed",
    kind=Kind.SLICE_MIXED,
    part="gang",
    severity=Severity.ERROR,
    says="slice {role}-{index} is not whole: {why}",
    about="The pods of one slice of a gang sit in more than one slice: its collectives can never form, though every pod is Ready. It reads no"
    " metric: it is a comparison of the gang's pods with the fleet (`topology/checks.py`), each round.",
    limits="A start while old pods of the gang still end can spread each slice over several cubes; no object of Kubernetes says so.",
    sources=(
        "Measured with Kueue 0.19 and JobSet 0.12",
        "Post-mortems of production fleets: one member retried alone landed on another slice and looked like a slow job",
    ),
    advice="Suspend the gang, wait until no pod of it is left, and let it start again whole.",
    find=find,
)
