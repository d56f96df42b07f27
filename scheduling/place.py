"""Where a gang goes: the cheapest of all places for all of its slices, or why there is none.

A gang is placed whole or not at all; an elastic one with as many slices as fit, from the fewest that it can do with. Slices that
are whole and usable where they sit stay there. The same snapshot and request give the same answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.scheduling.allowance import affordable
from sliceward.scheduling.ground import cluster_of
from sliceward.scheduling.occupancy import Bar, Cause, Grade
from sliceward.scheduling.plan import Plan, PlannedSlice
from sliceward.scheduling.refusal import refused
from sliceward.scheduling.remedy import Asking
from sliceward.scheduling.seating import Domains, Room, Seating, seat_all, seat_any
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.ground import Ground, GroundId, Seat, Terms, Want
    from sliceward.scheduling.occupancy import Occupancy
    from sliceward.scheduling.plan import NoFit
    from sliceward.scheduling.request import Request, SliceAsked
    from sliceward.scheduling.seating import Key
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import HostId

_AVOIDED = Bar(Cause.RESERVED, "to be avoided")


def place(snapshot: Snapshot, request: Request) -> Plan | NoFit:
    """Give a place for every slice, or say why there is none and what would help."""
    found = planned(snapshot, request)
    return found if found is not None else refused(snapshot, request, room_of(snapshot, request), Asking(planned, fits, room_of))


def place_cheapest(snapshot: Snapshot, requests: Sequence[Request]) -> Plan | NoFit:
    """Give the cheapest plan of several that would all do, such as of all shapes that a number of chips may have.

    Where none fits, why the first one does not. Of equal plans that of the earlier request is taken.
    """
    found = [plan for request in requests if (plan := planned(snapshot, request)) is not None]
    return min(found, key=lambda plan: plan.cost) if found else place(snapshot, requests[0])


def planned(snapshot: Snapshot, request: Request) -> Plan | None:
    """Give a place for every slice; None where there is none, or none was found in the time that a decision may take."""
    most = affordable(snapshot, request)
    if most < request.needed:
        return None
    room = room_of(snapshot, request)
    terms = snapshot.terms(request.generation, request.lasts)
    found = _with(room, snapshot, request, terms, most)
    if found is not None:
        return found
    low, high = request.needed, most  # the fewer slices, the easier: halve the range
    while low < high:
        middle = (low + high) // 2
        tried = _with(room, snapshot, request, terms, middle)
        found, low, high = (tried, middle + 1, high) if tried is not None else (found, low, middle)
    return found


def fits(snapshot: Snapshot, request: Request) -> bool | None:
    """Whether all slices that a gang cannot do without find places; None: in the time that a decision may take nobody can say."""
    if affordable(snapshot, request) < request.needed:
        return False
    asked, room = request.slices[: request.needed], room_of(snapshot, request)
    sitting = _sitting(room, snapshot, request, asked)
    terms = snapshot.terms(request.generation, request.lasts)
    found = seat_any(_beside(room, sitting), [each for each in asked if each.key not in sitting], terms)
    if isinstance(found, Seating):
        return True
    return False if found.surely else None


def room_of(snapshot: Snapshot, request: Request) -> Room:
    """Give the grounds of the gang's cluster and generation as the gang sees them."""
    own = snapshot.gangs.get(request.gang)
    freed = snapshot.without_gang(request.gang) if own is not None else snapshot
    mine = sorted(
        (
            key
            for key, each in freed.grounds.items()
            if each.generation == request.generation and cluster_of(key) == request.gang.cluster
        ),
        key=str,
    )
    opened = {key: _opened(freed.grounds[key], request) for key in mine}
    barred = dict.fromkeys(request.avoid, _AVOIDED)
    kinds: list[Mapping[HostId, str]] = []
    view_of: dict[str, int] = {}
    for role in dict.fromkeys(asked.role for asked in request.slices):
        unsuited = request.unsuited.get(role, {})
        if unsuited not in kinds:
            kinds.append(unsuited)
        view_of[role] = kinds.index(unsuited)
    views = []
    for kind in kinds:
        closed: dict[GroundId, dict[HostId, Bar]] = {}
        for host, bar in ({host: Bar(Cause.SHAPE, why) for host, why in kind.items()} | barred).items():
            if freed.ground_of.get(host) in opened:
                closed.setdefault(freed.ground_of[host], {})[host] = bar
        views.append({key: _closed(ground, closed.get(key, {})) for key, ground in opened.items()})
    return Room(request.gang, tuple(views), view_of, Domains(request.domains) if request.domains is not None else None)


