"""Second phase, upwards: the level and the domains that hold everything.

KEP-2724, phase 2a. At the level asked for one domain is looked for: the tightest that holds all. *Preferred* climbs where there
is none; at the top, and for *unconstrained*, several are taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from sliceward.scheduling.tree.ask import Failure, LayerFit, LayersDoNotFit, NoDomains, TooLittleRoom
from sliceward.scheduling.tree.counting import Survey, slices_below
from sliceward.scheduling.tree.order import Measure, leader_first, ordered, ordered_led, tightest


@dataclass(frozen=True, slots=True)
class Chosen:
    """Domains of one level that together hold everything."""

    level: int
    domains: tuple[int, ...]


def choose(seen: Survey) -> Chosen | Failure:
    """Give the level and the domains in which everything fits, or say how much does."""
    for level in range(seen.need.level, -1, -1):
        if not seen.tree.by_level[level]:
            return NoDomains(seen.tree.levels[level])
        queue = ordered_led(seen, seen.tree.by_level[level])
        one = _one(seen, queue)
        if one is not None:
            return Chosen(level, (one,))
        if seen.need.required:
            return _too_little(seen, level, seen.counts[queue[0]].slices)
        if level == 0 or seen.need.anywhere:
            several = _several(seen, queue)
            return Chosen(level, several) if isinstance(several, tuple) else _too_little(seen, level, several)
    raise AssertionError  # pragma: no cover (the loop ends at level 0)


def _holds_all(seen: Survey, number: int) -> bool:
    count, need = seen.counts[number], seen.need
    room = count.slices if seen.fills_holes and not need.leaders else count.slices_led
    return room >= need.slices and count.leaders >= need.leaders


def _one(seen: Survey, queue: list[int]) -> int | None:
    """Give the one domain for everything: the first that holds it (LeastFreeCapacity), else the tightest."""
    holding = [place for place, number in enumerate(queue) if _holds_all(seen, number)]
    if not holding:
        return None
    if seen.fills_holes:
        return queue[holding[0]]
    if holding[0] and not (seen.need.required and seen.rules.by_liking):
        return None  # only a liked domain can come before one with more room; `preferred` stays with it and climbs
    return tightest(seen, queue[holding[0] :], seen.need.slices, seen.need.leaders, Measure(seen.need.size, from_pods=False))


def _several(seen: Survey, queue: list[int]) -> tuple[int, ...] | int:
    """Give domains for everything, the leader's first; or the number of slices (or leaders) that fit."""
    need, measure = seen.need, Measure(seen.need.size, from_pods=False)
    queue = leader_first(seen, queue, need.slices, need.leaders, measure)
    chosen: list[int] = []
    rest, leaders, place = need.slices, need.leaders, 0
    while leaders and place < len(queue) and seen.counts[queue[place]].leaders:
        number = queue[place]
        if not seen.fills_holes and seen.counts[number].slices_led >= rest:
            number = tightest(seen, queue[place:], rest, leaders, measure)
        chosen.append(number)
        leaders, rest, place = leaders - seen.counts[number].leaders, rest - seen.counts[number].slices_led, place + 1
    if leaders > 0:
        return need.leaders - leaders
    others = ordered(seen, queue[place:])
    for place, number in enumerate(others):
        if rest <= 0:
            break
        best = not seen.fills_holes and seen.counts[number].slices >= rest
        chosen.append(tightest(seen, others[place:], rest, 0, measure) if best else number)
        rest -= seen.counts[chosen[-1]].slices
    return tuple(chosen) if rest <= 0 else need.slices - rest


def _too_little(seen: Survey, level: int, fits: int) -> Failure:
    """Say how much fits: pods or slices, or where slices are nested, those of each layer in the best domain of the level."""
    need = seen.need
    if not need.inner:
        return TooLittleRoom(fits, need.slices, slices=need.size > 1, exclusions=seen.exclusions)
    best = min(seen.tree.by_level[level], key=lambda number: (-seen.counts[number].slices, number))
    layers = tuple(
        LayerFit(layer.level, slices_below(seen, best, seen.tree.levels.index(layer.level), layer.size), need.pods // layer.size)
        for layer in need.layers
    )
    return LayersDoNotFit(layers, seen.exclusions)
