"""Balanced placement: the least share of a domain as large as can be, then few domains, little spare room, even children.

KEP-2724, "Balanced placement" (alpha in Kueue 0.19), for *preferred* alone. A threshold is the number of slices that each domain
one level below the one asked for gets at least. The siblings with the highest threshold win; what cannot reach it is pruned.
Where balance cannot be had, BestFit goes on as if it had not been asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.counting import Count, Survey, rolled_up
from sliceward.scheduling.tree.filling import Share
from sliceward.scheduling.tree.order import ordered, ordered_led

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Greedy:
    """How a plain search, most room first, would do: how many domains, and the room of the last with and without a leader."""

    domains: int
    last_led: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Siblings:
    """Domains of the level asked for that can be balanced, and the counts that are left after pruning."""

    threshold: int
    domains: tuple[int, ...]
    counts: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """Shares of domains of a level, and the survey from which they go on down."""

    seen: Survey
    level: int
    shares: tuple[Share, ...]


def balance(seen: Survey) -> Balance | None:
    """Give balanced shares; None where there are none."""
    best = best_siblings(seen)
    if best is None:
        return None
    pruned = replace(seen, counts=best.counts)
    pool, level = best.domains, seen.need.level
    if level < seen.need.slice_level:
        fewest = fewest_domains(pruned, pool, seen.need.slices, by_evenness=True)
        if fewest is None:
            return None
        pool, level = tuple(seen.tree.below(fewest)), level + 1
    placed = place_evenly(pruned, pool, seen.need.slices, best.threshold)
    if placed is None:
        return None
    return Balance(pruned, level, tuple(Share(number, count.pods, count.leaders) for number, count in placed.items()))


def best_siblings(seen: Survey) -> Siblings | None:
    """Give the siblings at the level asked for with the highest threshold; among equals, with the fewest domains in use."""
    tree, level = seen.tree, seen.need.level
    families = [tree.domains[parent].children for parent in tree.by_level[level - 1]] if level else [tree.by_level[0]]
    best: Siblings | None = None
    fewest = 0
    for family in families:
        found = _siblings(seen, family, at_least=best.threshold if best else 1)
        if found is None:
            continue
        siblings, used = found
        if best is None or siblings.threshold > best.threshold or used < fewest:
            best, fewest = siblings, used
    return best


def _siblings(seen: Survey, family: tuple[int, ...], *, at_least: int) -> tuple[Siblings, int] | None:
    """Give the family pruned to its threshold, and how many of it are used; None where it holds less than ``at_least``."""
    lower = seen.tree.below(family) if seen.need.level < seen.need.slice_level else family
    plain = greedy(seen, lower, seen.need.slices)
    if plain is None:
        return None
    threshold = _threshold(seen, plain)
    thresholds = [threshold]
    if plain.last is not None and seen.need.leaders:
        thresholds.append(min(threshold, seen.counts[plain.last].slices_led))  # room for the leader kept in the last one too
    for tried in dict.fromkeys(thresholds):
        if tried < at_least:
            return None
        counts = pruned(seen, family, tried)
        used = greedy(replace(seen, counts=counts), family, seen.need.slices)
        if used is not None:
            return Siblings(tried, family, counts), used.domains
    return None


def greedy(seen: Survey, domains: Iterable[int], slices: int) -> Greedy | None:
    """Take the domains with most room until everything fits, the leader's first; None where it does not fit."""
    leaders, rest, used = seen.need.leaders, slices, 0
    last: int | None = None
    last_led: int | None = None
    queue = ordered_led(seen, domains) if leaders else ordered(seen, domains)
    while leaders and used < len(queue) and seen.counts[queue[used]].leaders:
        last_led = queue[used]
        leaders, rest, used = leaders - seen.counts[last_led].leaders, rest - seen.counts[last_led].slices_led, used + 1
    if leaders > 0:
        return None
    for number in ordered(seen, queue[used:]):
        if rest <= 0 or not seen.counts[number].slices:
            break
        last = number
        rest, used = rest - seen.counts[number].slices, used + 1
    return Greedy(used, last_led, last) if rest <= 0 else None


