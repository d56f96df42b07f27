"""Places for several slices at once: the largest first, each where it is cheapest, and back again where one then finds none.

Comes in: the grounds as one gang sees them, and what it wants. Goes out: a seat for every want, with a bound on how far from the
cheapest it is; or that there is none. One slice has the cheapest place of all. Of several, small cases are searched whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from heapq import heappop, heappush
from itertools import islice
from math import inf, prod
from typing import TYPE_CHECKING, assert_never, cast

from sliceward.scheduling.costs import Costs
from sliceward.scheduling.cubes.packing import NoPacking
from sliceward.scheduling.cubes.together import Together, seats_together
from sliceward.scheduling.ground import Bounded
from sliceward.scheduling.occupancy import Bar, Cause
from sliceward.scheduling.request import Over

if TYPE_CHECKING:
    from sliceward.scheduling.ground import Ground, GroundId, Seat, Terms, Want
    from sliceward.scheduling.request import SliceAsked
    from sliceward.topology.ids import GangId, HostId

Key = tuple[str, int]

MOST_WAYS = 256
"""So many combinations of places are looked at to find the cheapest; of more, the first found is taken and its gap stated."""

MOST_STEPS = 512
"""So many places are tried to find one at all; the search has steps of about 50 us, and a decision should take 10 ms."""

MOST_DEEP = 64
"""A gang of more slices is seated without going back: with switches, where gangs are that large, going back finds nothing."""


@dataclass(frozen=True)
class Domains:
    """Domains of which each slice must have one of its own (exclusive topology), and in which nobody else may sit."""

    of: Mapping[HostId, str]

    @cached_property
    def members(self) -> Mapping[str, frozenset[HostId]]:
        """The hosts of each."""
        found: dict[str, set[HostId]] = {}
        for host, value in self.of.items():
            found.setdefault(value, set()).add(host)
        return {value: frozenset(hosts) for value, hosts in found.items()}

    def only(self, seat: Seat) -> str | None:
        """Give the one domain that a seat lies in; None where it lies in several or outside of all."""
        values = {self.of.get(host) for host in seat.hosts}
        return values.pop() if len(values) == 1 else None


@dataclass(frozen=True)
class Room:
    """The grounds as one gang sees them: its own hosts are free, what it must avoid is closed.

    ``views``: grounds in the order of their names, once for each set of hosts that suits some role; ``view_of``: which a role has.
    ``used``: how many of the gang's slices sit in each ground.
    """

    gang: GangId
    views: tuple[Mapping[GroundId, Ground], ...]
    view_of: Mapping[str, int]
    domains: Domains | None = None
    used: Mapping[GroundId, int] = field(default_factory=dict)

    def grounds(self, asked: SliceAsked) -> Mapping[GroundId, Ground]:
        """Give what a slice may be placed on."""
        return self.views[self.view_of[asked.role]]

    def taken(self, seat: Seat) -> Room:
        """Let a slice of the gang sit down."""
        views = tuple({**view, seat.ground: _taken(view[seat.ground], seat, self.gang)} for view in self.views)
        return replace(self, views=views, used={**self.used, seat.ground: self.used.get(seat.ground, 0) + 1})

    def is_alone(self, seat: Seat) -> bool:
        """Whether a seat has a domain of its own, where it must have one."""
        if self.domains is None:
            return True
        value = self.domains.only(seat)
        if value is None:
            return False
        holders = [ground.occupancy.holders for ground in self.views[0].values()]
        return not any(host in each for host in self.domains.members[value] for each in holders)

    def unshared(self, ground: Ground) -> Ground:
        """Close what lies in no domain, or in one in which somebody sits."""
        domains = self.domains
        if domains is None:
            return ground
        held = (host for each in self.views[0].values() for host in each.occupancy.holders)
        busy = {domains.of[host] for host in held if host in domains.of}
        bars = {host: _SHARED for host in ground.hosts if domains.of.get(host) is None or domains.of[host] in busy}
        return ground.changed(ground.occupancy.barred(bars), bars.keys())


_SHARED = Bar(Cause.RESERVED, "in a domain of others")


def _taken(ground: Ground, seat: Seat, gang: GangId) -> Ground:
    return ground.changed(ground.occupancy.taken(seat.hosts, gang), seat.hosts)


@dataclass(frozen=True, slots=True)
class Seating:
    """A seat for every slice, by role and index. ``gap`` as in `Plan`."""

    seats: Mapping[Key, Seat]
    gap: float | None


@dataclass(frozen=True, slots=True)
class Unseated:
    """There is none, ``surely``; or none was found in the time that a decision may take."""

    surely: bool


def seat_all(room: Room, asked: Sequence[SliceAsked], terms: Terms, over: Over) -> Seating | Unseated:
    """Give every slice a place that no other has, all of them as cheaply as can be."""
    search = _Search(terms, over)
    order = _order(room, asked)
    first = _seated(search, room, order)
    if isinstance(first, Unseated) or first.gap == 0:
        return first
    seats = [first.seats[each.key] for each in order]
    better = search.all_ways(room, order, seats)
    if better is not None:
        return Seating({each.key: seat for each, seat in zip(order, better, strict=True)}, 0.0)
    return first if first.gap is not None else replace(first, gap=search.gap(room, order, seats))


def seat_any(room: Room, asked: Sequence[SliceAsked], terms: Terms) -> Seating | Unseated:
    """Give every slice a place that no other has: the first that are found, for who only asks whether there are any."""
    if len(asked) == 1 and room.domains is None:
        return _first_of(room, asked[0])
    return _seated(_Search(terms, Over.CHEAPEST), room, _order(room, asked))


def _first_of(room: Room, asked: SliceAsked) -> Seating | Unseated:
    """Give one slice the first place that there is, whatever it costs: to price all of them takes a hundred times as long."""
    for ground in room.grounds(asked).values():
        seat = next(iter(ground.seats(asked.want)), None) if ground.room(asked.want) else None
        if seat is not None:
            return Seating({asked.key: seat}, None)
    return Unseated(surely=True)


def _order(room: Room, asked: Sequence[SliceAsked]) -> list[SliceAsked]:
    return sorted(asked, key=lambda each: (_choice(room, each), -each.want.chips))


def _seated(search: _Search, room: Room, order: Sequence[SliceAsked]) -> Seating | Unseated:
    """Give first places; their gap is None where nothing is known of it."""
    if len(order) > 1 and not _may_fit(room, order):
        return Unseated(surely=True)
    counted = _counted(room, order, search.terms, search.over)
    if isinstance(counted, Seating) or counted.surely:
        return counted
    seats = search.greedy(room, order)
    if seats is None and 1 < len(order) <= MOST_DEEP:
        seats = search.deep(room, order)
    if seats is None:
        return Unseated(surely=search.left > 0 and len(order) <= MOST_DEEP)
    gap = share_of(sum(seat.cost for seat in seats), search.loose) if len(order) <= 1 else None
    return Seating({each.key: seat for each, seat in zip(order, seats, strict=True)}, gap)


def share_of(cost: float, slack: float) -> float | None:
    """Give by what share something is dearer at most than the cheapest, which is at most ``slack`` cheaper; None: nobody knows."""
    if slack <= 0:
        return 0.0
    return slack / (cost - slack) if cost > slack else None


def _counted(room: Room, order: Sequence[SliceAsked], terms: Terms, over: Over) -> Seating | Unseated:
    """Count slices of whole cubes out over blocks, where they are all that is asked for and any cubes will do for them."""
    if len(order) <= 1 or len(room.views) > 1 or room.domains is not None:
        return Unseated(surely=False)
    wants = [each.want for each in order]
    found = seats_together(room.views[0], Together(room.gang, wants, over, room.used), terms)
    if isinstance(found, NoPacking):
        return Unseated(found.surely)
    seats, gap = found
    return Seating({each.key: seat for each, seat in zip(order, seats, strict=True)}, gap if gap < inf else None)


def best_in(room: Room, ground: Ground, want: Want, terms: Terms) -> Seat | None:
    """Give the cheapest place of a ground, in a domain of its own where it must have one."""
    seat = ground.best(want, terms)
    if seat is None or room.domains is None or room.is_alone(seat):
        return seat
    ground = room.unshared(ground)
    seat = ground.best(want, terms)
    return seat if seat is None or room.is_alone(seat) else _in_one_domain(room.domains, ground, want, terms)


def _in_one_domain(domains: Domains, ground: Ground, want: Want, terms: Terms) -> Seat | None:
    """Look into each domain by itself that is large enough."""
    chips = Counter[str]()
    for host, count in ground.hosts.items():
        if host in domains.of:
            chips[domains.of[host]] += count
    found = []
    for value in sorted(value for value, count in chips.items() if count >= want.chips):
        bars = dict.fromkeys((host for host in ground.hosts if domains.of.get(host) != value), _SHARED)
        seat = ground.changed(ground.occupancy.barred(bars), bars.keys()).best(want, terms)
        if seat is not None:
            found.append(seat)
    return min(found, key=lambda seat: seat.cost, default=None)


_Score = tuple[int, float]


@dataclass(slots=True)
class _Search:
    """One search. ``left``: places that may still be tried. What a ground answered is kept while the ground is the same one.

    ``loose``: how much dearer than the cheapest what a ground answered may be at most.
    """

    terms: Terms
    over: Over
    left: int = MOST_STEPS
    known: dict[tuple[int, Want, Costs], tuple[Ground, Seat | None]] = field(default_factory=dict)
    loose: float = 0.0

    def greedy(self, room: Room, order: Sequence[SliceAsked]) -> list[Seat] | None:
        """Seat one after the other, each in the place that is best now."""
        found: list[Seat] = []
        for number in range(len(order)):
            seat = next(self._best_of_each(room, order[number:]), None)
            if seat is None:
                return None
            found.append(seat)
            room = room.taken(seat) if number + 1 < len(order) else room
        return found

    def deep(self, room: Room, order: Sequence[SliceAsked]) -> list[Seat] | None:
        """Go back where one finds no place: first with the best place of each ground, then with every place."""
        found = self._deeper(room, order, self._best_of_each)
        return found if found is not None else self._deeper(room, order, self._every)

    def all_ways(self, room: Room, order: Sequence[SliceAsked], seats: list[Seat]) -> list[Seat] | None:
        """Give the cheapest of all combinations of places; None where they are too many."""
        ways = prod(sum(ground.seats(asked.want).count for ground in room.grounds(asked).values()) for asked in order)
        if ways > MOST_WAYS:
            return None
        best = (self._score(room, seats), seats)
        for found in self._ways(room, order):
            score = self._score(room, found)
            if score < best[0]:
                best = (score, found)
        return best[1]

    def gap(self, room: Room, order: Sequence[SliceAsked], seats: Sequence[Seat]) -> float | None:
        """Bound how much dearer than the cheapest a seating is, as a share; None where nothing is known.

        Each slice costs at least its cheapest place would if places were free; and all of them destroy at least what one does.
        """
        places = Costs(
            **dict.fromkeys((item.name for item in fields(Costs)), 0.0)
            | {"anchor": self.terms.costs.anchor, "back": self.terms.costs.back, "soon": self.terms.costs.soon}
        )
        beside = replace(self.terms.costs, anchor=0.0, spare=0.0)  # the first slice in a spare pays for all of it
        least = sum(self._least(room, asked, beside) for asked in order) + max(self._least(room, a, places) for a in order)
        cost = sum(seat.cost for seat in seats)
        if cost <= least:
            return 0.0
        return cost / least - 1 if least else None

    def _best_of_each(self, room: Room, order: Sequence[SliceAsked]) -> Iterator[Seat]:
        """Give the best place of each ground for the first slice, that of the ground to be preferred first."""
        asked = order[0]
        grounds = room.grounds(asked)
        if self.over is Over.CHEAPEST and room.domains is None:
            return self._cheapest_first(room, asked)
        seats = [self._best(room, ground, asked.want, self.terms) for ground in grounds.values()]
        alike = sum(each.want == asked.want for each in order)

        def preference(seat: Seat) -> tuple[float, float, float]:
            match self.over:
                case Over.CHEAPEST:
                    return 0, 0, seat.cost
                case Over.SPREAD:
                    return room.used.get(seat.ground, 0), 0, seat.cost
                case Over.PACKED:
                    return seat.ground not in room.used, -min(alike, grounds[seat.ground].room(asked.want)), seat.cost
                case _:
                    assert_never(self.over)

        return iter(sorted((seat for seat in seats if seat is not None), key=preference))

    def _cheapest_first(self, room: Room, asked: SliceAsked) -> Iterator[Seat]:
        """Give the best place of each ground, cheapest first; a ground is looked into once it may have the next."""
        grounds = room.grounds(asked).values()
        bounds = sorted((_floor(ground, asked.want, self.terms), number, ground) for number, ground in enumerate(grounds))
        found: list[tuple[float, int, Seat]] = []
        for floor, number, ground in bounds:
            while found and found[0][0] < floor:
                yield heappop(found)[2]
            seat = self._best(room, ground, asked.want, self.terms) if floor < inf else None
            if seat is not None:
                heappush(found, (seat.cost, number, seat))
        while found:
            yield heappop(found)[2]

    def _every(self, room: Room, order: Sequence[SliceAsked]) -> Iterator[Seat]:
        """Give every place for the first slice."""
        for ground in room.grounds(order[0]).values():
            yield from filter(room.is_alone, islice(ground.seats(order[0].want), MOST_STEPS))

    def _deeper(self, room: Room, order: Sequence[SliceAsked], ways: _Ways) -> list[Seat] | None:
        if not order:
            return []
        for seat in ways(room, order):
            if self.left <= 0:
                return None
            self.left -= 1
            after = room.taken(seat)
            rest = self._deeper(after, order[1:], ways) if _may_fit(after, order[1:]) else None
            if rest is not None:
                priced = room.grounds(order[0])[seat.ground].priced(seat, order[0].want, self.terms)
                return [priced, *rest]
        return None

    def _ways(self, room: Room, order: Sequence[SliceAsked]) -> Iterator[list[Seat]]:
        if not order:
            yield []
            return
        for seat in self._every(room, order):
            priced = room.grounds(order[0])[seat.ground].priced(seat, order[0].want, self.terms)
            yield from ([priced, *rest] for rest in self._ways(room.taken(seat), order[1:]))

    def _score(self, room: Room, seats: Sequence[Seat]) -> _Score:
        """Say how good a seating is, lower being better: over blocks as asked first, then the cost."""
        blocks = Counter(room.used) + Counter(seat.ground for seat in seats)
        cost = round(sum(seat.cost for seat in seats), 6)
        match self.over:
            case Over.CHEAPEST:
                return 0, cost
            case Over.SPREAD:
                return sum(count * count for count in blocks.values()), cost
            case Over.PACKED:
                return len(blocks), cost
            case _:
                assert_never(self.over)

    def _least(self, room: Room, asked: SliceAsked, costs: Costs) -> float:
        terms = replace(self.terms, costs=costs)
        seats = (self._best(room, ground, asked.want, terms) for ground in room.grounds(asked).values())
        return min((seat.cost - seat.slack for seat in seats if seat is not None), default=0.0)

    def _best(self, room: Room, ground: Ground, want: Want, terms: Terms) -> Seat | None:
        key = id(ground), want, terms.costs
        if room.domains is None and key in self.known:
            return self.known[key][1]
        seat = ground.best(want, terms) if room.domains is None else best_in(room, ground, want, terms)
        if room.domains is None:
            self.known[key] = ground, seat
        self.loose = max(self.loose, seat.slack if seat is not None else 0.0)
        return seat


_Ways = Callable[[Room, Sequence["SliceAsked"]], Iterator["Seat"]]


def _floor(ground: Ground, want: Want, terms: Terms) -> float:
    return cast("Bounded", ground).floor(want, terms) if _is_bounded(type(ground)) else 0.0


@cache
def _is_bounded(kind: type) -> bool:
    """Whether a kind of ground knows bounds; asked once, because to look for the methods of a protocol takes as long as they do."""
    return issubclass(kind, Bounded)


def _may_fit(room: Room, asked: Sequence[SliceAsked]) -> bool:
    """Whether the wants that are the same, each kind by itself, find enough room."""
    counts = Counter((room.view_of[each.role], each.want) for each in asked)
    return all(count <= sum(g.room(want) for g in room.views[view].values()) for (view, want), count in counts.items())


def _choice(room: Room, asked: SliceAsked) -> int:
    """Rank roles by how many hosts are closed to them: who has least choice comes first."""
    if len(room.views) == 1:
        return 0
    return -sum(len(ground.occupancy.bars) for ground in room.grounds(asked).values())
