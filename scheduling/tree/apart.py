"""Hosts that must not be in one slice together, because a condemned link joins them, and choices that keep them apart.

Whoever chooses is asked first as if any hosts could be together. Where both ends of a link come out, one or the other is left out,
the cheaper way first: what comes out first with no link inside is the cheapest of all. A link inside one host is one to itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import comb
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sliceward.topology.ids import HostId, LinkId

MOST_ASKED = 256
"""So often is asked; beyond that one end of every link is left out, and it is said by how much the choice may be dearer."""

MOST_COUNTED = 12
"""Of so many links the places without any are counted; of more, all places are."""

Pair = tuple[int, int]
"""The places of a link's two ends, the lower first; twice the same for a link inside a host."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Found(Generic[_T]):
    """A choice of ``places``. ``rank``: what it costs in thousandths, and what it is compared by then; ``slack``: see `Seat`."""

    rank: tuple[int, ...]
    places: tuple[int, ...]
    choice: _T
    slack: int = 0


def pairs_of(links: Iterable[LinkId], place_of: Mapping[HostId, int]) -> tuple[Pair, ...]:
    """Give the links that have both ends among some hosts."""
    ends = ([place_of.get(end.host_id) for end in link.ends] for link in links)
    found = {(min(one, other), max(one, other)) for one, other in ends if one is not None and other is not None}
    return tuple(sorted(found))


def clash(places: Collection[int], pairs: Sequence[Pair]) -> Pair | None:
    """Give the first link inside some places."""
    inside = set(places) if pairs else set()
    return next((pair for pair in pairs if inside.issuperset(pair)), None)


def cheapest_apart(ask: Callable[[frozenset[int]], Found[_T] | None], pairs: Sequence[Pair]) -> Found[_T] | None:
    """Give the cheapest choice with no link inside, its places sorted; None where there is none.

    ``ask``: gives the cheapest without some places.
    """
    first = ask(frozenset())
    if first is None or not pairs:
        return first
    numbers, seen, slack = count(), {frozenset[int]()}, first.slack
    heap = [(first.rank, first.places, next(numbers), frozenset[int](), first)]
    while heap and len(seen) <= MOST_ASKED:
        _, places, _, without, found = heappop(heap)
        link = clash(places, pairs)
        if link is None:
            return _with(found, slack)
        for less in {without | {end} for end in link} - seen:
            seen.add(less)
            other = ask(less)
            if other is not None:
                slack = max(slack, other.slack)
                heappush(heap, (other.rank, other.places, next(numbers), less, other))
    if not heap:
        return None
    least, without = heap[0][0][0], heap[0][3]
    some = ask(without | _one_end_of_each(pairs, without))
    return _with(some, slack + some.rank[0] - least) if some is not None else None


def ways_apart(places: Collection[int], size: int, pairs: Sequence[Pair]) -> int:
    """Count the sets of so many places with no link inside; of many links never too few."""
    within = [pair for pair in pairs if pair[0] in places and pair[1] in places]
    if not within or len(within) > MOST_COUNTED or size < 1:
        return comb(len(places), max(0, size)) if size >= 0 else 0
    most = _of_most(within)
    others = [place for place in places if place != most]
    beside = {end for pair in within if most in pair for end in pair}
    with_it = 0 if (most, most) in within else ways_apart([place for place in others if place not in beside], size - 1, within)
    return with_it + ways_apart(others, size, within)


def _with(found: Found[_T], slack: int) -> Found[_T]:
    return Found(found.rank, found.places, found.choice, slack)


def _one_end_of_each(pairs: Sequence[Pair], without: frozenset[int]) -> frozenset[int]:
    """Give places without which no link is whole: those of most links first."""
    left, gone = [pair for pair in pairs if not without.intersection(pair)], set[int]()
    while left:
        gone.add(_of_most(left))
        left = [pair for pair in left if gone.isdisjoint(pair)]
    return frozenset(gone)


def _of_most(pairs: Sequence[Pair]) -> int:
    """Give the place of most links; of equals the lowest."""
    ends = Counter(end for pair in pairs for end in set(pair))
    return min(ends, key=lambda end: (-ends[end], end))