def _threshold(seen: Survey, plain: Greedy) -> int:
    """Give the most slices that every domain of a balanced placement can get: an even part, or what the last one holds."""
    parts = [seen.need.slices // plain.domains] if plain.domains else [0]
    if plain.last_led is not None:
        parts.append(seen.counts[plain.last_led].slices_led)
    if plain.last is not None:
        parts.append(seen.counts[plain.last].slices)
    return min(parts)


def pruned(seen: Survey, family: Sequence[int], threshold: int) -> tuple[Count, ...]:
    """Give the counts without the domains, and children of domains, that cannot reach a threshold.

    One that reaches it, but not beside a leader, goes on without the leader.
    """
    counts = list(seen.counts)
    for number in seen.tree.below(family):
        _prune(seen, counts, number, threshold)
    for number in family:
        _roll_up_all(seen, counts, number)
        _prune(seen, counts, number, threshold)
    return tuple(counts)


def _prune(seen: Survey, counts: list[Count], number: int, threshold: int) -> None:
    count = counts[number]
    if count.slices < threshold:
        for below in _subtree(seen, number):
            counts[below] = Count(liking=counts[below].liking)
    elif seen.need.leaders and count.leaders and count.slices_led < threshold:
        for below in _subtree(seen, number):
            counts[below] = replace(counts[below], pods_led=0, slices_led=0, leaders=0)


def _roll_up_all(seen: Survey, counts: list[Count], number: int) -> None:
    for child in seen.tree.domains[number].children:
        _roll_up_all(seen, counts, child)
    counts[number] = rolled_up(seen.tree, counts, number, seen.need)


def _subtree(seen: Survey, number: int) -> Iterable[int]:
    yield number
    for child in seen.tree.domains[number].children:
        yield from _subtree(seen, child)


def fewest_domains(seen: Survey, domains: Iterable[int], slices: int, *, by_evenness: bool) -> tuple[int, ...] | None:
    """Give as few domains as a plain search takes that hold everything with the least room to spare; None: there are none.

    Exact over all sets of that size, by what each leaves to seat (leaders, pods). Among equals the first in the order wins: of
    paths, or ``by_evenness`` of most room first, then most evenly filled children.
    """
    candidates = list(domains)
    plain = greedy(seen, candidates, slices)
    if plain is None:
        return None
    candidates.sort(key=lambda number: seen.tree.domains[number].path)
    if by_evenness:
        candidates.sort(key=lambda number: _evenness(seen, number))
    sets: list[dict[tuple[int, int], tuple[int, ...]]] = [{} for _ in range(plain.domains + 1)]
    sets[0][seen.need.leaders, slices * seen.need.size] = ()
    for number in candidates:
        for size in range(plain.domains, 0, -1):
            for left, chosen in sorted(sets[size - 1].items()):
                for after in _after(seen.counts[number], left):
                    sets[size].setdefault(after, (*chosen, number))
    spare = max((pods for leaders, pods in sets[-1] if leaders == 0 and pods <= 0), default=None)
    return sets[-1][0, spare] if spare is not None else None


def _after(count: Count, left: tuple[int, int]) -> Iterable[tuple[int, int]]:
    """Give what is left to seat (leaders, pods) after a domain is taken, with the leader and without."""
    leaders, pods = left
    if leaders <= 0 and pods <= 0:
        return
    if leaders > 0 and count.leaders:
        yield leaders - count.leaders, pods - count.pods_led
    if count.slices:
        yield leaders, pods - count.pods


def _evenness(seen: Survey, number: int) -> tuple[int, int, float]:
    """Give the sort key: seats the leader, most room, then the highest entropy of its children's pods."""
    count = seen.counts[number]
    pods = sorted(seen.counts[child].pods for child in seen.tree.domains[number].children)
    total = sum(pods)
    entropy = sum(-part / total * log2(part / total) for part in pods if part)
    return -count.leaders, -count.slices_led, -entropy


def place_evenly(seen: Survey, domains: Iterable[int], slices: int, threshold: int) -> dict[int, Count] | None:
    """Give each of the fewest domains the threshold, and what is over to the first ones; None where that cannot be.

    The counts say what each gets: its pods and slices, and whether the leader.
    """
    fewest = fewest_domains(seen, domains, slices, by_evenness=False)
    if fewest is None or slices < len(fewest) * threshold:
        return None
    over, leaders = slices - len(fewest) * threshold, seen.need.leaders
    placed: dict[int, Count] = {}
    for number in ordered_led(seen, fewest):
        count, seated = seen.counts[number], min(leaders, 1)
        more = min((count.slices_led if seated else count.slices) - threshold, over) if seated or over > 0 else 0
        pods = (threshold + more) * seen.need.size
        placed[number] = Count(pods, threshold + more, pods - seated, threshold + more, seated, count.liking)
        over, leaders = over - more, leaders - seated
    return placed if over <= 0 and leaders <= 0 else None