def _opened(ground: Ground, request: Request) -> Ground:
    """Open what is promised to the gang."""
    own = [host for host, bar in ground.occupancy.bars.items() if bar.kept_for == request.gang]
    return ground.changed(ground.occupancy.opened(own), own) if own else ground


def _closed(ground: Ground, bars: Mapping[HostId, Bar]) -> Ground:
    return ground.changed(ground.occupancy.barred(bars), bars.keys()) if bars else ground


def _with(room: Room, snapshot: Snapshot, request: Request, terms: Terms, count: int) -> Plan | None:
    """Place the first so many slices. Those that sit well stay."""
    asked = request.slices[:count]
    sitting = _sitting(room, snapshot, request, asked)
    found = seat_all(_beside(room, sitting), [each for each in asked if each.key not in sitting], terms, request.over)
    return _plan(snapshot, request, asked, (sitting, found)) if isinstance(found, Seating) else None


def _beside(room: Room, sitting: Mapping[Key, Seat]) -> Room:
    """Let those that stay sit where they are."""
    for seat in sitting.values():
        room = room.taken(seat)
    return room


def _sitting(room: Room, snapshot: Snapshot, request: Request, asked: Sequence[SliceAsked]) -> dict[Key, Seat]:
    """Give the seats that slices have now and could be given anew.

    A gang that is placed starts again with new pods, which no host of unknown health takes: to leave it where it is, `repair` is asked.
    """
    running = snapshot.gangs.get(request.gang)
    held = {(each.role, each.index): each.hosts for each in running.slices} if running is not None else {}
    found: dict[Key, Seat] = {}
    for each in asked:
        hosts = held.get(each.key, ())
        ground = room.grounds(each).get(snapshot.ground_of[hosts[0]]) if hosts else None
        if ground is None or not all(
            host in ground.hosts and ground.occupancy.is_usable(host, each.want.worst) for host in hosts
        ):
            continue
        seat = ground.seat_of(each.want, hosts)
        if seat is not None and _is_torn(ground.occupancy, seat, each.want):
            continue
        if seat is not None and room.domains is not None:
            others = {room.domains.only(kept) for kept in found.values()}
            seat = seat if room.domains.only(seat) not in {None, *others} else None
        if seat is not None:
            found[each.key] = seat
    return found


def _is_torn(occupancy: Occupancy, seat: Seat, want: Want) -> bool:
    """Whether a condemned link lies inside a seat, or a lost switch joins its cubes, and the slice does not put up with it."""
    if want.broken_links:
        return False
    kind, hosts = GENERATIONS[want.generation], set(seat.hosts)
    if occupancy.switches and kind.is_whole_cubes(want.shape):
        return True
    return any(all(end.host_id in hosts for end in link.ends) for link in occupancy.links)


def _plan(snapshot: Snapshot, request: Request, asked: Sequence[SliceAsked], seated: tuple[Mapping[Key, Seat], Seating]) -> Plan:
    kept, found = seated
    running = snapshot.gangs.get(request.gang)
    held = {(each.role, each.index): set(each.hosts) for each in running.slices} if running is not None else {}
    slices, reasons = [], []
    for each in asked:
        seat = kept.get(each.key) or found.seats[each.key]
        stays = held.get(each.key) == set(seat.hosts)
        price = () if stays else seat.price
        slices.append(PlannedSlice(each.role, each.index, each.want.shape, seat.ground, seat.cubes, seat.hosts, stays, price))
        reasons.append(_reason(each, seat, request, stays=stays))
    left_out = tuple(each.key for each in request.slices[len(asked) :])
    return Plan(request.gang, snapshot.now, tuple(slices), tuple(reasons), left_out, found.gap)


def _reason(asked: SliceAsked, seat: Seat, request: Request, *, stays: bool) -> str:
    where = ", ".join(cube.name for cube in seat.cubes) or (seat.ground.name + (f" at {seat.at}" if seat.at else ""))
    name = f"{asked.role or request.gang.name} {asked.index}"
    grade = "" if seat.grade is Grade.HEALTHY else f" ({seat.grade})"
    if stays:
        return f"{name} stays in {where}{grade}"
    price = ", ".join(f"{item} {amount:,.0f}" for item, amount in seat.price)
    return f"{name} goes to {where}{grade}" + (f": {price} chip-seconds" if price else "")
