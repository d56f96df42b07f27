"""What the free room of a fleet is worth to the requests that are expected, in chip-seconds: what defragmentation makes more of.

A shape for which there is a place is worth the wait that a request for it is spared; each further place of it is worth little. So
what turns hopeless into possible weighs most, and what only adds a place breaks ties.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.generations import Shape


@dataclass(frozen=True, slots=True)
class Worth:
    """``alive``: what is left of each expected shape in all grounds of a generation. ``value`` in chip-seconds."""

    alive: Mapping[Shape, int]
    value: float

    def keeps(self, before: Worth) -> bool:
        """Whether no shape that had a place before has lost its last."""
        return all(self.alive[shape] > 0 for shape, count in before.alive.items() if count > 0)


def worth_of(snapshot: Snapshot, generation: str) -> Worth:
    """Give the worth of all free room of a generation."""
    costs = snapshot.costs
    kind = GENERATIONS[generation]
    mix = [(shape, share) for shape, share in snapshot.terms(generation, None).mix if kind.admits(tuple(sorted(shape)))]
    alive: Counter[Shape] = Counter(dict.fromkeys((shape for shape, _ in mix), 0))
    for key in sorted(snapshot.grounds, key=str):
        ground = snapshot.grounds[key]
        if ground.generation == generation:
            alive.update({shape: ground.alive(shape) for shape, _ in mix})
    value = sum(
        probability * (costs.anchor * alive[shape] + (prod(shape) * costs.queue if alive[shape] else 0.0))
        for shape, probability in mix
    )
    return Worth(dict(alive), value)
