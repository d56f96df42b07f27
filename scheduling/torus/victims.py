"""Whom to displace for a box: for every anchor the price of all that sit in it, each paid once; exactly, for all at once.

A gang is in the way of the anchors whose box touches one of its hosts: a dilation of its board. The prices of the gangs in the way,
summed over all boards in one product, are the cost of each anchor: there is nothing to be searched, and so no gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.cover import in_thousandths
from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.footprint import footprint, touching
from sliceward.scheduling.torus.losses import as_grids, set_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    torus: Torus, boxes: Sequence[Shape], free: int, between: Mapping[int, int], sitting: Sequence[Sitting]
) -> Clearing | None:
    """Give the box whose clearing costs least; of equals the fewest who go, then the first box, then the lowest place.

    ``free``: hosts that can be used as they are. Whoever is not ``sitting`` is never displaced. None where no clearing is enough.
    """
    once_free = free
    for one in sitting:
        once_free |= one.board
    each = len(sitting) + 1
    prices = np.array([in_thousandths(one.price) * each + 1 for one in sitting], np.float64)
    best: tuple[float, Shape, int] | None = None
    for box, board in anchors(torus, frozenset(boxes), once_free, between).items() if boxes else ():
        if not board:
            continue
        numbers = set_numbers(torus, board)
        costs = (
            prices @ as_grids(torus, [touching(torus, box, one.board) for one in sitting]) if sitting else np.zeros(torus.size)
        )
        least = int(costs[numbers].argmin())
        rank = (float(costs[numbers[least]]), box, int(numbers[least]))
        if best is None or (rank[0], boxes.index(box), rank[2]) < (best[0], boxes.index(best[1]), best[2]):
            best = rank
    if best is None:
        return None
    _, box, number = best
    room = footprint(torus, box, torus.coordinate(number))
    return Clearing(box, number, tuple(n for n, one in enumerate(sitting) if one.board & room))
