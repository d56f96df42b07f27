"""The shapes that a generation allows and a pod can hold, largest last."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations_with_replacement
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from sliceward.scheduling.torus.lattice import Lattice
    from sliceward.topology.generations import Shape


@lru_cache(maxsize=64)
def legal_shapes(generation: str, lattice: Lattice) -> tuple[Shape, ...]:
    """Give the shapes of slices that go into the pod when it is empty, by chips; sides of whole cubes in rising order."""
    kind = GENERATIONS[generation]
    shapes = list(kind.small_shapes)
    if kind.cube is not None:
        edge = kind.cube[0]
        sides = range(edge, max(lattice.chips.shape) + 1, edge)
        shapes += combinations_with_replacement(sides, len(lattice.tray))
    return tuple(sorted((shape for shape in shapes if kind.admits(shape) and lattice.boxes(shape)), key=lambda s: (prod(s), s)))
