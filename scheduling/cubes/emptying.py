"""Who has to go so that a slice finds a place in a block, and the place that it then has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.scheduling.cubes.boxes import starts
from sliceward.scheduling.cubes.nest import seats_of
from sliceward.scheduling.cubes.victims import cheapest_victims
from sliceward.scheduling.ground import Victims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.cubes.room import Now
    from sliceward.scheduling.cubes.stock import Stock
    from sliceward.scheduling.ground import Want
    from sliceward.topology.ids import GangId


def victims_for_cubes(stock: Stock, want: Want, prices: Mapping[GangId, float]) -> Victims | None:
    """Give the cheapest gangs that hold the cubes that are missing; only cubes that would be usable if they were empty count."""
    count = stock.cubes_of(want)
    usable = stock.usable_numbers(want)
    crews: dict[int, tuple[GangId, ...]] = {}
    for number in range(len(stock.rooms)):
        now = stock.now[number]
        if now.holders and any(starts(stock.rooms[number], _emptied(now), 0, want)):
            crews[number] = tuple(gang for gang, _ in now.holders)
    cover = cheapest_victims(crews.values(), prices, count - len(usable))
    if cover is None:
        return None
    gone = set(cover.gangs)
    freed = [number for number, crew in crews.items() if gone.issuperset(crew)]
    return Victims(cover.gangs, cover.cost, stock.joined([*usable, *freed][:count], want), cover.gap)


def victims_for_box(stock: Stock, want: Want, prices: Mapping[GangId, float]) -> Victims | None:
    """Give the cheapest gangs that sit in one box, exactly: every box is looked at."""
    best: tuple[float, int, int, int, tuple[GangId, ...]] | None = None
    for number, (room, now) in enumerate(zip(stock.rooms, stock.now, strict=True)):
        level = stock.level_of(room, want)
        if not level:
            continue
        clean, limping = starts(room, _emptied(now), level, want)
        run = (1 << room.nest.runs[level]) - 1
        for first in seats_of(clean | limping):
            gangs = tuple(gang for gang, bits in now.holders if bits & run << first)
            if all(gang in prices for gang in gangs):
                cost = sum(prices[gang] for gang in gangs)
                if best is None or (cost, len(gangs)) < best[:2]:
                    best = cost, len(gangs), number, run << first, gangs
    return Victims(best[4], best[0], stock.boxed(best[2], best[3])) if best is not None else None


def _emptied(now: Now) -> Now:
    return now._replace(free=now.free | now.held, poor=now.poor | now.limping)
