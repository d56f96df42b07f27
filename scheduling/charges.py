"""The cheapest choice of things of which some bring charges that are paid once, however many of the things share them.

A search by bounds: each charge is paid or forbidden in turn, and where neither is said every thing pays at least its part of it.
What is found is the cheapest of all, or it is told by how much it may be dearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Answer = TypeVar("Answer")
Charges = frozenset[int]

MOST_LOOKED = 40_000
"""So many things are looked at in all, over all steps of a search: about 20 ms."""

FEWEST_STEPS = 16
"""So many steps are taken at least, however many things there are."""

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Relaxed(Generic[Answer]):
    """The cheapest choice where no charge is paid as a whole. ``part``: what its things pay of charges that are neither paid nor forbidden.

    ``cost``: all that it costs but charges. ``brings``: how many of its things bring each charge.
    """

    answer: Answer
    cost: float
    part: float
    brings: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Charged(Generic[Answer]):
    """A choice, what it costs with its charges, and by how much it may be dearer than the cheapest."""

    answer: Answer
    cost: float
    slack: float


def cheapest_charged(
    relaxed: Callable[[Charges, Charges], Relaxed[Answer] | None], prices: Mapping[int, float], things: int
) -> Charged[Answer] | None:
    """Give the cheapest choice; None where there is none. ``relaxed``: is told what is paid and what is forbidden."""
    none: Charges = frozenset()
    first = relaxed(none, none)
    if first is None:
        return None
    best, cost = first, _whole(first, prices)
    heap = [(first.cost + first.part, 0, none, none, first)]
    number, steps = 0, max(FEWEST_STEPS, MOST_LOOKED // max(1, things))
    while heap:
        bound, _, paid, forbidden, here = heappop(heap)
        if bound >= cost * (1 - _ROUNDING):
            break
        if number >= 2 * steps:
            return Charged(best.answer, cost, cost - bound)
        open_ = [each for each in here.brings if each not in paid]
        if not open_:
            continue
        charge = min(open_, key=lambda each: (here.brings[each], each))
        for ways in ((paid | {charge}, forbidden), (paid, forbidden | {charge})):
            number += 1
            there = relaxed(*ways)
            if there is None:
                continue
            whole = _whole(there, prices)
            if whole < cost:
                best, cost = there, whole
            heappush(heap, (there.cost + there.part + sum(prices[each] for each in sorted(ways[0])), number, *ways, there))
    return Charged(best.answer, cost, 0.0)


def _whole(found: Relaxed[Answer], prices: Mapping[int, float]) -> float:
    return found.cost + sum(prices[each] for each in sorted(found.brings))
