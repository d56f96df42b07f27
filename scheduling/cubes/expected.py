"""The requests that are expected, read for a block: how many whole cubes each takes, or which box inside one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.cubes.nest import level_in
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from sliceward.scheduling.cubes.boxes import Lost
    from sliceward.scheduling.ground import Mix
    from sliceward.topology.generations import Generation, Shape


@dataclass(frozen=True, slots=True)
class Expected:
    """``wholes``: numbers of cubes with their probabilities. ``levels``: by level of the nest, 0.0 for the cube itself."""

    wholes: tuple[tuple[int, float], ...]
    levels: tuple[float, ...]

    def of_cubes(self, there: int, gone: int) -> float:
        """Give the expected slices of whole cubes that are lost where ``gone`` of ``there`` free cubes go."""
        return sum(probability * (there // count - (there - gone) // count) for count, probability in self.wholes)

    def of_boxes(self, lost: Lost) -> float:
        """Give the expected slices below a cube that are lost with so many boxes of each level."""
        return sum(probability * count for probability, count in zip(self.levels, lost, strict=True) if count)


@lru_cache(maxsize=256)
def expected(generation: str, boxes: tuple[Shape, ...], mix: Mix) -> Expected:
    """Read a mix for cubes that divide into ``boxes``; shapes that do not exist there are asked for in vain and cost nothing."""
    wholes, levels = [], [0.0] * len(boxes)
    for shape, probability in mix:
        count, level = whole_cubes(generation, shape), level_in(boxes, shape)
        if count:
            wholes.append((count, probability))
        elif level is not None:
            levels[level] += probability
    return Expected(tuple(sorted(wholes)), tuple(levels))


@cache
def whole_cubes(generation: str, shape: Shape) -> int:
    """Count the cubes of a slice that is made of whole ones; 0 for one below a cube, or of another kind."""
    kind = GENERATIONS[generation]
    if kind.cube is None or len(shape) != kind.dimensions or not kind.is_whole_cubes(shape):
        return 0
    return prod(shape) // prod(kind.cube)


@cache
def compact(kind: Generation, most: int) -> Shape | None:
    """Give the shape of most chips of at most so many whole cubes, of equals the one that is least long."""
    if kind.cube is None:
        return None
    edge = kind.cube[0]
    for count in range(min(most, kind.largest_slice // prod(kind.cube)), 0, -1):
        sides = [(a, b, count // (a * b)) for a in range(1, count + 1) for b in range(a, count + 1) if count % (a * b) == 0]
        a, b, c = min((sides for sides in sides if sides[1] <= sides[2]), key=lambda sides: sides[2])
        return a * edge, b * edge, c * edge
    return None
