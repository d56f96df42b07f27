"""What a place destroys for the requests that are expected: for every anchor of a box at once, and exactly.

A box takes all anchors of another box that would overlap it: along each axis those from (length of the other - 1) before it to its
end. The loss of a place is the sum over all boxes of the mix of weight x anchors taken. For all places at once that is a box sum
over each map of anchors, done axis by axis: maps whose boxes are equally long along the later axes are added up on the way, so
that hundreds of maps cost about one. Weights are whole numbers, so that no sum is ever rounded and equal places cost the same,
in whichever order a machine adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sliceward.scheduling.torus.lattice import Lattice
    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Torus

UNIT = 2**30
"""One anchor of a shape that is all that is asked for. Six ways to lie x 100,000 places x 2^30 is exact in a float."""


def weights_of(lattice: Lattice, mix: tuple[tuple[Shape, float], ...]) -> dict[Shape, int]:
    """Give the weight of each box of hosts in which a shape of the mix may lie: its probability in `UNIT`.

    Shapes that do not go into this pod have no box and so no weight.
    """
    weights: dict[Shape, int] = {}
    for shape, probability in mix:
        for box in lattice.boxes(shape):
            weights[box] = weights.get(box, 0) + round(probability * UNIT)
    return weights


def loss_of(weights: Mapping[Shape, int], before: Mapping[Shape, int], after: Mapping[Shape, int]) -> int:
    """Add up what is lost between two maps of anchors, in `UNIT`."""
    return sum(weight * (before[box].bit_count() - after[box].bit_count()) for box, weight in weights.items() if before[box])


class _Row(NamedTuple):
    """Maps of boxes equally long along y and z: their lengths along x with their weights, and the maps beside each other."""

    others: tuple[tuple[int, int], ...]
    grids: NDArray[np.float64]


class _Plane(NamedTuple):
    """Maps of boxes equally long along z: that length, the lengths along y, and a row for each."""

    long: int
    wides: tuple[int, ...]
    rows: tuple[_Row, ...]


@dataclass(frozen=True, slots=True)
class Arranged:
    """Maps of anchors that are ready to be summed, by the length of their boxes along z, then along y."""

    torus: Torus
    planes: tuple[_Plane, ...]


def arranged(torus: Torus, weights: Mapping[Shape, int], alive: Mapping[Shape, int]) -> Arranged:
    """Arrange what is alive and weighs something: grids by y, then z, then x."""
    x, y, z = _three(torus.shape)
    boxes = sorted((_three(box)[::-1], weight, alive[box]) for box, weight in weights.items() if alive[box] and weight)
    if not boxes:
        return Arranged(torus, ())
    grids = _bits(torus, [board for _, _, board in boxes]).reshape(len(boxes), z, y, x)
    planes: dict[int, dict[int, list[int]]] = {}
    for number, ((long, wide, _), *_rest) in enumerate(boxes):
        planes.setdefault(long, {}).setdefault(wide, []).append(number)

    def row(numbers: list[int]) -> _Row:
        """Put the grids of consecutive boxes beside each other along x, as floats."""
        beside = np.empty((y, z, len(numbers), x))
        np.copyto(beside, grids[numbers[0] : numbers[-1] + 1].transpose(2, 1, 0, 3))
        return _Row(tuple((boxes[n][0][2], boxes[n][1]) for n in numbers), beside.reshape(y * z, -1))

    return Arranged(torus, tuple(_Plane(long, tuple(rows), tuple(map(row, rows.values()))) for long, rows in planes.items()))


def losses(maps: Arranged, boxes: tuple[Shape, ...]) -> NDArray[np.float64]:
    """Give for each box, and for each place in the order of places, what the box takes from there, in `UNIT`: whole numbers."""
    x, y, z = _three(maps.torus.shape)
    along_x, along_y, along_z = _rings(maps.torus)
    lengths, count = tuple(map(_three, boxes)), len(boxes)
    deep, wide, long = (tuple(each[axis] for each in lengths) for axis in range(3))
    total = np.zeros((count, y, z, x))
    for plane in maps.planes:
        across = np.empty((count, len(plane.rows), y * z, x))
        for number, row in enumerate(plane.rows):
            np.matmul(row.grids, _weighted(along_x, deep, row.others), out=across[:, number])
        sums = _beside(along_y, wide, plane.wides) @ across.reshape(count, -1, z * x)
        total += _beside(along_z, long, (plane.long,))[:, None] @ sums.reshape(count, y, z, x)
    return total.transpose(0, 2, 1, 3).reshape(count, -1)


@lru_cache(maxsize=4096)
def _weighted(axis: tuple[int, bool], lengths: tuple[int, ...], others: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    """Give for each length the windows of others below each other, weighted."""
    return np.stack([np.concatenate([weight * windows(axis, one, other) for other, weight in others]) for one in lengths])


@lru_cache(maxsize=4096)
def _beside(axis: tuple[int, bool], lengths: tuple[int, ...], others: tuple[int, ...]) -> NDArray[np.float64]:
    """Give for each length the windows of others beside each other, turned."""
    return np.stack([np.concatenate([windows(axis, one, other) for other in others]).T for one in lengths])


def box_sums(torus: Torus, amounts: NDArray[np.float64], box: Shape) -> NDArray[np.float64]:
    """Give for each place the sum of the amounts in a box from there; both in the order of places."""
    (x, y, z), (a, b, c) = _three(torus.shape), _three(box)
    along_x, along_y, along_z = _rings(torus)
    rows = amounts.reshape(z * y, x) @ windows(along_x, a, 1)
    planes = windows(along_y, b, 1).T @ rows.reshape(z, y, x)
    total: NDArray[np.float64] = windows(along_z, c, 1).T @ planes.reshape(z, y * x)
    return total.reshape(-1)


def as_grids(torus: Torus, boards: list[int]) -> NDArray[np.float64]:
    """Give boards as rows of 0 and 1, in the order of places."""
    return _bits(torus, boards).astype(np.float64)


def _bits(torus: Torus, boards: list[int]) -> NDArray[np.uint8]:
    width = (torus.size + 7) // 8
    raw = np.frombuffer(b"".join(board.to_bytes(width, "little") for board in boards), np.uint8).reshape(len(boards), width)
    return np.unpackbits(raw, axis=1, count=torus.size, bitorder="little")


def set_numbers(torus: Torus, board: int) -> NDArray[np.intp]:
    """Give the numbers of the places that are set, rising."""
    raw = np.frombuffer(board.to_bytes((torus.size + 7) // 8, "little"), np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little"))


@cache
def windows(axis: tuple[int, bool], length: int, other: int) -> NDArray[np.float64]:
    """Tell along one axis, of (length, wraps), which starts [n, ] of another box overlap a box that starts at [, n]: 1, else 0.

    A box that goes round the whole ring starts at 0 alone, and overlaps everything.
    """
    room, wraps = axis
    ahead = np.arange(room)[:, None] - np.arange(room)[None, :]
    if wraps and other == room:
        overlap = np.broadcast_to(np.arange(room)[:, None] == 0, (room, room))
    elif wraps:
        overlap = (ahead + other - 1) % room < length + other - 1
    else:
        overlap = (ahead > -other) & (ahead < length)
    found = overlap.astype(np.float64)
    found.flags.writeable = False
    return found


def _three(lengths: Shape) -> tuple[int, int, int]:
    x, y, *z = lengths
    return x, y, z[0] if z else 1


def _rings(torus: Torus) -> tuple[tuple[int, bool], tuple[int, bool], tuple[int, bool]]:
    x, y, *z = zip(torus.shape, torus.wrap, strict=True)
    return x, y, z[0] if z else (1, False)
