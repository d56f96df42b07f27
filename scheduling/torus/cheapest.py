"""The cheapest of all places: what each destroys for expected requests and what its hosts add, for all places of a box at once.

Amounts that are summed over the hosts of a box are whole numbers, so that equal places cost exactly the same and the lowest of them
is taken, on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.torus.footprint import touching
from sliceward.scheduling.torus.losses import UNIT, as_grids, box_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Torus


@dataclass(frozen=True, slots=True)
class Burdens:
    """What hosts and links add to the price of a place.

    ``each``: whole amounts by place, summed over a box, and chip-seconds for one. ``once``: boards of hosts with chip-seconds, added
    once to a box that holds any of them. ``degraded``: the board of hosts whose box limps, and chip-seconds for that.
    """

    each: tuple[tuple[NDArray[np.float64], float], ...] = ()
    once: tuple[tuple[int, float], ...] = ()
    degraded: tuple[int, float] = (0, 0.0)

    def of(self, torus: Torus, box: Shape, broken: int) -> NDArray[np.float64] | None:
        """Give what a box from each place adds; ``broken``: anchors with a condemned link inside. None: nothing, wherever it is."""
        boards = [(touching(torus, box, board), price) for board, price in self.once]
        limps = broken | touching(torus, box, self.degraded[0])
        if limps:
            boards.append((limps, self.degraded[1]))
        if not boards and not self.each:
            return None
        total = np.zeros(torus.size)
        for amounts, price in self.each:
            total += box_sums(torus, amounts, box) * price
        for board, price in boards:
            total += as_grids(torus, [board])[0] * price
        return total


@dataclass(frozen=True, slots=True)
class Place:
    """A box of hosts by the number of its anchor, and what it costs in chip-seconds."""

    cost: float
    box: Shape
    number: int


def cheapest(
    torus: Torus,
    fits: Mapping[Shape, int],
    places: Callable[[Shape], NDArray[np.float64]],
    more: Callable[[Shape], NDArray[np.float64] | None],
) -> Place | None:
    """Give the cheapest anchor of some boxes; of equals that of the first box, then the lowest; None where none fits.

    ``fits``: the anchors of each box. ``places``: for a box what it destroys from each place, ``more``: what its hosts add; both in
    chip-seconds.
    """
    best: Place | None = None
    for box, board in fits.items():
        if board:
            numbers = set_numbers(torus, board)
            added = more(box)
            costs = places(box)[numbers] + (0.0 if added is None else added[numbers])
            least = int(costs.argmin())
            if best is None or costs[least] < best.cost:
                best = Place(float(costs[least]), box, int(numbers[least]))
    return best


def set_numbers(torus: Torus, board: int) -> NDArray[np.intp]:
    """Give the numbers of the places that are set, rising."""
    raw = np.frombuffer(board.to_bytes((torus.size + 7) // 8, "little"), np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little"))


def in_chip_seconds(losses: NDArray[np.float64], anchor: float) -> NDArray[np.float64]:
    """Give losses in `UNIT` as what they cost where one expected place costs ``anchor``."""
    return losses * (anchor / UNIT)
