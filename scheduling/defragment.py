"""Which moves of running gangs are worth their price: room is made for requests that are expected and find none.

Comes in: a snapshot, and the requests of those gangs that may be moved at all. Goes out: groups of moves, each of which brings at
least `Costs.floor` chip-seconds for each chip-second that it costs. Nobody else is touched, no gang comes to a place where more is
to be feared than where it was, no shape that has a place loses its last. Every group adds to one sum, the worth of the free room
less what is to be feared of the places held, so that no series of groups leads back, and what is done is never undone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.ground import Want
from sliceward.scheduling.harm import Seen, harms_of
from sliceward.scheduling.moving import moved, reseated
from sliceward.scheduling.occupancy import Bar, Cause
from sliceward.scheduling.place import planned, room_of
from sliceward.scheduling.prices import Bill, lost_steps, pace_of, stop_and_start
from sliceward.scheduling.worth import worth_of
from sliceward.topology.generations import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from sliceward.scheduling.plan import PlannedSlice
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import GangId, HostId

MOST_GROUPS = 16
"""So many groups are found at once; what is left over is found the next time."""

_CLEARED = Bar(Cause.RESERVED, "to be cleared")


@dataclass(frozen=True, slots=True)
class Move:
    """One gang stops, and starts anew with these slices in new places; the rest of it stays."""

    gang: GangId
    slices: tuple[PlannedSlice, ...]
    bill: Bill


@dataclass(frozen=True, slots=True)
class Group:
    """Moves that belong together, in the order in which each finds its place free. ``gain`` and ``cost`` in chip-seconds."""

    moves: tuple[Move, ...]
    gain: float
    cost: float
    why: str


@dataclass(frozen=True, slots=True)
class Tidying:
    """The groups, each after the ones before it, and the fleet once all are done. Empty where nothing is worth its price."""

    at: datetime
    groups: tuple[Group, ...]
    after: Snapshot


def defragment(snapshot: Snapshot, movable: Mapping[GangId, Request]) -> Tidying:
    """Give the moves that are worth their price; gangs without a request are not moved.

    Who was displaced or moved within `Costs.rest` is left alone. The same input gives the same moves.
    """
    at_rest = {gang: request for gang, request in sorted(movable.items()) if _may_move(snapshot, gang)}
    groups: list[Group] = []
    after = snapshot
    while len(groups) < MOST_GROUPS:
        found = max(_offers(after, at_rest), key=lambda offer: offer[0].gain - offer[0].cost, default=None)
        if found is None:
            break
        groups.append(found[0])
        after = found[1]
    return Tidying(snapshot.now, tuple(groups), after)


def _may_move(snapshot: Snapshot, gang: GangId) -> bool:
    running = snapshot.gangs.get(gang)
    if running is None or not running.slices or harms_of(snapshot, running, Seen()):
        return False  # who is hurt is repaired
    return all((snapshot.now - time).total_seconds() >= snapshot.costs.rest for time in running.displaced)


_Offer = tuple[Group, "Snapshot"]


def _offers(snapshot: Snapshot, movable: Mapping[GangId, Request]) -> Iterator[_Offer]:
    """Give the groups that are worth their price, each with the fleet once it is done."""
    for generation in sorted({request.generation for request in movable.values()}):
        mine = {gang: request for gang, request in movable.items() if request.generation == generation}
        for moves, after, why in (*_clearings(snapshot, mine, generation), *_betterments(snapshot, mine)):
            group = _weighed(snapshot, (moves, after), generation, why)
            if group is not None:
                yield group, after


def _weighed(snapshot: Snapshot, change: tuple[tuple[Move, ...], Snapshot], generation: str, why: str) -> Group | None:
    """Give the group if what it brings is worth what it costs, and nobody is worse off."""
    moves, after = change
    before, then = worth_of(snapshot, generation), worth_of(after, generation)
    feared = [(_feared(snapshot, move.gang), _feared(after, move.gang)) for move in moves]
    limps = any(name == "slowdown" for move in moves for each in move.slices for name, _ in each.price)
    if not then.keeps(before) or limps or any(new > old for old, new in feared):
        return None
    gain = then.value - before.value + sum(old - new for old, new in feared)
    cost = sum(move.bill.total for move in moves)
    return Group(moves, gain, cost, why) if moves and gain > cost and gain >= snapshot.costs.floor * cost else None


_Change = tuple[tuple[Move, ...], "Snapshot", str]


def _clearings(snapshot: Snapshot, movable: Mapping[GangId, Request], generation: str) -> Iterator[_Change]:
    """Give ways to make room for expected shapes that have none: the cheapest gangs in the way go elsewhere."""
    prices = {gang: _bill(snapshot, gang).total for gang in movable}
    hopeless = [shape for shape, count in worth_of(snapshot, generation).alive.items() if count == 0]
    for shape in sorted(hopeless, key=lambda shape: (-prod(shape), shape)):
        for key in sorted(snapshot.grounds, key=str):
            ground = snapshot.grounds[key]
            if ground.generation != generation:
                continue
            victims = ground.victims(Want(generation, shape), prices)
            if victims is not None and victims.gangs:
                out_of = _out_of(snapshot, movable, victims.gangs, victims.seat.hosts)
                for changed in (out_of, _anew(snapshot, movable, victims.gangs)):
                    if changed is not None and worth_of(changed[1], generation).alive[shape]:
                        yield *changed, f"makes room for {text_of(shape)} in {key}"


def _out_of(
    snapshot: Snapshot, movable: Mapping[GangId, Request], gangs: Iterable[GangId], hosts: Iterable[HostId]
) -> tuple[tuple[Move, ...], Snapshot] | None:
    """Take gangs off some hosts, the largest first; None where one finds no other place."""
    after, closed = snapshot, snapshot.with_bars(dict.fromkeys(hosts, _CLEARED))
    moves = []
    for gang in sorted(gangs, key=lambda gang: (-movable[gang].chips, gang)):
        running = snapshot.gangs[gang]
        plan = planned(closed, _as_it_runs(snapshot, movable[gang]))
        if plan is None or not plan.moved:
            return None
        after, closed = moved(after, running, plan.moved), moved(closed, running, plan.moved)
        moves.append(Move(gang, plan.moved, _bill(snapshot, gang)))
    return tuple(moves), after


def _anew(
    snapshot: Snapshot, movable: Mapping[GangId, Request], gangs: Iterable[GangId]
) -> tuple[tuple[Move, ...], Snapshot] | None:
    """Place gangs where each destroys least when all of them are gone; None where they would have to change places at once."""
    empty, going = snapshot.without_gangs(gangs), []
    for gang in sorted(gangs, key=lambda gang: (-movable[gang].chips, gang)):
        plan = planned(empty, _as_it_runs(snapshot, movable[gang]))
        if plan is None:
            return None
        running = reseated(snapshot.gangs[gang], plan.slices)
        empty = empty.with_gang(running)
        held = {(each.role, each.index): set(each.hosts) for each in snapshot.gangs[gang].slices}
        slices = tuple(each for each in plan.slices if held[each.role, each.index] != set(each.hosts))
        if slices:
            going.append(Move(gang, slices, _bill(snapshot, gang)))
    return _one_by_one(snapshot, going)


def _one_by_one(snapshot: Snapshot, going: list[Move]) -> tuple[tuple[Move, ...], Snapshot] | None:
    """Put moves in an order in which each finds its place free; None where there is none."""
    moves: list[Move] = []
    while going:
        able = next((move for move in going if _is_free(snapshot, move)), None)
        if able is None:
            return None
        snapshot = moved(snapshot, snapshot.gangs[able.gang], able.slices)
        going = [move for move in going if move is not able]
        moves.append(able)
    return tuple(moves), snapshot


def _is_free(snapshot: Snapshot, move: Move) -> bool:
    hosts = (host for each in move.slices for host in each.hosts)
    holders = (snapshot.grounds[snapshot.ground_of[host]].occupancy.holders.get(host, move.gang) for host in hosts)
    return all(holder == move.gang for holder in holders)


def _betterments(snapshot: Snapshot, movable: Mapping[GangId, Request]) -> Iterator[_Change]:
    """Give single gangs for which a place would be cheaper by more than the floor than the one that they hold."""
    for gang, request in movable.items():
        running, asked = snapshot.gangs[gang], _as_it_runs(snapshot, request)
        held = _held_cost(snapshot, asked)
        bill = _bill(snapshot, gang)
        if held is None or held < snapshot.costs.floor * bill.total:
            continue
        plan = planned(snapshot.without_gang(gang), asked)
        if plan is not None and held - plan.cost >= snapshot.costs.floor * bill.total:
            yield (Move(gang, plan.slices, bill),), moved(snapshot, running, plan.slices), f"a better place for {gang.name}"


def _held_cost(snapshot: Snapshot, request: Request) -> float | None:
    """Give what the places cost that a gang holds; None where a slice holds none."""
    room, terms = room_of(snapshot, request), snapshot.terms(request.generation, request.lasts)
    held = {(each.role, each.index): each.hosts for each in snapshot.gangs[request.gang].slices}
    total = 0.0
    for asked in request.slices:
        hosts = held[asked.key]
        ground = room.grounds(asked)[snapshot.ground_of[hosts[0]]]
        seat = ground.seat_of(asked.want, hosts)
        if seat is None:
            return None
        total += ground.priced(seat, asked.want, terms).cost
        room = room.taken(seat)
    return total


def _feared(snapshot: Snapshot, gang: GangId) -> float:
    """Give what is to be feared of the hosts that a gang holds: failures and maintenance."""
    running = snapshot.gangs[gang]
    terms = snapshot.terms(running.generation, running.lasts)
    total = 0.0
    for held in running.slices:
        standings = [snapshot.grounds[snapshot.ground_of[host]].occupancy.standing(host) for host in held.hosts]
        windows = (standing.window for standing in standings if standing.window is not None)
        risk = math.fsum(standing.risk for standing in standings)
        total += terms.failures(risk, prod(held.shape)) + terms.maintenance(windows, prod(held.shape))
    return total


def _as_it_runs(snapshot: Snapshot, request: Request) -> Request:
    """Give the request for all that runs, and for no slice less."""
    running = {(held.role, held.index) for held in snapshot.gangs[request.gang].slices}
    return replace(request, slices=tuple(asked for asked in request.slices if asked.key in running), fewest=0)


def _bill(snapshot: Snapshot, gang: GangId) -> Bill:
    """Give what it costs to stop a gang and to start it elsewhere."""
    running = snapshot.gangs[gang]
    pace = pace_of(running, snapshot.costs, now=snapshot.now)
    chips = sum(prod(held.shape) for held in running.slices)
    return stop_and_start(chips, pace) + lost_steps(chips, pace)
