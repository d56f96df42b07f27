"""Why a slice finds no place in a block: what cannot be used, by cause, and the fewest hosts that would change it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sliceward.scheduling.cubes.nest import seats_of
from sliceward.scheduling.ground import Shortage
from sliceward.scheduling.occupancy import Cause, Grade

if TYPE_CHECKING:
    from sliceward.scheduling.cubes.room import Room
    from sliceward.scheduling.cubes.stock import Stock
    from sliceward.scheduling.ground import Want
    from sliceward.topology.ids import HostId


def shortage(stock: Stock, want: Want) -> Shortage:
    """Count the hosts that cannot be used, and find the cubes or the box that lack fewest.

    A cube that Google's word or a missing host rules out counts against it with all of its hosts and helps nobody.
    """
    causes: Counter[Cause] = Counter()
    for room in stock.rooms:
        for host in room.hosts:
            reason = stock.occupancy.why_not(host, want.worst)
            if reason is not None:
                causes[reason[0]] += 1
            elif room.said:
                causes[Cause.SICK] += 1
    free = len(stock.hosts) - causes.total()
    return Shortage(dict(sorted(causes.items())), _nearest(stock, want), free)


def _nearest(stock: Stock, want: Want) -> tuple[HostId, ...]:
    count = stock.cubes_of(want)
    if count:
        lacking = sorted(
            (len(hosts), number, hosts) for number in range(len(stock.rooms)) for hosts in _lacking(stock, number, 0, want)
        )
        chosen = lacking[:count] if len(lacking) >= count else []
        return tuple(host for _, _, hosts in chosen for host in hosts)
    levels = ((number, stock.level_of(room, want)) for number, room in enumerate(stock.rooms))
    found = ((len(hosts), number, hosts) for number, level in levels if level for hosts in _lacking(stock, number, level, want))
    return min(found, default=(0, 0, ()))[2]


def _lacking(stock: Stock, number: int, level: int, want: Want) -> list[tuple[HostId, ...]]:
    """Give, for each box of a level that stands in a cube, the hosts that it lacks; those at a condemned link count as lacking."""
    room, now = stock.rooms[number], stock.now[number]
    seats = now.free | (now.poor if want.worst is Grade.DEGRADED else 0)
    found = []
    for first in seats_of(_standing(room, level, want)):
        box = ((1 << room.nest.runs[level]) - 1) << first
        torn = now.torn[level] >> first & 1 and not want.broken_links
        found.append(room.hosts_in(box if torn else box & ~seats))
    return found


def _standing(room: Room, level: int, want: Want) -> int:
    return room.sound[level] | (room.shaky[level] if want.worst is Grade.DEGRADED else 0)
