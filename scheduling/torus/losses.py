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
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sliceward.scheduling.torus.lattice import Lattice
    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Torus

UNIT = 2**24
"""One anchor of a shape that is all that is asked for. Six ways to lie x 100,000 places x 2^24 is exact in a float, in `SHADES`."""
SHADES = 256
"""What a place counts that is not free yet is a whole number of such parts of one that is free."""
ONE = 2**16
"""The amount of one who is in the way; each of its hosts has its part of that. Sums of as many as matter are exact in short floats."""
STEPS = 16
"""What a place counts is known in so many steps for each who is in the way; with more than `_MOST` of them it counts nothing."""
_MOST = 16


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

    def row(_long: int, _wide: int, boxes: Sequence[Shape]) -> NDArray[np.float64 | np.float32]:
        """Put grids beside each other along x, as floats."""
        beside = np.empty((y, z, len(boxes), x), summed)
        np.copyto(beside, _bits(torus, [alive[box] for box in boxes]).reshape(len(boxes), z, y, x).transpose(2, 1, 0, 3))
        return beside.reshape(y * z, -1)

    return _arranged(torus, {box: weight for box, weight in weights.items() if alive[box]}, row, summed)


def arranged_soon(torus: Torus, weights: Mapping[Shape, int], ways: Ways, soon: float, summed: Floats = EXACT) -> Arranged:
    """Arrange all places: one that is free counts 1, another ``soon``, and that halved for each who is in the way there."""
    x, y, z = _three(torus.shape)
    along_x, along_y, along_z = _rings(torus)
    worth = _worth(soon).astype(summed)
    flat = ways.amounts.reshape(z, y * x)
    deep: dict[int, NDArray[np.float32]] = {}

    def row(long: int, wide: int, boxes: Sequence[Shape]) -> NDArray[np.float64 | np.float32]:
        """Add up what is in the way in each box."""
        if long not in deep:
            deep[long] = np.ascontiguousarray((_spans(along_z, (long,)).T @ flat).reshape(z, y, x).transpose(1, 0, 2)).reshape(
                y, -1
            )
        across = (_spans(along_y, (wide,)).T @ deep[long]).reshape(y * z, x)
        sums = across @ _spans(along_x, tuple(_three(box)[0] for box in boxes))
        sums += ONE // STEPS - 1
        sums *= STEPS / ONE
        grids: NDArray[np.float64 | np.float32] = worth.take(sums.astype(np.intp), mode="clip")
        if ways.whole is not None:
            there = _bits(torus, [ways.whole[box] for box in boxes]).reshape(len(boxes), z, y, x).transpose(2, 1, 0, 3)
            grids *= there.reshape(y * z, -1)
        return grids

    return _arranged(torus, weights, row, summed)


@dataclass(frozen=True, slots=True)
class Ways:
    """``amounts``: by place what is in the way there (`in_the_way`). ``whole``: by box the anchors over no condemned link, if one is."""

    amounts: NDArray[np.float32]
    whole: Mapping[Shape, int] | None = None


def in_the_way(torus: Torus, sitting: Sequence[int], ill: int, ever: int) -> NDArray[np.float32]:
    """Give by place what is in the way there: of one of ``sitting`` its part by how many places it has, all of one that is ``ill``.

    Where ``ever`` is set it is more than enough.
    """
    once = _bits(torus, [ill, ever]).astype(SHORT)
    found: NDArray[np.float32] = once[0] * np.float32(ONE) + once[1] * np.float32(ONE * _MOST)
    if sitting:
        parts = np.array([max(1, ONE // board.bit_count()) for board in sitting], SHORT)
        found += parts @ _bits(torus, list(sitting)).astype(SHORT)
    return found


@lru_cache(maxsize=16)
def _worth(soon: float) -> NDArray[np.float64]:
    """Give what a place counts by the steps of what is in the way; nothing from so many on."""
    later = [round(SHADES * soon / 2 ** (step / STEPS)) / SHADES for step in range(1, STEPS * _MOST)]
    return np.array([1.0, *later, 0.0])


@lru_cache(maxsize=4096)
def _spans(axis: tuple[int, bool], lengths: tuple[int, ...]) -> NDArray[np.float32]:
    """Tell along one axis which places [n, ] boxes of these lengths hold that start at [, n], the boxes beside each other."""
    return np.concatenate([windows(axis, length, 1) for length in lengths], axis=1).astype(SHORT)


def _arranged(
    torus: Torus,
    weights: Mapping[Shape, int],
    row: Callable[[int, int, Sequence[Shape]], NDArray[np.float64 | np.float32]],
    summed: Floats,
) -> Arranged:
    """Arrange boxes that weigh something; ``row`` gives the grids of those equally long along y and z, beside each other along x."""
    planes: dict[int, dict[int, list[Shape]]] = {}
    for box in sorted((box for box, weight in weights.items() if weight), key=lambda box: _three(box)[::-1]):
        _, wide, long = _three(box)
        planes.setdefault(long, {}).setdefault(wide, []).append(box)
    found = []
    for long, rows in planes.items():
        there = tuple(
            _Row(tuple((_three(box)[0], weights[box]) for box in boxes), row(long, wide, boxes)) for wide, boxes in rows.items()
        )
        found.append(_Plane(long, tuple(rows), there))
    return Arranged(torus, tuple(found), summed)


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
    starts = np.arange(room)[:, None]
    if wraps and other == room:
        overlap = np.broadcast_to(starts == 0, (room, room))
    elif wraps:
        overlap = (ahead + other - 1) % room < length + other - 1
    else:
        overlap = (ahead > -other) & (ahead < length) & (starts <= room - other)
    found = overlap.astype(np.float64)
    found.flags.writeable = False
    return found


def _three(lengths: Shape) -> tuple[int, int, int]:
    x, y, *z = lengths
    return x, y, z[0] if z else 1


def _rings(torus: Torus) -> tuple[tuple[int, bool], tuple[int, bool], tuple[int, bool]]:
    x, y, *z = zip(torus.shape, torus.wrap, strict=True)
    return x, y, z[0] if z else (1, False)
