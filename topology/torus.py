"""A 2D or 3D grid of chips that wraps round along some dimensions: neighbours, places and distances.

Places are counted row by row, x fastest. Ports are numbered x+ x- y+ y- z+ z- = 0..5 (2D: 0..3); Google does not publish
the numbering, docs/limits.md says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator

Coordinate = tuple[int, ...]

PORTS = ("x+", "x-", "y+", "y-", "z+", "z-")
"""Directions by port number."""

_SHORTEST_RING = 3


def coordinate_at(shape: tuple[int, ...], index: int) -> Coordinate:
    """Give the place number ``index`` of a box of ``shape``, counted row by row, x fastest."""
    place = []
    for length in shape:
        index, offset = divmod(index, length)
        place.append(offset)
    return tuple(place)


def index_at(shape: tuple[int, ...], place: Coordinate) -> int:
    """Give the number of a place in a box of ``shape``: the inverse of `coordinate_at`."""
    index = 0
    for length, offset in zip(reversed(shape), reversed(place), strict=True):
        index = index * length + offset
    return index


def opposite(port: int) -> int:
    """Give the port at the other end of a link that leaves through ``port``."""
    return port ^ 1


@dataclass(frozen=True, slots=True)
class Torus:
    """A box of chips with ``shape``; along a dimension that wraps, the last chip is a neighbour of the first."""

    shape: tuple[int, ...]
    wrap: tuple[bool, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be a torus; a ring shorter than 3 would join two chips twice."""
        if len(self.shape) not in {2, 3} or len(self.wrap) != len(self.shape) or min(self.shape) < 1:
            raise Misconfigured(f"torus {self.shape} {self.wrap}", "needs 2 or 3 lengths of at least 1, each with its wrap")
        if any(wraps and length < _SHORTEST_RING for length, wraps in zip(self.shape, self.wrap, strict=True)):
            raise Misconfigured(f"torus {self.shape} {self.wrap}", "wraps round along a dimension shorter than 3")

    @property
    def size(self) -> int:
        """Chips."""
        return prod(self.shape)

    @property
    def ports(self) -> range:
        """Port numbers of a chip."""
        return range(2 * len(self.shape))

    def coordinate(self, index: int) -> Coordinate:
        """Give the place of chip number ``index``."""
        return coordinate_at(self.shape, index)

    def index(self, place: Coordinate) -> int:
        """Give the number of the chip at ``place``."""
        return index_at(self.shape, place)

    def neighbour(self, place: Coordinate, port: int) -> Coordinate | None:
        """Give the place that ``port`` of the chip at ``place`` leads to, None at an edge that does not wrap."""
        axis, step = port // 2, 1 if port % 2 == 0 else -1
        moved = place[axis] + step
        if not 0 <= moved < self.shape[axis]:
            if not self.wrap[axis]:
                return None
            moved %= self.shape[axis]
        return (*place[:axis], moved, *place[axis + 1 :])

    def neighbours(self, place: Coordinate) -> tuple[Coordinate, ...]:
        """Give the places one link away, by port number."""
        found = (self.neighbour(place, port) for port in self.ports)
        return tuple(there for there in found if there is not None)

    def links(self) -> Iterator[tuple[Coordinate, Coordinate]]:
        """Give every link once, from the end that it leaves in the rising direction."""
        for index in range(self.size):
            here = self.coordinate(index)
            for port in self.ports[::2]:
                there = self.neighbour(here, port)
                if there is not None:
                    yield here, there

    def distance(self, one: Coordinate, other: Coordinate) -> int:
        """Count the links on a shortest way between two places."""
        total = 0
        for a, b, length, wraps in zip(one, other, self.shape, self.wrap, strict=True):
            straight = abs(a - b)
            total += min(straight, length - straight) if wraps else straight
        return total
