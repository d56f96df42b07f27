"""Which gangs have to go so that all slices of another find places: the cheapest set of them, or one with a stated gap.

For one slice every ground knows the cheapest victims. For several that is where the search begins; then sets are gone through by
what they cost, the cheapest first, until one makes room. Every set that did not is a bound from below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeVar

from sliceward.scheduling.cover import THOUSANDTHS, cheapest_cover, in_thousandths
from sliceward.scheduling.seating import Seating, seat_any
from sliceward.topology.ids import GangId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sliceward.scheduling.ground import GroundId, Terms, Victims
    from sliceward.scheduling.request import SliceAsked
    from sliceward.scheduling.seating import Room
    from sliceward.topology.ids import HostId

Prices = Mapping[GangId, float]

_Thing = TypeVar("_Thing")

MOST_SETS = 4_096
"""So many sets of gangs are looked at by their chips."""

MOST_SEATED = 32
"""So many sets are tried by seating the slices; each takes about a millisecond."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """Gangs whose going makes room. ``gap``: at most so much dearer than the cheapest set, as a share; None: not known."""

    gangs: tuple[GangId, ...]
    cost: float
    gap: float | None = 0.0


def clearing(room: Room, asked: Sequence[SliceAsked], prices: Prices, terms: Terms) -> Clearing | None:
    """Give the cheapest gangs whose going makes room for all slices; None where all that have a price together make none.

    Nothing is said of how the slices sit then: what is placed is placed on the room that they leave.
    """
    search = _Search(room, asked, prices, terms)
    if len(asked) == 1 and room.domains is None:
        return search.of_one(asked[0])
    first = search.first()
    return search.improved(first) if first is not None else None


def without(room: Room, gangs: Iterable[GangId]) -> Room:
    """Give the room as it is once gangs are gone."""
    held = held_by(room)
    return _emptied(room, [held[gang] for gang in gangs if gang in held])


def held_by(room: Room) -> Mapping[GangId, Mapping[GroundId, list[HostId]]]:
    """Give the hosts that each gang holds, ground by ground."""
    found: dict[GangId, dict[GroundId, list[HostId]]] = {}
    for key, ground in room.views[0].items():
        for host, gang in ground.occupancy.holders.items():
            found.setdefault(gang, {}).setdefault(key, []).append(host)
    return found


def _emptied(room: Room, held: Iterable[Mapping[GroundId, list[HostId]]]) -> Room:
    hosts: dict[GroundId, list[HostId]] = {}
    for each in held:
        for key, inside in each.items():
            hosts.setdefault(key, []).extend(inside)
    views = []
    for view in room.views:
        anew = {key: view[key].changed(view[key].occupancy.freed(inside), inside) for key, inside in hosts.items()}
        views.append({**view, **anew})
    return replace(room, views=tuple(views))


@dataclass(frozen=True)
class _Search:
    room: Room
    asked: Sequence[SliceAsked]
    prices: Prices
    terms: Terms

    def of_one(self, asked: SliceAsked) -> Clearing | None:
        """Give the cheapest of what each ground says for one slice."""
        found = self._victims(self.room, asked, self.prices)
        if not found:
            return None
        best = min(found, key=_preference)
        return Clearing(tuple(sorted(best.gangs)), best.cost, _gap(best.cost, _least_of(found)))

    def first(self) -> tuple[GangId, ...] | None:
        """Give some gangs whose going makes room, none of whom could stay: slice by slice, or else of all that have a price."""
        gangs = self._slice_by_slice() if self.room.domains is None else None
        if gangs is None or not self._makes_room(gangs):
            gangs = sorted(self.prices)
            found = seat_any(self._without(gangs), self.asked, self.terms)
            if not isinstance(found, Seating):
                return None
            near = self._in_the_way(found)
            gangs = near if self._makes_room(near) else gangs
        for gang in sorted(gangs, key=lambda each: (-self.prices[each], each)):
            rest = [each for each in gangs if each != gang]
            gangs = rest if self._makes_room(rest) else gangs
        return tuple(sorted(gangs))

    def improved(self, first: tuple[GangId, ...]) -> Clearing:
        """Go through cheaper sets, the cheapest first; the first that makes room is the cheapest of all."""
        cost, sure, tried = sum(self._costs[gang] for gang in first) / THOUSANDTHS, True, 0
        found = Clearing(first, cost)
        least = self._least()
        sets = sets_by_cost(self.prices) if least < cost else iter(())
        for looked, (paid, gangs) in enumerate(sets):
            if paid >= cost:
                break
            least = max(least, paid)
            if looked >= MOST_SETS or tried >= MOST_SEATED:
                return replace(found, gap=_gap(cost, least) if sure else None)
            if sum(self._chips.get(gang, 0) for gang in gangs) < self._missing:
                continue
            tried += 1
            seated = seat_any(self._without(gangs), self.asked, self.terms)
            if isinstance(seated, Seating):
                found = Clearing(tuple(sorted(gangs)), paid)
                break
            sure = sure and seated.surely
        return found if sure else replace(found, gap=None)

    def _slice_by_slice(self) -> list[GangId] | None:
        """Clear the place of one slice after the other, the largest first; who goes for one is gone for the next."""
        room, going = self.room, list[GangId]()
        for asked in sorted(self.asked, key=lambda each: -each.want.chips):
            left = {gang: price for gang, price in self.prices.items() if gang not in going}
            found = self._victims(room, asked, left)
            if not found:
                return None
            best = min(found, key=_preference)
            going += best.gangs
            room = without(room, best.gangs)
            room = room.taken(room.grounds(asked)[best.seat.ground].best(asked.want, self.terms) or best.seat)
        return going

    def _in_the_way(self, found: Seating) -> list[GangId]:
        """Give who holds the hosts of seats, and with domains of their own all who sit in those."""
        domains = self.room.domains
        hosts = {host for seat in found.seats.values() for host in seat.hosts}
        if domains is not None:
            hosts = {other for host in hosts for other in domains.members.get(domains.of.get(host, ""), ())}
        holders = (ground.occupancy.holders for ground in self.room.views[0].values())
        return sorted({gang for each in holders for host, gang in each.items() if host in hosts and gang in self.prices})

    def _victims(self, room: Room, asked: SliceAsked, prices: Prices) -> list[Victims]:
        grounds = room.grounds(asked).values()
        return [each for each in (ground.victims(asked.want, prices) for ground in grounds) if each is not None]

    def _makes_room(self, gangs: Sequence[GangId]) -> bool:
        return isinstance(seat_any(self._without(gangs), self.asked, self.terms), Seating)

    def _without(self, gangs: Iterable[GangId]) -> Room:
        return _emptied(self.room, (self._held[gang] for gang in gangs if gang in self._held))

    @cached_property
    def _held(self) -> Mapping[GangId, Mapping[GroundId, list[HostId]]]:
        return held_by(self.room)

    @cached_property
    def _costs(self) -> Mapping[GangId, int]:
        return {gang: in_thousandths(price) for gang, price in self.prices.items()}

    @cached_property
    def _chips(self) -> Mapping[GangId, int]:
        """The chips of these grounds that each gang holds."""
        chips = {key: ground.hosts for key, ground in self.room.views[0].items()}
        return {gang: sum(chips[key][host] for key in held for host in held[key]) for gang, held in self._held.items()}

    @cached_property
    def _missing(self) -> int:
        """The chips that are needed and not free, at least."""
        grounds = self.room.views[0].values()
        free = (chips for ground in grounds for host, chips in ground.hosts.items() if host not in ground.occupancy.holders)
        return sum(asked.want.chips for asked in self.asked) - sum(free)

    def _least(self) -> float:
        """Bound the cost from below: the chips that are missing have to come from somewhere, and each slice has a place."""
        gangs = sorted(gang for gang in self.prices if gang in self._chips)
        weights, costs = [self._chips[gang] for gang in gangs], [self._costs[gang] for gang in gangs]
        cover = cheapest_cover(weights, costs, self._missing)
        by_chips = cover.cost / THOUSANDTHS if cover is not None else 0.0
        wants = list({asked.want: asked for asked in self.asked}.values()) if self.room.domains is None else []
        found = [self._victims(self.room, asked, self.prices) for asked in wants]
        return max([by_chips, *(_least_of(victims) for victims in found if victims)])


def _preference(victims: Victims) -> tuple[float, int, tuple[GangId, ...]]:
    return victims.cost, len(victims.gangs), victims.gangs


def _least_of(found: Sequence[Victims]) -> float:
    return min(each.cost / (1 + each.gap) for each in found)


def sets_by_cost(prices: Mapping[_Thing, float]) -> Iterator[tuple[float, tuple[_Thing, ...]]]:
    """Give sets of gangs, or of other things, by what they cost, the cheapest first."""
    costs = {thing: in_thousandths(price) for thing, price in prices.items()}
    order = sorted(costs, key=lambda thing: (costs[thing], thing))
    heap: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while heap:
        cost, chosen = heappop(heap)
        yield cost / THOUSANDTHS, tuple(order[number] for number in chosen)
        more = chosen[-1] + 1 if chosen else 0
        if more < len(order):
            heappush(heap, (cost + costs[order[more]], (*chosen, more)))
            if chosen:
                heappush(heap, (cost - costs[order[more - 1]] + costs[order[more]], (*chosen[:-1], more)))


def _gap(cost: float, least: float) -> float | None:
    if cost <= least:
        return 0.0
    return cost / least - 1 if least else None
