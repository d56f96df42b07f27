"""The way that comes first is the cheapest of all that going through every place finds, by prices worked out once more here."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, product
from math import prod
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.cubes.block import Block
from sliceward.scheduling.harm import Seen
from sliceward.scheduling.occupancy import Bar, Cause, Grade
from sliceward.scheduling.prices import Figure
from sliceward.scheduling.repair import repair
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.topology.generations import GENERATIONS
from tests.scheduling.small import KINDS, Kind, Small, a_small_fleet, dice_of, with_failures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from random import Random

    from sliceward.scheduling.ground import Seat, Want
    from sliceward.scheduling.snapshot import HeldSlice, Snapshot
    from sliceward.topology.ids import GangId, HostId

MOST = 256
"""So many combinations of places are gone through; of gangs with more of them the answer is not claimed to be the cheapest."""


class Definition:
    """One hurt gang, priced by what stands in the documentation."""

    def __init__(self, small: Small, gang: GangId, seen: Seen) -> None:
        """Look at it."""
        self.snapshot, self.seen = small.snapshot, seen
        self.gang, self.request = self.snapshot.gangs[gang], small.requests[gang]
        self.kind = GENERATIONS[self.gang.generation]
        self.costs = self.snapshot.costs
        self.hurt = [held for held in self.gang.slices if self.is_hurt(held)]
        self.whole = [held for held in self.gang.slices if held not in self.hurt]
        self.chips = sum(prod(held.shape) for held in self.gang.slices)
        self.hurt_chips = sum(prod(held.shape) for held in self.hurt)
        self.elastic = 0 < self.gang.fewest <= len(self.whole)
        self.lasts = self.costs.lasts if self.gang.lasts is None else self.gang.lasts
        self.stops = any(self.grade(host) is Grade.SICK for held in self.hurt for host in held.hosts)
        self.base = self.snapshot.without_gang(gang).with_gang(replace(self.gang, slices=tuple(self.whole)))
        self.terms = self.snapshot.terms(self.gang.generation, self.gang.lasts)

    def grade(self, host: HostId) -> Grade:
        return self.snapshot.grounds[self.snapshot.ground_of[host]].occupancy.standing(host).grade

    def is_hurt(self, held: HeldSlice) -> bool:
        occupancy = self.snapshot.grounds[self.snapshot.ground_of[held.hosts[0]]].occupancy
        torn = any({end.host_id for end in link.ends} <= set(held.hosts) for link in occupancy.links)
        dark = bool(occupancy.switches) and self.kind.is_whole_cubes(held.shape)
        return torn or dark or any(self.grade(host) in {Grade.SICK, Grade.DEGRADED} for host in held.hosts)

    @property
    def slower(self) -> float:
        if self.seen.slower is not None:
            return self.seen.slower.value
        slows = any(self.grade(host) is Grade.DEGRADED for held in self.hurt for host in held.hosts)
        grounds = {self.snapshot.ground_of[held.hosts[0]] for held in self.hurt}
        for ground in grounds:
            occupancy = self.snapshot.grounds[ground].occupancy
            links = [link for link in occupancy.links for held in self.hurt if {e.host_id for e in link.ends} <= set(held.hosts)]
            slows = (
                slows or bool(links) or (bool(occupancy.switches) and any(self.kind.is_whole_cubes(h.shape) for h in self.hurt))
            )
        return self.costs.slowdown if slows else 0.0

    @property
    def form(self) -> float:
        return self.costs.form if any(self.kind.is_whole_cubes(held.shape) for held in self.gang.slices) else 0.0

    @property
    def restart(self) -> float:
        return self.costs.restart if self.gang.restarts_in is None else self.gang.restarts_in

    @property
    def every(self) -> float:
        return self.costs.checkpoint if self.gang.checkpoints_every is None else self.gang.checkpoints_every

    @property
    def lost(self) -> float:
        if self.gang.checkpointed is None:
            return self.every / 2
        return (self.snapshot.now - self.gang.checkpointed).total_seconds()

    @property
    def detection(self) -> float:
        if not self.stops and self.slower < 1:
            return self.chips * self.costs.detect * self.slower
        return (self.hurt_chips if self.elastic else self.chips) * self.costs.detect

    def asked(self, held: HeldSlice) -> Want:
        found = next(each.want for each in self.request.slices if each.key == (held.role, held.index))
        return type(found)(found.generation, found.shape, found.turned, found.worst, found.broken_links, heals=True)

    def places(self, held: HeldSlice) -> list[Seat]:
        want = self.asked(held)
        return [seat for ground in self.base.grounds.values() for seat in ground.seats(want)]

    def worth(self, snapshot: Snapshot) -> float:
        alive = (
            probability * ground.alive(shape) for ground in snapshot.grounds.values() for shape, probability in self.terms.mix
        )
        return self.costs.anchor * math.fsum(alive)

    def seats_cost(self, seats: Sequence[Seat], *, limps: bool = True) -> float:
        """Give what places cost together: by what is alive before and after, and what each of them costs beside.

        Blocks of cubes also look ahead to cubes that will be whole again, and pods to places that will be free: there a place's own
        price says what it destroys.
        """
        gone = frozenset(host for seat in seats for host in seat.hosts)
        after = self.base.with_bars(dict.fromkeys(gone, Bar(Cause.HELD, "here")))
        cost = 0.0 if self.looks_ahead else self.worth(self.base) - self.worth(after)
        grounds = dict(self.base.grounds)
        for held, seat in zip(self.hurt, seats, strict=True):
            ground = grounds[seat.ground]
            priced = ground.priced(seat, self.asked(held), self.terms).price
            cost += sum(amount for name, amount in priced if self.looks_ahead or name != "places")
            cost -= sum(amount for name, amount in priced if name == "slowdown" and not limps)
            grounds[seat.ground] = ground.changed(ground.occupancy.taken(seat.hosts, self.gang.id), seat.hosts)
        return cost

    @property
    def looks_ahead(self) -> bool:
        return any(isinstance(ground, Block | TorusGround) for ground in self.base.grounds.values())

    def held_cost(self) -> float:
        """Give what the present places cost, slowness left out; a slice whose place is none costs nothing."""
        found = [self.base.grounds[self.base.ground_of[h.hosts[0]]].seat_of(self.asked(h), h.hosts) for h in self.hurt]
        assert None not in found
        return self.seats_cost([seat for seat in found if seat is not None], limps=False)

    def outages(self) -> Iterator[tuple[float, float]]:
        """Give what a stop costs, and the steps that it loses; of an elastic gang also what it costs to go on meanwhile."""
        costs = self.costs
        stop = costs.drain + costs.place + self.form + self.restart
        yield self.chips * stop, self.chips * self.lost
        if self.elastic:
            yield self.hurt_chips * stop + self.chips * (2 * costs.reconfigure + (self.gang.step or 0.0)), 0.0

    def ends(self) -> Iterator[tuple[float, float]]:
        """Give each way that ends the harm: what it costs, and what it loses besides unless a checkpoint comes before."""
        for seats in (*self.anew(), *self.swaps()):
            cost = self.seats_cost(seats)
            yield from ((outage + cost, lost) for outage, lost in self.outages())
        costs = self.costs
        if self.elastic:
            idle = min(costs.repair, self.lasts)
            cost = self.chips * (costs.reconfigure + (self.gang.step or 0.0)) + self.hurt_chips * idle
            if costs.repair < self.lasts:
                cost += self.chips * costs.reconfigure + self.hurt_chips * (self.form + self.restart) + self.held_cost()
            yield cost, 0.0
        yield self.chips * (costs.drain + costs.repair + self.restart) + self.held_cost(), self.chips * self.lost
        queue = costs.drain + costs.queue + costs.place + self.form + self.restart
        yield self.chips * queue, self.chips * self.lost

    def anew(self) -> Iterator[tuple[Seat, ...]]:
        for seats in product(*(self.places(held) for held in self.hurt)):
            if _are_apart(seats):
                yield seats

    def swaps(self) -> Iterator[tuple[Seat, ...]]:
        choices = [self.swaps_of(held) for held in self.hurt]
        for seats in product(*choices):
            if _are_apart(seats):
                yield seats

    def swaps_of(self, held: HeldSlice) -> list[Seat]:
        """Give all places that keep each part in which nothing failed; none on a torus, where a box is made anew."""
        ground = self.base.grounds[self.base.ground_of[held.hosts[0]]]
        if isinstance(ground, TorusGround):
            return []
        torn = {
            e.host_id for link in ground.occupancy.links if {e.host_id for e in link.ends} <= set(held.hosts) for e in link.ends
        }
        out = torn | {host for host in held.hosts if self.grade(host) in {Grade.SICK, Grade.DEGRADED}}
        parts = [part for part in ground.parts.values() if set(part) <= set(held.hosts)] or [(host,) for host in held.hosts]
        kept = [part for part in parts if not out.intersection(part)]
        free = [part for part in (ground.parts.values() or [(host,) for host in ground.hosts]) if not set(part) & set(held.hosts)]
        want = self.asked(held)
        if not out or not kept or sum(map(len, parts)) != len(held.hosts):
            return []
        if not ground.parts:
            free = [(host,) for (host,) in free if ground.occupancy.is_usable(host, want.worst)]
        else:
            one = type(want)(want.generation, self.kind.cube or want.shape, want.turned, want.worst, want.broken_links)
            usable = {seat.hosts for seat in ground.seats(one)}
            free = [part for part in free if any(set(part) == set(hosts) for hosts in usable)]
        found = [
            ground.seat_of(want, [host for part in (*kept, *new) for host in part])
            for new in combinations(free, len(parts) - len(kept))
        ]
        return [seat for seat in found if seat is not None]

    def least(self) -> float:
        if not self.hurt:
            return 0.0
        ends = [*self.ends()]
        ways = [cost + lost for cost, lost in ends]
        if not self.stops and self.slower < 1:
            ways.append(self.chips * self.lasts * self.slower + self.held_cost())
            if self.gang.checkpointed is not None and self.gang.checkpoints_every is not None and self.lost < self.every:
                limp = self.chips * (self.every - self.lost) * self.slower
                ways.append(limp + min(cost for cost, _ in ends))
        return self.detection + min(ways)

    def ways(self) -> int:
        return prod(len(self.places(held)) for held in self.hurt)


def _are_apart(seats: Iterable[Seat]) -> bool:
    hosts = [host for seat in seats for host in seat.hosts]
    return len(set(hosts)) == len(hosts)


def a_seen(dice: Random) -> Seen:
    return Seen(slower=dice.choice((None, None, Figure(0.05, "rate"), Figure(0.7, "rate"))))


def hurt_gangs(kind: Kind, seeds: range) -> Iterator[tuple[int, Small, GangId, Seen]]:
    for seed in seeds:
        dice, small = dice_of(seed), a_small_fleet(seed, kind)
        for gang in small.requests:
            yield seed, with_failures(dice, small, gang), gang, a_seen(dice)


@pytest.mark.parametrize("kind", KINDS)
def test_no_way_that_is_open_costs_less_than_the_first(kind: Kind) -> None:
    looked = 0
    for seed, small, gang, seen in hurt_gangs(kind, range(120)):
        definition = Definition(small, gang, seen)
        if definition.ways() > MOST:
            continue
        found, least = repair(small.snapshot, small.requests[gang], seen), definition.least()
        told = f"seed {seed}, {gang}: {found.best.way}"
        if any(each.victims for each in found.open):  # whom to displace has an oracle of its own
            assert found.best.price <= least * (1.05 if definition.looks_ahead else 1 + 1e-6), told
        else:
            in_turn = definition.looks_ahead and len(definition.hurt) > 1  # what they destroy depends on which comes first
            assert found.best.price == pytest.approx(least, rel=0.05 if in_turn else 1e-6), told
        looked += bool(definition.hurt)
    assert looked >= 80
