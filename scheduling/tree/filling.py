"""Second phase, downwards: give each chosen domain its share, then its children theirs, with the fewest domains at each level.

KEP-2724, phase 2b. Down to the level of the slices all chosen domains' children are one pool; below it each domain's share is
dealt to its own children, so that no slice is torn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.order import Measure, leader_first, ordered, tightest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.tree.counting import Survey


@dataclass(frozen=True, slots=True)
class Share:
    """So many pods, and leaders, for one domain."""

    domain: int
    pods: int
    leaders: int


def fill(seen: Survey, domains: Sequence[int], pods: int, leaders: int, measure: Measure) -> tuple[Share, ...] | None:
    """Deal pods to domains in their order: each takes what it can, the last is the tightest for the rest (BestFit).

    None: they do not all fit (a survey that says they do is wrong, and a part of a gang is not placed).
    """
    rest, leaders_left = pods // measure.size, leaders
    queue = leader_first(seen, domains, rest, leaders, measure)
    shares = []
    for place, number in enumerate(queue):
        takes_all = measure.room(seen.counts[number], leaders_left) >= rest and seen.counts[number].leaders >= leaders_left
        best = takes_all and not seen.fills_holes
        domain = tightest(seen, queue[place:], rest, leaders_left, measure) if best else number
        units = min(measure.room(seen.counts[domain], leaders_left), rest)
        seated = min(seen.counts[domain].leaders, leaders_left)
        shares.append(Share(domain, units * measure.size, seated))
        rest, leaders_left = rest - units, leaders_left - seated
        if not rest and not leaders_left:
            return tuple(shares)
    return None


def top_shares(seen: Survey, domains: Sequence[int]) -> tuple[Share, ...] | None:
    """Deal everything to the chosen domains."""
    return fill(seen, domains, seen.need.pods, seen.need.leaders, Measure(seen.need.size, from_pods=False))


def pooled_down(seen: Survey, level: int, shares: Sequence[Share]) -> tuple[Share, ...] | None:
    """Go from a level down to that of the slices: the children of all chosen domains are one pool."""
    for _ in range(level, min(len(seen.tree.levels) - 1, seen.need.slice_level)):
        pool = ordered(seen, seen.tree.below(share.domain for share in shares))
        dealt = top_shares(seen, pool)
        if dealt is None:
            return None
        shares = dealt
    return tuple(shares)


def dealt_down(seen: Survey, level: int, shares: Sequence[Share]) -> tuple[Share, ...] | None:
    """Go from a level down to the leaves: each domain's share goes to its own children."""
    for below in range(level + 1, len(seen.tree.levels)):
        measure = _measure(seen, below)
        dealt: list[Share] = []
        for share in shares:
            children = ordered(seen, seen.tree.domains[share.domain].children)
            parts = fill(seen, children, share.pods, share.leaders, measure)
            if parts is None:
                return None
            dealt += parts
        shares = dealt
    return tuple(shares)


def _measure(seen: Survey, level: int) -> Measure:
    """Say in what shares are dealt at a level: surveyed slices down to theirs, inner slices below, else single pods."""
    if level <= seen.need.slice_level:
        return Measure(seen.need.size, from_pods=False)
    return Measure(seen.need.inner.get(level, 1), from_pods=True)
