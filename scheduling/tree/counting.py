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
    from collections.abc import Mapping, Sequence

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
    for leaf in tree.by_level[-1]:
        room = minus(tree.free[leaf], used.get(tree.values_of(leaf), {}))
        counts[leaf], cause = _leaf(tree, leaf, need, room)
        if cause is not None:
            causes[cause] = causes.get(cause, 0) + 1
    for level in reversed(range(len(tree.levels))):
        for number in tree.by_level[level]:
            counts[number] = rolled_up(tree, counts, number, need)
    return Survey(tree, need, rules, counts, Exclusions(len(tree.by_level[-1]), causes))


def _leaf(tree: LabelTree, leaf: int, need: Need, room: Amounts) -> tuple[Count, str | None]:
    """Count one leaf, and name the cause that lets no pod in at all."""
    host = tree.hosts.get(leaf)
    cause = need.template.why_not(host) if host is not None else None
    if cause is not None:
        return Count(), cause
    liking = need.template.liking(host) if host is not None else 0
    if need.inside is not None and not tree.lies_in(leaf, need.inside):
        return Count(liking=liking), "outside the domain"
    alone = fit(need.request, room)
    led = room
    leaders = 0
    if need.leader is not None and fit(need.leader, room).times:
        leaders, led = 1, minus(room, need.leader)
    count = Count(pods=alone.times, pods_led=fit(need.request, led).times, leaders=leaders, liking=liking)
    return count, None if alone.times else f"resource {alone.scarcest}"


def rolled_up(tree: LabelTree, counts: Sequence[Count], number: int, need: Need) -> Count:
    """Give the count of a domain from those of its children; of a leaf, from its own pods."""
    domain = tree.domains[number]
    count = _from_children([counts[child] for child in domain.children], need.inner.get(domain.level + 1, 1), need)
    if not domain.children:
        count = replace(counts[number], slices=0, slices_led=0)
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


def by_values(seen: Survey) -> Mapping[tuple[str, ...], Count]:
    """Give the counts by the paths of their domains, for people and for tests."""
    return {domain.path: seen.counts[domain.number] for domain in seen.tree.domains}
