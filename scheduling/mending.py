"""New places for the hurt slices of a gang: piece by piece where they are, anew in their own pods, or in other ones.

Whole slices are not touched. Others are displaced only where nothing is free for the hurt ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sliceward.scheduling.candidates import Closed, Way
from sliceward.scheduling.plan import PlannedSlice
from sliceward.scheduling.prices import Figure, Item, Line
from sliceward.scheduling.request import Over
from sliceward.scheduling.seating import Seating, seat_all
from sliceward.topology.generations import text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sliceward.scheduling.case import Case
    from sliceward.scheduling.ground import GroundId, Seat
    from sliceward.scheduling.seating import Key, Room
    from sliceward.topology.ids import GangId


@dataclass(frozen=True, slots=True)
class Fix:
    """New places for all hurt slices, what they cost beside the interruption, and who has to go for them."""

    way: Way
    slices: tuple[PlannedSlice, ...]
    lines: tuple[Line, ...]
    why: str
    victims: tuple[GangId, ...] = ()


def fixes(case: Case) -> Iterator[Fix | Closed]:
    """Give a swap, a re-stitch and a move, or why there is none.

    A move takes one slice at least to another pod; the others where they are cheapest.
    """
    yield swapped(case)
    own = frozenset(harm.ground for harm in case.harms)
    every = frozenset(ground for view in case.room.views for ground in view)
    yield _anew(case, Way.RESTITCH, own)
    anywhere = _anew(case, Way.MOVE, every)
    inside = isinstance(anywhere, Fix) and own.issuperset(planned.ground for planned in anywhere.slices)
    yield _anew(case, Way.MOVE, every - own) if inside else anywhere


def swapped(case: Case) -> Fix | Closed:
    """Keep of each hurt slice what is well, and replace the rest in its own pod."""
    room, seats = case.room, {}
    for harm in case.harms:
        asked = case.hurt[harm.key]
        if not harm.out:
            return Closed(Way.SWAP, f"{harm.faults[0].why}; no part of the slice is to blame")
        ground = room.grounds(asked)[harm.ground]
        seat = ground.mended(asked.want, harm.held.hosts, harm.out, case.terms)
        if seat is None:
            slice_ = f"{harm.held.role or case.gang.id.name} {harm.held.index}"
            return Closed(Way.SWAP, f"nothing in {harm.ground} can take the place of what failed in {slice_}")
        seats[harm.key] = seat
        room = room.taken(seat)
    out = sorted(host.name for harm in case.harms for host in harm.out)
    return _fix(case, Way.SWAP, seats, f"replaces {_some(out)}, keeps the rest of its slices")


def old_lines(case: Case) -> tuple[Line, ...]:
    """Give what the present places of the hurt slices cost, beside that they are slow."""
    room, found = case.room, list[Line]()
    for harm in case.harms:
        asked = case.hurt[harm.key]
        ground = room.grounds(asked)[harm.ground]
        seat = ground.seat_of(asked.want, harm.held.hosts)
        if seat is not None:
            found += _lines(ground.priced(seat, asked.want, case.terms).price)
            room = room.taken(seat)
    return tuple(each for each in found if each.item is not Item.SLOWDOWN)


def _anew(case: Case, way: Way, among: Collection[GroundId]) -> Fix | Closed:
    """Place all hurt slices anew on some grounds."""
    asked = [*case.hurt.values()]
    room = _only(case.room, among)
    found = seat_all(room, asked, case.terms, Over.CHEAPEST)
    if isinstance(found, Seating):
        pods = sorted({seat.ground.name for seat in found.seats.values()})
        return _fix(case, way, found.seats, f"forms {len(asked)} of {len(case.gang.slices)} slices anew in {_some(pods)}")
    shapes = _some(sorted({text_of(each.want.shape) for each in asked}))
    where = "its own pods" if way is Way.RESTITCH else "any other pod"
    return Closed(way, f"no room in {where} for {len(asked)} of {shapes}" + ("" if found.surely else " was found in time"))


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


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
