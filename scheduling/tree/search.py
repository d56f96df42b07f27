"""One search from need to places: count, balance or choose, then deal down to the leaves.

A part of what is asked is never given back: where the shares do not add up to all pods there is no place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.amounts import checked
from sliceward.scheduling.tree.ask import Ask, Failure, Rules, TooLittleRoom
from sliceward.scheduling.tree.assignment import Assignment, Seat, Usage
from sliceward.scheduling.tree.balanced import balance
from sliceward.scheduling.tree.choosing import Chosen, choose
from sliceward.scheduling.tree.counting import Survey, survey
from sliceward.scheduling.tree.filling import Share, dealt_down, pooled_down, top_shares
from sliceward.scheduling.tree.need import Need, need_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sliceward.scheduling.tree.tree import LabelTree


@dataclass(frozen=True, slots=True)
class Found:
    """Where workers and, if one was asked for, their leader go."""

    workers: Assignment
    leader: Assignment | None


@dataclass(frozen=True, slots=True)
class Terrain:
    """What a search goes over: the tree, what is used of it, the rules in force."""

    tree: LabelTree
    used: Usage
    rules: Rules

    @classmethod
    def of(cls, tree: LabelTree, used: Usage | None, rules: Rules | None) -> Terrain:
        """Fill in what was not said: nothing is used, and the rules are Kueue's own.

        Raises:
            Misconfigured: an amount in use is no whole number, or negative.
        """
        told = {values: checked(amounts, f"use of {' > '.join(values)}") for values, amounts in (used or {}).items()}
        return cls(tree, told, rules or Rules())


def search(terrain: Terrain, workers: Ask, leader: Ask | None = None, *, inside: int | None = None) -> Found | Failure:
    """Give a place for workers and the one pod of their leader, ``inside`` one domain if it is named; or say why there is none."""
    need = need_of(terrain.tree, workers, leader, inside=inside)
    if not isinstance(need, Need):
        return need
    seen = survey(terrain.tree, need, terrain.rules, terrain.used)
    shares = _evenly(seen)
    if shares is None:
        chosen = choose(seen)
        if not isinstance(chosen, Chosen):
            return chosen
        shares = _down(seen, chosen)
    if shares is None or not _whole(need, shares):
        return TooLittleRoom(0, need.slices, slices=need.size > 1, exclusions=seen.exclusions)
    leaders = _assignment(terrain.tree, ((share.domain, share.leaders) for share in shares))
    placed = _assignment(terrain.tree, ((share.domain, share.pods) for share in shares))
    return Found(placed, leaders if leader is not None else None)


def _evenly(seen: Survey) -> tuple[Share, ...] | None:
    """Give balanced shares of leaves; None where balance is not asked for or cannot be had."""
    if not seen.rules.balanced or seen.need.required or seen.need.anywhere:
        return None
    found = balance(seen)
    shares = dealt_down(found.seen, found.level, found.shares) if found is not None else None
    return shares if shares is not None and _whole(seen.need, shares) else None


def _down(seen: Survey, chosen: Chosen) -> tuple[Share, ...] | None:
    shares = top_shares(seen, chosen.domains)
    pooled = pooled_down(seen, chosen.level, shares) if shares is not None else None
    return dealt_down(seen, seen.need.slice_level, pooled) if pooled is not None else None


def _whole(need: Need, shares: Sequence[Share]) -> bool:
    return sum(share.pods for share in shares) == need.pods and sum(share.leaders for share in shares) == need.leaders


def _assignment(tree: LabelTree, pods: Iterable[tuple[int, int]]) -> Assignment:
    return Assignment(tree.written, tuple(Seat(tree.values_of(leaf), count) for leaf, count in sorted(pods) if count))
