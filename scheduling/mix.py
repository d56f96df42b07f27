"""The requests that are expected where nobody has counted them: one shape a size, small ones more often than large ones."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from sliceward.scheduling.ground import Mix
    from sliceward.topology.generations import Generation, Shape


@cache
def usual_mix(generation: str) -> Mix:
    """Give the listed small shapes, and for 1, 2, 4 .. cubes the most compact shape, each with a probability in inverse ratio to its chips.

    Users' requests are heavy at the small end (the distributions of Google's and Microsoft's published traces fall about like that),
    and sizes double.
    """
    kind = GENERATIONS[generation]
    shapes = [*kind.small_shapes, *_of_cubes(kind)]
    weights = [1 / prod(shape) for shape in shapes]
    return tuple((shape, weight / sum(weights)) for shape, weight in zip(shapes, weights, strict=True))


def _of_cubes(kind: Generation) -> list[Shape]:
    if kind.cube is None:
        return []
    edge, cubes = kind.cube[0], 1
    found: list[Shape] = []
    while cubes * prod(kind.cube) <= kind.largest_slice:
        a, b, c = min(_boxes(cubes), key=lambda box: (box[2], box))
        found.append((a * edge, b * edge, c * edge))
        cubes *= 2
    return found


def _boxes(cubes: int) -> list[tuple[int, int, int]]:
    """Give the ways to make a box of so many cubes, its sides in rising order."""
    sides = range(1, cubes + 1)
    return [(a, b, cubes // (a * b)) for a in sides for b in sides[a - 1 :] if cubes % (a * b) == 0 and b <= cubes // (a * b)]
