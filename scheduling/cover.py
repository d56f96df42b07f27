"""The cheapest set of things that together are enough: a knapsack turned round, exact, by dynamic programming.

Costs are counted in whole thousandths, so that equal sets are equal and the answer is always the same one: of the cheapest sets
one of the fewest things, and of these the one that does without the last things named.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from math import gcd
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

THOUSANDTHS = 1000


def in_thousandths(cost: float) -> int:
    """Give a cost as a whole number of thousandths."""
    return round(cost * THOUSANDTHS)


@dataclass(frozen=True, slots=True)
class Cover:
    """Places of the things that are taken, rising, and what they cost in thousandths."""

    taken: tuple[int, ...]
    cost: int


def cheapest_cover(weights: Sequence[int], costs: Sequence[int], need: int) -> Cover | None:
    """Give the cheapest things whose weights add up to ``need`` or more; None where all together do not.

    ``costs`` in thousandths, none negative. Takes things x need steps (Martello and Toth, Knapsack Problems, 1990, chapter 2).
    """
    if need <= 0:
        return Cover((), 0)
    if sum(weights) < need:
        return None
    unit = gcd(*weights)
    weights, need = [weight // unit for weight in weights], -(-need // unit)
    count = len(weights) + 1
    beyond = (sum(costs) + 1) * count
    least = [0] + [beyond] * need
    rows = [least]
    for weight, cost in zip(weights, costs, strict=True):
        step = min(weight, need)
        with_it = map(add, [0] * step + least[: need + 1 - step], repeat(cost * count + 1))
        least = [0, *map(min, least[1:], [*with_it][1:])] if step else least
        rows.append(least)
    taken, left = [], need
    for place in range(len(weights) - 1, -1, -1):
        if rows[place + 1][left] != rows[place][left]:
            taken.append(place)
            left = max(0, left - weights[place])
    return Cover(tuple(reversed(taken)), sum(costs[place] for place in taken))
