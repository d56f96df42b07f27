"""How a cube halves: the boxes that Google's partitions allow inside one, and where they stand.

A 4x4x4 falls into two 2x4x4, each of these into two 2x2x4, then 2x2x2 and 2x2x1, at places that are multiples of the box. Two
such boxes are apart, or one lies in the other. So the hosts of a cube are numbered in such an order that every box is one run of
seats that begins at a multiple of its length, a cube is one whole number (bit n: seat n), and all boxes that are free are found
at once by folding it. What fits is exact without search: a box takes the same away from every smaller kind wherever it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.torus import coordinate_at, index_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.topology.generations import Generation, Shape
    from sliceward.topology.torus import Coordinate


@dataclass(frozen=True, slots=True)
class Nest:
    """The boxes of one kind of cube, largest first: the cube itself, ..., what is not smaller than a host.

    ``tray``: the chips that a host carries. ``runs``: how many hosts each box has.
    """

    boxes: tuple[Shape, ...]
    tray: Shape
    runs: tuple[int, ...]

    @property
    def hosts(self) -> int:
        """Hosts of a cube."""
        return self.runs[0]

    @property
    def full(self) -> int:
        """The cube with every seat set."""
        return (1 << self.runs[0]) - 1

    def level_of(self, shape: Shape, *, turned: bool = True) -> int | None:
        """Give the level of the boxes of a shape, which may lie along the axes in any order if ``turned``; None: no such box."""
        return level_in(self.boxes, shape, turned=turned)

    def standing(self, level: int) -> tuple[int, ...]:
        """Give the boxes of a level as bits of seats, lowest first."""
        run = self.runs[level]
        return tuple(((1 << run) - 1) << first for first in range(0, self.hosts, run))

    def seat_at(self, corner: Coordinate) -> int:
        """Give the seat of the host whose chip of lowest coordinates is at ``corner``."""
        return _seat_at(self.boxes, self.tray, corner)

    def corner_of(self, seat: int) -> Coordinate:
        """Give where the lowest chip of a seat is: the inverse of `seat_at`."""
        corner = (0,) * len(self.tray)
        for outer, inner in reversed(list(pairwise((*self.boxes, self.tray)))):
            halves = tuple(a // b for a, b in zip(outer, inner, strict=True))
            seat, inside = divmod(seat, prod(halves))
            corner = tuple(at + step * b for at, step, b in zip(corner, coordinate_at(halves, inside), inner, strict=True))
        return corner


@cache
def nest_of(generation: Generation, chips: int) -> Nest | None:
    """Give how cubes of a generation whose hosts carry so many chips divide; None where optical switches join no cubes."""
    if generation.cube is None:
        return None
    tray = generation.tray(chips)
    listed = sorted((generation.cube, *generation.small_shapes), key=prod, reverse=True)
    boxes = [box for box in listed if not any(edge % part for edge, part in zip(box, tray, strict=True))]
    return Nest(tuple(boxes), tray, tuple(prod(box) // chips for box in boxes))


@cache
def level_in(boxes: tuple[Shape, ...], shape: Shape, *, turned: bool = True) -> int | None:
    """Give which of the boxes has a shape; None: none has."""
    alike = (n for n, box in enumerate(boxes) if box == shape or (turned and sorted(box) == sorted(shape)))
    return next(alike, None)


def free_runs(free: int, run: int) -> int:
    """Give the first seats of all boxes of ``run`` hosts that are free as a whole, as bits. ``free``: a bit a free seat."""
    found, joined = free, 1
    while joined < run:
        step = min(joined, run - joined)
        found &= found >> step
        joined += step
    return found & _starts(free.bit_length(), run)


@cache
def _starts(length: int, run: int) -> int:
    return sum(1 << seat for seat in range(0, length, run))


def seats_of(bits: int) -> Iterator[int]:
    """Give the numbers of the bits that are set, lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


@cache
def _seat_at(boxes: tuple[Shape, ...], tray: Shape, corner: Coordinate) -> int:
    """Find a seat: a cube has a few corners, and a fleet has the same few in every cube."""
    seat = 0
    for outer, inner in pairwise((*boxes, tray)):
        halves = tuple(a // b for a, b in zip(outer, inner, strict=True))
        inside = tuple(at % a // b for at, a, b in zip(corner, outer, inner, strict=True))
        seat = seat * prod(halves) + index_at(halves, inside)
    return seat
