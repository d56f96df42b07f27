"""What a box covers, and which boxes a place touches: dilations of boards, the counterpart of the erosion in `anchors`."""

from __future__ import annotations

from itertools import permutations, product
from typing import TYPE_CHECKING

from sliceward.scheduling.torus.board import full_board, layers, stride_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Coordinate, Torus


def places_of(torus: Torus, box: Shape, at: Coordinate) -> Iterator[Coordinate]:
    """Give the places of a box row by row, x fastest, over the edges that wrap round."""
    spans = [[(first + n) % room for n in range(length)] for first, length, room in zip(at, box, torus.shape, strict=True)]
    for backwards in product(*reversed(spans)):
        yield backwards[::-1]


def turning(shape: Shape, lying: Shape) -> tuple[int, ...]:
    """Tell along which axis each axis of a shape lies, where it lies as ``lying``; the first way of several."""
    return next(
        order for order in permutations(range(len(shape))) if all(lying[axis] == n for axis, n in zip(order, shape, strict=True))
    )


def oriented(torus: Torus, box: Shape, at: Coordinate, order: tuple[int, ...]) -> Iterator[Coordinate]:
    """Give the places of a box row by row along its own axes, the first fastest; they lie along the axes ``order``."""
    spans = [[(at[axis] + n) % torus.shape[axis] for n in range(box[axis])] for axis in order]
    back = [order.index(axis) for axis in range(len(order))]
    for backwards in product(*reversed(spans)):
        own = backwards[::-1]
        yield tuple(own[axis] for axis in back)


def footprint(torus: Torus, box: Shape, at: Coordinate) -> int:
    """Give the board of the places of one box."""
    board = full_board(torus)
    for axis, (first, length, room) in enumerate(zip(at, box, torus.shape, strict=True)):
        end = first + length
        board &= layers(torus, axis, first, min(end, room)) | (layers(torus, axis, 0, end - room) if end > room else 0)
    return board


def covered(torus: Torus, box: Shape, anchors: int) -> int:
    """Give all places of the boxes at these anchors."""
    return _grown(torus, box, anchors, up=True)


def touching(torus: Torus, box: Shape, places: int) -> int:
    """Give all anchors from which a box would hold one of these places; not all of them are anchors where an edge does not wrap.

    Where a box goes round a whole ring, its anchor is the place at 0.
    """
    board = _grown(torus, box, places, up=False)
    for axis, length in enumerate(box):
        if torus.wrap[axis] and length == torus.shape[axis]:
            board &= layers(torus, axis, 0, 1)
    return board


def inside(torus: Torus, box: Shape) -> int:
    """Give all anchors from which a box lies within the torus, whatever is there."""
    board = full_board(torus)
    for axis, (length, room) in enumerate(zip(box, torus.shape, strict=True)):
        if length > room:
            return 0
        ring = torus.wrap[axis]
        board &= layers(torus, axis, 0, 1 if length == room else room if ring else room - length + 1)
    return board


def _grown(torus: Torus, box: Shape, board: int, *, up: bool) -> int:
    """Join a board with itself moved by every step from 0 to below the lengths, doubling what is joined."""
    for axis, length in enumerate(box):
        have = 1
        while have < length:
            step = min(have, length - have)
            board |= _moved(torus, axis, board, step if up else -step)
            have += step
    return board


def _moved(torus: Torus, axis: int, board: int, steps: int) -> int:
    """Move every place along an axis; what goes over an edge comes back where it wraps, and is gone where not."""
    room, stride, far = torus.shape[axis], stride_of(torus, axis), abs(steps)
    if far >= room:
        return board if torus.wrap[axis] and far == room else 0
    near, beyond = room - far, far
    if steps > 0:
        moved = (board & layers(torus, axis, 0, near)) << far * stride
        return moved | board >> near * stride & layers(torus, axis, 0, beyond) if torus.wrap[axis] else moved
    moved = board >> far * stride & layers(torus, axis, 0, near)
    return moved | (board & layers(torus, axis, 0, beyond)) << near * stride if torus.wrap[axis] else moved
