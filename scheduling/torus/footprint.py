"""What a box covers, and which boxes a place touches: dilations of boards, the counterpart of `anchors`."""

from __future__ import annotations

from functools import cache
from itertools import permutations, product
from typing import TYPE_CHECKING

from sliceward.scheduling.torus.anchors import anchors as anchors_of
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


@cache
def turning(shape: Shape, lying: Shape) -> tuple[int, ...]:
    """Tell along which axis each axis of a shape lies, where it lies as ``lying``; the first way of several."""
    return next(
        order for order in permutations(range(len(shape))) if all(lying[axis] == n for axis, n in zip(order, shape, strict=True))
    )


def oriented(torus: Torus, box: Shape, at: Coordinate, order: tuple[int, ...]) -> list[int]:
    """Give the numbers of the places of a box row by row along its own axes, the first fastest; they lie along the axes ``order``."""
    numbers = [0]
    for axis in order:
        stride, room = stride_of(torus, axis), torus.shape[axis]
        numbers = [before + (at[axis] + n) % room * stride for n in range(box[axis]) for before in numbers]
    return numbers


def footprint(torus: Torus, box: Shape, at: Coordinate) -> int:
    """Give the board of the places of one box."""
    board = full_board(torus)
    for axis, (first, length, room) in enumerate(zip(at, box, torus.shape, strict=True)):
        end = first + length
        board &= layers(torus, axis, first, min(end, room)) | (layers(torus, axis, 0, end - room) if end > room else 0)
    return board


def covered(torus: Torus, box: Shape, anchors: int) -> int:
    """Give all places of the boxes at these anchors, which lie within the torus."""
    board = anchors
    for down, kept, up, over in _growth(torus, box):
        board |= (board & kept) << down | (board >> up & over if over else 0)
    return board


def touching(torus: Torus, box: Shape, places: int) -> int:
    """Give all anchors within the torus from which a box holds one of these places."""
    clear = anchors_of(torus, frozenset({box}), full_board(torus) & ~places, {})[box]
    return inside(torus, box) & ~clear


@cache
def inside(torus: Torus, box: Shape) -> int:
    """Give all anchors from which a box lies within the torus, whatever is there."""
    board = full_board(torus)
    for axis, (length, room) in enumerate(zip(box, torus.shape, strict=True)):
        if length > room:
            return 0
        ring = torus.wrap[axis]
        board &= layers(torus, axis, 0, 1 if length == room else room if ring else room - length + 1)
    return board


@cache
def within(torus: Torus, box: Shape, part: Shape) -> int:
    """Give all anchors from which a box lies inside one of the equal parts into which the torus is divided from its origin on."""
    board = full_board(torus)
    for axis, (length, edge, room) in enumerate(zip(box, part, torus.shape, strict=True)):
        starts = range(0, room if length <= edge else 0, edge)
        spans = (layers(torus, axis, start, min(start + edge, room) - length + 1) for start in starts if start + length <= room)
        board &= sum(spans)  # they share no place
    return board


@cache
def _growth(torus: Torus, box: Shape) -> tuple[tuple[int, int, int, int], ...]:
    """Give the steps that join a board with itself moved upwards by every step from 0 to below the lengths, doubling what is joined.

    Of each: how far what stays inside moves and which places that is, and how far what goes over an edge comes back and to where.
    """
    steps = []
    for axis, length in enumerate(box):
        room, stride, have = torus.shape[axis], stride_of(torus, axis), 1
        while have < length:
            step = min(have, length - have)
            over = layers(torus, axis, 0, step) if torus.wrap[axis] else 0
            steps.append((step * stride, layers(torus, axis, 0, room - step), (room - step) * stride, over))
            have += step
    return tuple(steps)
