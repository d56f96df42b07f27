"""The requests that are expected: as they were counted; where nobody has, one shape a size, small ones more often than large ones."""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.scheduling.ground import Mix
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.generations import Generation, Shape


USUAL = 16
"""What is usual weighs as much as so many requests that were counted: a fleet of three gangs says little about the next one."""


def counted_mix(fleets: Iterable[Fleet]) -> dict[str, Mix]:
    """Give the mix of each generation by the slices of all gangs that are there: those that run, that wait and that are over."""
    counts: dict[str, Counter[Shape]] = {}
    for gang in (gang for fleet in fleets for gang in fleet.gangs.values()):
        kind = GENERATIONS.get(gang.generation or "")
        for role in gang.roles if kind is not None else ():
            shape = tuple(sorted(role.topology or ()))
            if kind is not None and shape and kind.admits(shape):
                counts.setdefault(kind.label, Counter())[shape] += role.slices
    return {generation: _blended(usual_mix(generation), counted) for generation, counted in sorted(counts.items())}


def _blended(usual: Mix, counted: Counter[Shape]) -> Mix:
    weights: dict[Shape, float] = {shape: USUAL * probability for shape, probability in usual}
    for shape, count in sorted(counted.items()):
        weights[shape] = weights.get(shape, 0.0) + count
    total = sum(weights.values())
    return tuple((shape, weight / total) for shape, weight in weights.items())


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
