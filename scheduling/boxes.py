"""Aligned boxes of hosts inside a cube, for slices below a cube.

Google's sub-partitions of a 4x4x4 are 2x4x4, 2x2x4, 2x2x2 and 2x2x1: each halves the one before, at places that are
multiples of the box itself.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.topology.fleet import Cube, Fleet
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import ChipId, HostId
    from sliceward.topology.torus import Coordinate


def corners(shape: Shape, box: Shape) -> Iterator[Coordinate]:
    """Give the corners of all boxes aligned in ``shape``, x fastest; none where the box does not divide it."""
    if len(shape) != len(box) or any(length % edge for length, edge in zip(shape, box, strict=True)):
        return
    steps = (range(0, length, edge) for length, edge in zip(reversed(shape), reversed(box), strict=True))
    for corner in product(*steps):
        yield tuple(reversed(corner))


def box_hosts(fleet: Fleet, cube: Cube, box: Shape, free: frozenset[HostId]) -> tuple[HostId, ...] | None:
    """Give the hosts of the first box in ``cube`` whose hosts are all ``free``, in the order of their places; None if none is.

    Hosts whose place is unknown are never part of a box.
    """
    chips = fleet.chips_at(cube.id)
    for corner in corners(cube.shape, box):
        inside = [chips.get(place) for place in _places(corner, box)]
        hosts = _whole_hosts(fleet, inside)
        if hosts is not None and free.issuperset(hosts):
            return hosts
    return None


def _places(corner: Coordinate, box: Shape) -> Iterator[Coordinate]:
    for offset in corners(box, (1,) * len(box)):
        yield tuple(a + b for a, b in zip(corner, offset, strict=True))


def _whole_hosts(fleet: Fleet, chips: list[ChipId | None]) -> tuple[HostId, ...] | None:
    """Give the hosts that these chips make up; None where a chip is unknown or a host sticks out of the box."""
    found: dict[HostId, int] = {}
    for chip in chips:
        if chip is None:
            return None
        found[chip.host_id] = found.get(chip.host_id, 0) + 1
    return tuple(found) if all(fleet.hosts[host].chips == count for host, count in found.items()) else None
