"""A torus as a board of yes and no: one whole number, of which bit n tells about place number n (`Torus.index`).

Numbers of 9,216 bits are shifted and joined in a tenth of a microsecond, are values (a snapshot is never copied), and need
no library.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sliceward.topology.torus import Coordinate, Torus


def board_of(torus: Torus, places: Iterable[Coordinate]) -> int:
    """Give the board on which these places are set."""
    board = 0
    for place in places:
        board |= 1 << torus.index(place)
    return board


def places_on(torus: Torus, board: int) -> Iterator[Coordinate]:
    """Give the places that are set, lowest number first."""
    while board:
        lowest = board & -board
        yield torus.coordinate(lowest.bit_length() - 1)
        board ^= lowest


def full_board(torus: Torus) -> int:
    """Give the board of all places."""
    return (1 << torus.size) - 1


@cache
def layers(torus: Torus, axis: int, first: int, end: int) -> int:
    """Give the board of all places whose coordinate along ``axis`` is from ``first`` to below ``end``."""
    stride = stride_of(torus, axis)
    block = stride * torus.shape[axis]
    once = ((1 << (end - first) * stride) - 1) << first * stride
    return once * (full_board(torus) // ((1 << block) - 1))


def stride_of(torus: Torus, axis: int) -> int:
    """Give how far two neighbours along ``axis`` are from each other in the count of places."""
    return prod(torus.shape[:axis])
