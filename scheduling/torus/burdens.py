"""What hosts and links add to the price of a place, for all places of a box at once.

Amounts that are summed over the hosts of a box are whole numbers, so that equal places cost exactly the same and the lowest of them
is taken, on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.torus.footprint import touching
from sliceward.scheduling.torus.losses import as_grids, box_sums

if TYPE_CHECKING:
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
