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
from typing import TYPE_CHECKING, Literal, NamedTuple

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


Floats = Literal["f4", "f8"]
"""The floats that are summed in, as numpy names them."""
EXACT: Floats = "f8"
SHORT: Floats = "f4"
"""Half of the memory, and faster by a quarter."""
SHORT_ERROR = 1e-3
"""What sums of positive numbers in short floats may be off, as a share: of at most 16,000 additions each adds 2^-24."""


class _Row(NamedTuple):
    """Maps of boxes equally long along y and z: their lengths along x with their weights, and the maps beside each other."""

    others: tuple[tuple[int, int], ...]
    grids: NDArray[np.float64 | np.float32]


class _Plane(NamedTuple):
    """Maps of boxes equally long along z: that length, the lengths along y, and a row for each."""

    long: int
    wides: tuple[int, ...]
    rows: tuple[_Row, ...]


@dataclass(frozen=True, slots=True)
class Arranged:
    """Maps of anchors that are ready to be summed, by the length of their boxes along z, then along y.

    ``summed``: the floats that they are summed in.
    """

    torus: Torus
    planes: tuple[_Plane, ...]
    summed: Floats


def arranged(torus: Torus, weights: Mapping[Shape, int], alive: Mapping[Shape, int], summed: Floats = EXACT) -> Arranged:
    """Arrange what is alive and weighs something: grids by y, then z, then x."""
    x, y, z = _three(torus.shape)
    boxes = sorted((_three(box)[::-1], weight, alive[box]) for box, weight in weights.items() if alive[box] and weight)
    if not boxes:
        return Arranged(torus, (), summed)
    grids = _bits(torus, [board for _, _, board in boxes]).reshape(len(boxes), z, y, x)
    planes: dict[int, dict[int, list[int]]] = {}
    for number, ((long, wide, _), *_rest) in enumerate(boxes):
        planes.setdefault(long, {}).setdefault(wide, []).append(number)

    def row(numbers: list[int]) -> _Row:
        """Put the grids of consecutive boxes beside each other along x, as floats."""
        beside = np.empty((y, z, len(numbers), x), summed)
        np.copyto(beside, grids[numbers[0] : numbers[-1] + 1].transpose(2, 1, 0, 3))
        return _Row(tuple((boxes[n][0][2], boxes[n][1]) for n in numbers), beside.reshape(y * z, -1))

    return Arranged(
        torus, tuple(_Plane(long, tuple(rows), tuple(map(row, rows.values()))) for long, rows in planes.items()), summed
    )


def losses(maps: Arranged, boxes: tuple[Shape, ...]) -> NDArray[np.float64 | np.float32]:
    """Give for each box, and for each place in the order of places, what the box takes from there, in `UNIT`: whole numbers if exact."""
    x, y, z = _three(maps.torus.shape)
    along_x, along_y, along_z = _rings(maps.torus)
    lengths, summed = [_three(box) for box in boxes], maps.summed
    deep = {length: number for number, length in enumerate(sorted({length for length, _, _ in lengths}))}
    longs = tuple(plane.long for plane in maps.planes)
    by_plane = np.empty((len(boxes), len(longs), z, y, x), summed)
    for at, plane in enumerate(maps.planes):
        across = np.empty((len(deep), len(plane.rows), y * z, x), summed)
        for length, number in deep.items():
            for place, row in enumerate(plane.rows):
                np.matmul(row.grids, _weighted(along_x, length, row.others, summed), out=across[number, place])
        for box, (length, wide, _) in enumerate(lengths):
            sums = _beside(along_y, wide, plane.wides, summed) @ across[deep[length]].reshape(-1, z * x)
            by_plane[box, at] = sums.reshape(y, z, x).transpose(1, 0, 2)
    total = np.zeros((len(boxes), z, y * x), summed)
    for box, (_, _, long) in enumerate(lengths if longs else ()):
        np.matmul(_beside(along_z, long, longs, summed), by_plane[box].reshape(-1, y * x), out=total[box])
    return total.reshape(len(boxes), -1)


@lru_cache(maxsize=4096)
def _weighted(
    axis: tuple[int, bool], length: int, others: tuple[tuple[int, int], ...], summed: Floats
) -> NDArray[np.float64 | np.float32]:
    """Give for a length the windows of others below each other, weighted."""
    return np.concatenate([weight * windows(axis, length, other) for other, weight in others]).astype(summed)


@lru_cache(maxsize=4096)
def _beside(axis: tuple[int, bool], length: int, others: tuple[int, ...], summed: Floats) -> NDArray[np.float64 | np.float32]:
    """Give for a length the windows of others beside each other, turned."""
    return np.ascontiguousarray(np.concatenate([windows(axis, length, other) for other in others]).T, summed)


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
