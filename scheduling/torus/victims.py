"""Whom to displace for a box: for every anchor the price of all that sit in it, each paid once; exactly, for all at once.

A gang is in the way of the anchors whose box touches one of its hosts: a dilation of its board. The prices of the gangs in the way,
summed over all boards in one product, are the cost of each anchor: there is nothing to be searched, and so no gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.cover import in_thousandths
from sliceward.scheduling.torus.anchors import touched_by_each
from sliceward.scheduling.torus.footprint import footprint
from sliceward.scheduling.torus.losses import set_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Torus


@dataclass(frozen=True, slots=True)
class Sitting:
    """One who sits on some hosts, and what displacing costs, in chip-seconds."""

    board: int
    price: float


@dataclass(frozen=True, slots=True)
class Clearing:
    """The box that is cleared, from which place number, and who goes, by number."""

    box: Shape
    number: int
    goes: tuple[int, ...]


def cheapest_clearing(
    torus: Torus, placed: Callable[[int], Mapping[Shape, int]], free: int, sitting: Sequence[Sitting]
) -> Clearing | None:
    """Give the box whose clearing costs least; of equals the fewest who go, then the first box, then the lowest place.

    ``placed``: gives the anchors of each box on some hosts. ``free``: hosts that can be used as they are. Whoever is not ``sitting`` is
    never displaced. None where no clearing is enough.
    """
    once_free = free
    for one in sitting:
        once_free |= one.board
    each = len(sitting) + 1
    prices = np.array([in_thousandths(one.price) * each + 1 for one in sitting], np.float64)
    boards = [one.board for one in sitting]
    best: tuple[float, int, int, Shape] | None = None
    for order, (box, board) in enumerate(placed(once_free).items()):
        if not board:
            continue
        numbers = set_numbers(torus, board)
        costs = prices @ touched_by_each(torus, box, boards)[:, numbers].astype(np.float64) if boards else np.zeros(len(numbers))
        least = int(costs.argmin())
        rank = (float(costs[least]), order, int(numbers[least]), box)
        best = rank if best is None or rank < best else best
    if best is None:
        return None
    *_, number, box = best
    room = footprint(torus, box, torus.coordinate(number))
    return Clearing(box, number, tuple(n for n, one in enumerate(sitting) if one.board & room))
