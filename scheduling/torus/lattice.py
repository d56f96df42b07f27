"""The hosts of a TPU pod as a torus of their own: one place a host, which carries a tray of chips.

A slice takes whole hosts, so that boxes are counted in hosts and a board has a quarter of the bits or less. What is said of links
between chips is said of the hosts at their ends: links that join two hosts along an axis are one, because a box holds all of them
or none. A ring of two hosts is no ring of the torus of hosts (a box holds one, or both with both links between them).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import Shape, text_of
from sliceward.topology.torus import Torus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.topology.torus import Coordinate

_RING = 3
"""The shortest ring of a torus."""


@dataclass(frozen=True)
class Breaks:
    """Condemned links as boards of hosts.

    ``between``: by axis the hosts whose links in the rising direction must not lie inside a box. ``within``: hosts that hold both
    ends of one, so that every box with them holds it.
    """

    between: dict[int, int]
    within: int

    @classmethod
    def none(cls) -> Breaks:
        """Give what holds where no link is condemned."""
        return cls({}, 0)


@dataclass(frozen=True)
class Lattice:
    """``chips``: the torus of the pod; ``tray``: the box of chips of one host."""

    chips: Torus
    tray: Shape

    def __post_init__(self) -> None:
        """Refuse a pod that is not made of whole hosts."""
        if len(self.tray) != len(self.chips.shape) or any(a % b for a, b in zip(self.chips.shape, self.tray, strict=True)):
            raise Misconfigured(
                f"pod of {text_of(self.chips.shape)} chips",
                f"is not made of whole hosts of {text_of(self.tray)}",
                "Correct the pod's shape or the chips a host",
            )

    @cached_property
    def hosts(self) -> Torus:
        """The torus of hosts."""
        shape = tuple(length // part for length, part in zip(self.chips.shape, self.tray, strict=True))
        return Torus(shape, tuple(wraps and length >= _RING for wraps, length in zip(self.chips.wrap, shape, strict=True)))

    @property
    def chips_a_host(self) -> int:
        """Chips."""
        return prod(self.tray)

    def boxes(self, shape: Shape, *, turned: bool = True) -> tuple[Shape, ...]:
        """Give the boxes of hosts that a shape in chips may take, in the order that they are tried in.

        ``turned``: it may lie along the axes in any order. None where it is not made of whole hosts, or longer than the pod.
        """
        return _boxes(self, shape, turned)

    def in_hosts(self, box: Shape) -> Shape:
        """Give the lengths of a box of chips in hosts, one at least."""
        return tuple(max(1, length // part) for length, part in zip(box, self.tray, strict=True))

    def in_chips(self, box: Shape) -> Shape:
        """Give the lengths of a box of hosts in chips."""
        return tuple(length * part for length, part in zip(box, self.tray, strict=True))

    def chip_place(self, host: Coordinate, chip: int) -> Coordinate:
        """Give the place of a chip by its number on its host, row by row."""
        place = []
        for at, part in zip(host, self.tray, strict=True):
            chip, offset = divmod(chip, part)
            place.append(at * part + offset)
        return tuple(place)

    def breaks(self, links: Iterable[tuple[Coordinate, Coordinate]]) -> Breaks:
        """Give what links between neighbouring chips, either end first, mean for boxes of hosts.

        Raises:
            Misconfigured: two chips are no neighbours.
        """
        between: dict[int, int] = {}
        within = 0
        for one, other in links:
            for axis, low in self._joins(one, other):
                here = tuple(at // part for at, part in zip(low, self.tray, strict=True))
                ahead = self.chips.neighbour(low, 2 * axis)
                there = tuple(at // part for at, part in zip(ahead or low, self.tray, strict=True))
                if here == there:
                    within |= 1 << self.hosts.index(here)
                else:
                    first = here if self.hosts.shape[axis] >= _RING else min(here, there)
                    between[axis] = between.get(axis, 0) | 1 << self.hosts.index(first)
        return Breaks(between, within)

    def _joins(self, one: Coordinate, other: Coordinate) -> list[tuple[int, Coordinate]]:
        """Give by axis from which of two places a link leads to the other in the rising direction."""
        for axis in range(len(self.tray)):
            for low, high in ((one, other), (other, one)):
                if self.chips.neighbour(low, 2 * axis) == high:
                    return [(axis, low)]
        raise Misconfigured(f"link {one} to {other}", f"joins no neighbours in a torus of {text_of(self.chips.shape)}")


@lru_cache(maxsize=1024)
def _boxes(lattice: Lattice, shape: Shape, turned: bool) -> tuple[Shape, ...]:  # noqa: FBT001 (a key of what is remembered)
    if len(shape) != len(lattice.tray):
        return ()
    lying = sorted(set(permutations(shape)), key=lambda one: (one != shape, one)) if turned else [shape]
    whole = (
        one
        for one in lying
        if all(n % part == 0 and n <= room for n, part, room in zip(one, lattice.tray, lattice.chips.shape, strict=True))
    )
    return tuple(tuple(n // part for n, part in zip(one, lattice.tray, strict=True)) for one in whole)
