"""In which order domains are tried, and which of several takes the rest.

KEP-2724: BestFit tries the domain with the most slices first, LeastFreeCapacity that with the fewest; among equals fewer spare
pods, then the path. Where a leader needs a seat, domains that can seat it come first. A liked domain (preferred affinity) beats
room, never a leader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sliceward.scheduling.tree.counting import Count, Survey


@dataclass(frozen=True, slots=True)
class Direction:
    """``fills_holes``: least room first. ``by_liking``: liked domains first."""

    fills_holes: bool = False
    by_liking: bool = False

    @classmethod
    def of(cls, seen: Survey) -> Direction:
        """Give the direction that a survey's need and rules ask for."""
        return cls(seen.fills_holes, seen.rules.by_liking)


def rank(count: Count, direction: Direction) -> tuple[int, int, int]:
    """Give the sort key of a domain for pods without a leader."""
    liking = -count.liking if direction.by_liking else 0
    return liking, count.slices if direction.fills_holes else -count.slices, count.pods


def rank_led(count: Count, direction: Direction) -> tuple[int, int, int, int]:
    """Give the sort key of a domain where a leader needs a seat."""
    liking = -count.liking if direction.by_liking else 0
    return -count.leaders, liking, count.slices_led if direction.fills_holes else -count.slices_led, count.pods_led


def ordered(seen: Survey, domains: Iterable[int]) -> list[int]:
    """Sort domains for pods without a leader; the lower number is the lower path."""
    direction = Direction.of(seen)
    return sorted(domains, key=lambda number: (rank(seen.counts[number], direction), seen.tree.domains[number].path))


def ordered_led(seen: Survey, domains: Iterable[int]) -> list[int]:
    """Sort domains where a leader needs a seat."""
    direction = Direction.of(seen)
    return sorted(domains, key=lambda number: (rank_led(seen.counts[number], direction), seen.tree.domains[number].path))


@dataclass(frozen=True, slots=True)
class Measure:
    """In what is counted: slices of a size as surveyed, or (``from_pods``) what pods make up of that size."""

    size: int
    from_pods: bool

    def alone(self, count: Count) -> int:
        """How many fit without a leader."""
        return count.pods // self.size if self.from_pods else count.slices

    def led(self, count: Count) -> int:
        """How many fit beside a leader."""
        return count.pods_led // self.size if self.from_pods else count.slices_led

    def room(self, count: Count, leaders: int) -> int:
        """How many fit where so many leaders still need a seat."""
        return self.led(count) if leaders else self.alone(count)


def tightest(seen: Survey, domains: Sequence[int], rest: int, leaders: int, measure: Measure) -> int:
    """Give the first of the domains with the least room that still takes all the rest; where none does, the first.

    A liked domain is not given up for a tighter one: only those liked as much as the first are looked at.
    """
    first = domains[0]
    fitting = [
        number
        for number in (_liked_alike(seen, domains) if seen.rules.by_liking else domains)
        if seen.counts[number].leaders >= leaders and measure.room(seen.counts[number], leaders) >= rest
    ]
    return min(fitting, key=lambda number: measure.room(seen.counts[number], leaders), default=first)


def _liked_alike(seen: Survey, domains: Sequence[int]) -> Iterable[int]:
    for number in domains:
        if seen.counts[number].liking != seen.counts[domains[0]].liking:
            return
        yield number


def leader_first(seen: Survey, domains: Sequence[int], units: int, leaders: int, measure: Measure) -> list[int]:
    """Put a domain in front that can seat the leader and leaves room for all in the others; the order else stays.

    The counts above say that there is one; the first in the order need not be it.
    """
    if leaders and len(domains) > 1:
        spare = sum(measure.alone(seen.counts[number]) for number in domains) - units
        for place, number in enumerate(domains):
            count = seen.counts[number]
            if count.leaders >= leaders and measure.alone(count) - measure.led(count) <= spare:
                return [number, *domains[:place], *domains[place + 1 :]]
    return list(domains)
