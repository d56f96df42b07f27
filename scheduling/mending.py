"""New places for the hurt slices of a gang: piece by piece where they are, anew in their own pods, or in other ones.

Whole slices are not touched. Others are displaced only where nothing healthy is free for the hurt ones (`displacement`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sliceward.scheduling.candidates import Closed, Way
from sliceward.scheduling.displacement import cheapest_displacement
from sliceward.scheduling.occupancy import Bar, Cause, Grade
from sliceward.scheduling.plan import PlannedSlice, listed
from sliceward.scheduling.prices import Figure, Item, Line
from sliceward.scheduling.request import Over
from sliceward.scheduling.seating import Seating, seat_all
from sliceward.topology.generations import text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from sliceward.scheduling.case import Case
    from sliceward.scheduling.ground import GroundId, Seat
    from sliceward.scheduling.harm import Harm
    from sliceward.scheduling.seating import Key, Room
    from sliceward.topology.ids import GangId, HostId


@dataclass(frozen=True, slots=True)
class Fix:
    """New places for all hurt slices, what they cost beside the interruption, and who has to go for them. ``gap`` as in `Plan`."""

    way: Way
    slices: tuple[PlannedSlice, ...]
    lines: tuple[Line, ...]
    why: str
    victims: tuple[GangId, ...] = ()
    gap: float | None = 0.0

    @property
    def limps(self) -> bool:
        """Whether a part of a new place is degraded."""
        return any(each.item is Item.SLOWDOWN for each in self.lines)


def fixes(case: Case) -> Iterator[Fix | Closed]:
    """Give a swap, a re-stitch and a move, or why there is none.

    A move takes one slice at least to another pod; the others where they are cheapest.
    """
    yield swapped(case)
    own = frozenset(harm.ground for harm in case.harms)
    every = frozenset(ground for view in case.room.views for ground in view)
    anywhere = _anew(case, Way.MOVE, every)
    if isinstance(anywhere, Fix) and own.issuperset(planned.ground for planned in anywhere.slices):
        anew: Fix | Closed = replace(anywhere, way=Way.RESTITCH)
        anywhere = _anew(case, Way.MOVE, every - own)
    else:
        anew = _anew(case, Way.RESTITCH, own)
    if not any(isinstance(found, Fix) and not found.limps for found in (anew, anywhere)):
        yield _displacing(case)
    yield anew
    yield anywhere


def swapped(case: Case) -> Fix | Closed:
    """Keep of each hurt slice what is well, and replace the rest in its own pod."""
    room, held = case.room, case.as_it_is
    seats: dict[Key, Seat] = {}
    for harm in case.harms:
        asked = case.hurt[harm.key]
        if not harm.out:
            return Closed(Way.SWAP, f"{harm.faults[0].why}; no part of the slice is to blame")
        held = _left(held, harm) if len(case.harms) > 1 else room  # the others keep what is well of theirs
        seat = held.grounds(asked)[harm.ground].mended(asked.want, harm.held.hosts, harm.out, case.terms)
        if seat is None:
            slice_ = f"{harm.held.role or case.gang.id.name} {harm.held.index}"
            return Closed(Way.SWAP, f"nothing in {harm.ground} can take the place of what failed in {slice_}")
        priced = room.grounds(asked)[harm.ground].priced(seat, asked.want, case.terms)
        seats[harm.key] = replace(priced, slack=seat.slack)
        held = held.taken(seat)
        room = room.taken(seat) if len(case.harms) > 1 else room
    out = sorted(host.name for harm in case.harms for host in harm.out)
    fix = _fix(case, Way.SWAP, seats, f"replaces {listed(out)}, keeps the rest of its slices")
    sure = len(seats) == 1 and not any(seat.slack for seat in seats.values())
    return fix if sure else replace(fix, gap=None)  # one after the other, or not all ways looked at


def _left(room: Room, harm: Harm) -> Room:
    """Let a slice give its place back."""
    hosts = [host for host in harm.held.hosts if host in room.views[0][harm.ground].hosts]
    grounds = [view[harm.ground] for view in room.views]
    freed = [ground.changed(ground.occupancy.freed(hosts), hosts) for ground in grounds]
    return replace(room, views=tuple({**view, harm.ground: ground} for view, ground in zip(room.views, freed, strict=True)))


def old_lines(case: Case) -> tuple[Line, ...]:
    """Give what the present places of the hurt slices cost, beside that they are slow."""
    room, found = case.room, list[Line]()
    for harm in case.harms:
        asked = case.hurt[harm.key]
        ground = room.grounds(asked)[harm.ground]
        seat = ground.seat_of(asked.want, harm.held.hosts)
        if seat is not None:
            found += _lines(ground.priced(seat, asked.want, case.terms).price)
            room = room.taken(seat) if len(case.harms) > 1 else room
    return tuple(each for each in found if each.item is not Item.SLOWDOWN)


def _anew(case: Case, way: Way, among: Collection[GroundId]) -> Fix | Closed:
    """Place all hurt slices anew on some grounds."""
    asked = [*case.hurt.values()]
    room = _only(case.room, among)
    found = seat_all(room, asked, case.terms, Over.CHEAPEST)
    if isinstance(found, Seating):
        pods = sorted({seat.ground.name for seat in found.seats.values()})
        fix = _fix(case, way, found.seats, f"forms {len(asked)} of {len(case.gang.slices)} slices anew in {listed(pods)}")
        return replace(fix, gap=found.gap)
    shapes = listed(sorted({text_of(each.want.shape) for each in asked}))
    where = "its own pods" if way is Way.RESTITCH else "any other pod"
    return Closed(way, f"no room in {where} for {len(asked)} of {shapes}" + ("" if found.surely else " was found in time"))


def _displacing(case: Case) -> Fix | Closed:
    """Place the hurt slices where others are, who go for them: by their rights, the cheapest of them."""
    bar = Bar(Cause.HELD, f"held by {case.gang.id.name}")
    hosts = [host for held in case.whole for host in held.hosts]
    base = case.snapshot.without_gang(case.gang.id).with_bars(dict.fromkeys(hosts, bar))
    healthy = tuple(replace(each, want=replace(each.want, worst=Grade.HEALTHY)) for each in case.hurt.values())
    avoid = case.request.avoid | _domains_of(case, hosts)
    request = replace(case.request, slices=healthy, fewest=0, avoid=avoid)
    found = cheapest_displacement(base, request, case.past, case.requests, keeps=case.snapshot.chips_of(hosts))
    if found is None:
        return Closed(Way.MOVE, "no healthy room in any other pod, and nobody may be displaced for it")
    lines = [each for planned in found.plan.slices for each in _lines(planned.price)]
    for victim in found.victims:
        figure = Figure(victim.price, f"{victim.gang.name} {'moves' if victim.moved is not None else 'ends'}, {victim.right}")
        lines.append(Line(Item.DISPLACED, victim.price, (figure,), case.snapshot.sizes[victim.gang]))
    own = {harm.ground for harm in case.harms}
    inside = own.issuperset(planned.ground for planned in found.plan.slices)
    gangs = tuple(victim.gang for victim in found.victims)
    why = (
        f"forms {len(request.slices)} of {len(case.gang.slices)} slices anew; {listed([str(victim) for victim in found.victims])}"
    )
    return Fix(Way.RESTITCH if inside else Way.MOVE, found.plan.slices, tuple(lines), why, gangs, found.gap)


def _domains_of(case: Case, hosts: Iterable[HostId]) -> frozenset[HostId]:
    """Give all hosts of the domains that these lie in, where each slice must have one of its own."""
    domains = case.request.domains or {}
    taken = {domains[host] for host in hosts if host in domains}
    return frozenset(host for host, domain in domains.items() if domain in taken)


def _only(room: Room, among: Collection[GroundId]) -> Room:
    views = tuple({key: ground for key, ground in view.items() if key in among} for view in room.views)
    return replace(room, views=views)


def _fix(case: Case, way: Way, seats: Mapping[Key, Seat], why: str) -> Fix:
    planned, lines = [], list[Line]()
    for harm in case.harms:
        seat, shape = seats[harm.key], case.hurt[harm.key].want.shape
        planned.append(
            PlannedSlice(
                harm.held.role, harm.held.index, shape, seat.ground, seat.cubes, seat.hosts, stays=False, price=seat.price
            )
        )
        lines += _lines(seat.price)
    return Fix(way, tuple(planned), tuple(lines), why)


_SOURCES = {
    Item.PLACES: "expected requests",
    Item.RISK: "expected failures of its hosts",
    Item.MAINTENANCE: "announced maintenance",
    Item.SLOWDOWN: "assumed: a degraded part",
    Item.SPARES: "assumed: a spare",
    Item.SWITCHING: "assumed: an optical port",
}


def _lines(price: tuple[tuple[str, float], ...]) -> list[Line]:
    return [
        Line(item, amount, (Figure(amount, _SOURCES[item]),)) for item, amount in ((Item(name), amount) for name, amount in price)
    ]
