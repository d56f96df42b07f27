"""The cheapest cubes for one slice: each has a price of its own, and cubes that are serviced together share that cost.

Without shared windows the cheapest cubes are the first of a sorted list. With them it is a knapsack whose things come in groups:
a group costs once as soon as one of it is taken. Dynamic programming over groups, with one table of the least cost of so many
of one kind beside so many of the other, finds the least of all choices. Few groups that overlap are gone through, and many are
searched by bounds, which is exact or tells how far it may be from that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import accumulate, chain, combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sliceward.scheduling.charges import Charges, Relaxed, cheapest_charged

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from numpy.typing import NDArray

NOTHING: frozenset[Hashable] = frozenset()

_MOST_SUBSETS = 10
"""Events of overlapping sets of which all subsets are tried; past that, they are searched."""


class Candidate(NamedTuple):
    """A cube that could be taken: what it costs by itself, its number, and the events that it is stopped by."""

    price: float
    number: int
    events: frozenset[Hashable] = NOTHING


@dataclass(frozen=True, slots=True)
class Choice:
    """Numbers of the cubes that are taken, rising, and what they cost together, at most ``slack`` more than the cheapest."""

    numbers: tuple[int, ...]
    cost: float
    slack: float = 0.0

    @property
    def least(self) -> float:
        """What none costs less than."""
        return self.cost - self.slack


@dataclass(frozen=True, slots=True)
class Question:
    """``missed``: candidates that others will miss; ``rest``: those that nobody will. ``count``: how many are needed in all.

    ``once``: what each event costs, however many share it. ``beside``: what it costs that so many missed ones are taken.
    """

    missed: Sequence[Candidate]
    rest: Sequence[Candidate]
    count: int
    once: float
    beside: Callable[[int], float]

    def without(self, allowed: frozenset[Hashable]) -> Question:
        """Leave out who has other events than those allowed, which are paid for already; no event counts any more."""
        sides = ([c._replace(events=NOTHING) for c in side if c.events <= allowed] for side in (self.missed, self.rest))
        return Question(next(sides), next(sides), self.count, 0.0, self.beside)


def cheapest(asked: Question) -> Choice | None:
    """Give the candidates that cost least together; None where there are too few.

    Of equal choices that with most missed ones, and of equal cubes those of the lowest numbers.
    """
    if asked.once == 0 or not any(candidate.events for candidate in chain(asked.missed, asked.rest)):
        return _of_two_lists(sorted(asked.missed), sorted(asked.rest), asked.count, asked.beside)
    groups: dict[frozenset[Hashable], tuple[list[Candidate], list[Candidate]]] = {NOTHING: ([], [])}
    for side, candidates in enumerate((asked.missed, asked.rest)):
        for candidate in sorted(candidates):
            groups.setdefault(candidate.events, ([], []))[side].append(candidate)
    events = frozenset(chain.from_iterable(groups))
    if sum(map(len, groups)) == len(events):
        return _of_groups([(pair, len(group) * asked.once) for group, pair in groups.items()], asked.count, asked.beside)
    return _of_subsets(asked, events) if len(events) <= _MOST_SUBSETS else _of_many(asked, events)


def cheapest_of(found: Iterable[Choice | None]) -> Choice | None:
    """Give the cheapest of several, the first of equal ones; its slack is that of all of them together."""
    there = [each for each in found if each is not None]
    best = min(there, key=lambda choice: choice.cost, default=None)
    return replace(best, slack=best.cost - min(each.least for each in there)) if best is not None else None


def _of_many(asked: Question, events: frozenset[Hashable]) -> Choice | None:
    """Search the sets of events by bounds. Who has an event pays of it at least what is left if all that have it share it."""
    numbers = {event: number for number, event in enumerate(sorted(events, key=repr))}
    of = {each.number: each for each in chain(asked.missed, asked.rest)}
    brings = {each.number: frozenset(numbers[event] for event in each.events) for each in of.values()}
    sharing = Counter(chain.from_iterable(brings.values()))
    parts = {event: asked.once / min(asked.count, sharers) for event, sharers in sharing.items()}

    def relaxed(paid: Charges, forbidden: Charges) -> Relaxed[tuple[int, ...]] | None:
        part = {
            number: sum(parts[each] for each in sorted(mine - paid)) for number, mine in brings.items() if not mine & forbidden
        }
        missed, rest = (
            sorted(Candidate(each.price + part[each.number], each.number) for each in side if each.number in part)
            for side in (asked.missed, asked.rest)
        )
        found = _of_two_lists(missed, rest, asked.count, asked.beside)
        if found is None:
            return None
        shared = sum(part[number] for number in found.numbers)
        chosen = Counter(event for number in found.numbers for event in brings[number])
        return Relaxed(found.numbers, found.cost - shared, shared, chosen)

    found = cheapest_charged(relaxed, dict.fromkeys(numbers.values(), asked.once), len(of))
    return Choice(found.answer, found.cost, found.slack) if found is not None else None


def _of_subsets(asked: Question, events: frozenset[Hashable]) -> Choice | None:
    """Pay for each set of events in turn."""
    best: Choice | None = None
    ordered = sorted(events, key=repr)
    for paid in chain.from_iterable(combinations(ordered, size) for size in range(len(ordered) + 1)):
        found = cheapest(asked.without(frozenset(paid)))
        if found is not None and (best is None or found.cost + len(paid) * asked.once < best.cost):
            best = Choice(found.numbers, found.cost + len(paid) * asked.once)
    return best


def _of_two_lists(
    missed: Sequence[Candidate], rest: Sequence[Candidate], count: int, beside: Callable[[int], float]
) -> Choice | None:
    sums, others = _sums(missed, count), _sums(rest, count)
    best: tuple[float, int] | None = None
    for taken in range(min(count, len(missed)), max(0, count - len(rest)) - 1, -1):
        cost = sums[taken] + others[count - taken] + beside(taken)
        if best is None or cost < best[0]:
            best = cost, taken
    if best is None:
        return None
    return Choice(_numbers([*missed[: best[1]], *rest[: count - best[1]]]), best[0])


def _of_groups(
    groups: Sequence[tuple[tuple[list[Candidate], list[Candidate]], float]], count: int, beside: Callable[[int], float]
) -> Choice | None:
    most = min(count, sum(len(rest) for (_, rest), _ in groups))
    least: NDArray[np.float64] = np.full((count + 1, most + 1), np.inf)
    least[0, 0] = 0.0
    steps: list[NDArray[np.int32]] = []
    for (missed, rest), once in groups:
        least, how = _with_group(least, (_sums(missed, count), _sums(rest, most)), once)
        steps.append(how)
    ends = [(float(least[count - n, n]) + beside(count - n), n) for n in range(most + 1) if np.isfinite(least[count - n, n])]
    if not ends:
        return None
    cost, other = min(ends)
    one, chosen = count - other, list[Candidate]()
    for ((missed, rest), _), how in zip(reversed(groups), reversed(steps), strict=True):
        a, b = divmod(int(how[one, other]), most + 1)
        chosen += [*missed[:a], *rest[:b]]
        one, other = one - a, other - b
    return Choice(_numbers(chosen), cost)


def _with_group(
    before: NDArray[np.float64], sums: tuple[list[float], list[float]], once: float
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Give the least costs with one group more, and how many missed and other ones of it each takes, as one number."""
    least, how = before.copy(), np.zeros(before.shape, np.int32)
    rows, columns = before.shape
    for a, one in enumerate(sums[0]):
        for b, other in enumerate(sums[1]):
            if a or b:
                offered = before[: rows - a, : columns - b] + (one + other + once)
                better = offered < least[a:, b:]
                np.copyto(least[a:, b:], offered, where=better)
                how[a:, b:][better] = a * columns + b
    return least, how


def _sums(candidates: Sequence[Candidate], most: int) -> list[float]:
    return list(accumulate((candidate.price for candidate in candidates[:most]), initial=0.0))


def _numbers(candidates: Iterable[Candidate]) -> tuple[int, ...]:
    return tuple(sorted(candidate.number for candidate in candidates))
