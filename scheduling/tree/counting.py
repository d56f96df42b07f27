"""First phase: how many pods and slices fit in each domain, with and without a leader, from the leaves up.

KEP-2724, phase 1. A leader is one pod that takes room in one leaf; the counts "with leader" of a domain are those where the
leader costs least. Inner slices round what each child gives down to whole ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.amounts import Amounts, fit, minus
from sliceward.scheduling.tree.ask import Exclusions, Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.tree.assignment import Usage
    from sliceward.scheduling.tree.need import Need
    from sliceward.scheduling.tree.tree import LabelTree


@dataclass(frozen=True, slots=True)
class Count:
    """What fits in a domain. ``slices`` are counted at the slices' level and above, 0 below. ``liking``: sum over its hosts."""

    pods: int = 0
    slices: int = 0
    pods_led: int = 0
    slices_led: int = 0
    leaders: int = 0
    liking: int = 0


@dataclass(frozen=True, slots=True)
class Survey:
    """All that choosing looks at: the tree, what is needed, the count of each domain by its number, the rules."""

    tree: LabelTree
    need: Need
    rules: Rules
    counts: Sequence[Count]
    exclusions: Exclusions = field(default_factory=Exclusions)

    @property
    def fills_holes(self) -> bool:
        """Whether the domain with the least room comes first (LeastFreeCapacity), not that with the most (BestFit)."""
        return self.need.anywhere and self.rules.least_free


def survey(tree: LabelTree, need: Need, rules: Rules, used: Usage) -> Survey:
    """Count what fits in every domain beside what is ``used``."""
    counts = [Count()] * len(tree.domains)
    causes: dict[str, int] = {}
    alike: dict[tuple[tuple[str, int], ...], tuple[Count, str | None]] = {}
    for leaf in tree.by_level[-1]:
        barred = _barred(tree, leaf, need)
        if barred is None:
            taken = used.get(tree.values_of(leaf)) if used else None
            room = minus(tree.free[leaf], taken) if taken else tree.free[leaf]
            key = tuple(room.items())
            if key not in alike:
                alike[key] = _fitting(need, room, of_slices=need.slice_level == len(tree.levels) - 1)
            counts[leaf], barred = alike[key]
        if need.template.likings:
            counts[leaf] = replace(counts[leaf], liking=_liking(tree, leaf, need))
        if barred is not None:
            causes[barred] = causes.get(barred, 0) + 1
    for level in reversed(tree.by_level[:-1]):
        for number in level:
            counts[number] = rolled_up(tree, counts, number, need)
    return Survey(tree, need, rules, counts, Exclusions(len(tree.by_level[-1]), causes))


def _barred(tree: LabelTree, leaf: int, need: Need) -> str | None:
    """Name what keeps every pod out of a leaf, whatever is free there."""
    host = tree.hosts.get(leaf)
    why = need.template.why_not(host) if host is not None else None
    if why is None and need.inside is not None and not tree.lies_in(leaf, need.inside):
        return "outside the domain"
    return why


def _liking(tree: LabelTree, leaf: int, need: Need) -> int:
    """Give the weight of a leaf's host, also of one that cannot be used for want of room; none of one that bars the pods."""
    host = tree.hosts.get(leaf)
    return need.template.liking(host) if host is not None and need.template.why_not(host) is None else 0


def _fitting(need: Need, room: Amounts, *, of_slices: bool) -> tuple[Count, str | None]:
    """Count what goes into the room of one leaf, and name the scarcest resource where not one pod does."""
    alone = fit(need.request, room)
    leaders, led = 0, alone.times
    if need.leader is not None and fit(need.leader, room).times:
        leaders, led = 1, fit(need.request, minus(room, need.leader)).times
    size = need.size
    slices, slices_led = (alone.times // size, led // size) if of_slices else (0, 0)
    cause = None if alone.times else f"resource {alone.scarcest}"
    return Count(alone.times, slices, led, slices_led, leaders), cause


def rolled_up(tree: LabelTree, counts: Sequence[Count], number: int, need: Need) -> Count:
    """Give the count of a domain from those of its children; a leaf's is its own."""
    domain = tree.domains[number]
    if not domain.children:
        return counts[number]
    count = _from_children([counts[child] for child in domain.children], need.inner.get(domain.level + 1, 1), need)
    if domain.level == need.slice_level:
        return replace(count, slices=count.pods // need.size, slices_led=count.pods_led // need.size)
    return count


def _from_children(children: Sequence[Count], whole: int, need: Need) -> Count:
    """Add up children. The leader goes where it costs least; where it can go nowhere, nothing fits with it."""
    pods = sum(child.pods // whole * whole for child in children)
    slices = sum(child.slices for child in children)
    hosting = [child for child in children if child.leaders or not need.leaders]
    cost = min((child.pods // whole * whole - child.pods_led // whole * whole for child in hosting), default=pods)
    slices_cost = min((child.slices - child.slices_led for child in hosting), default=slices)
    return Count(
        pods=pods,
        slices=slices,
        pods_led=pods - cost,
        slices_led=slices - slices_cost,
        leaders=max((child.leaders for child in children), default=0),
        liking=sum(child.liking for child in children),
    )


def slices_below(seen: Survey, number: int, level: int, size: int) -> int:
    """Count the slices of a layer in a domain, each of its domains of the layer's level by itself."""
    domain = seen.tree.domains[number]
    if domain.level == level:
        return seen.counts[number].pods // size
    return sum(slices_below(seen, child, level, size) for child in domain.children)
