"""Pools: what is kept of them stays right whatever changes, and is what looking at every host finds."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.costs import Costs
from sliceward.scheduling.ground import Terms, Want
from sliceward.scheduling.occupancy import PLAIN, Bar, Cause, Grade, Occupancy, Standing
from sliceward.topology.ids import ChipId, LinkId
from tests.builders import NOW, gang_id
from tests.scheduling.grounds import V6E, pools, shape

if TYPE_CHECKING:
    from sliceward.scheduling.ground import Seat
    from sliceward.scheduling.pools import Pool, Pools

TERMS = Terms(Costs(), ((shape("4x4"), 0.75), (shape("4x8"), 0.25)), NOW, 3_600.0)
WANTS = [
    Want(V6E, shape("4x4"), worst=worst, broken_links=broken)
    for worst in (Grade.HEALTHY, Grade.DEGRADED)
    for broken in (False, True)
]
GANGS = [gang_id(name) for name in "abc"]


def some_pools(draw: random.Random) -> Pools:
    """Give nine pools, some of them spares, one of which lacks a host and two of which are larger."""
    small, large = pools(7), pools(2, "4x8", prefix="large")
    torn = replace(small.pools[0], hosts=small.pools[0].hosts[:-1])
    all_of = (torn, *(replace(pool, spare=draw.random() < 0.3) for pool in small.pools[1:]), *large.pools)
    return replace(small, pools=all_of, hosts={host: 4 for pool in all_of for host in pool.hosts})


def changed(ground: Pools, draw: random.Random) -> Pools:
    """Change something about a few hosts, or the links."""
    known, few = ground.occupancy, draw.sample(list(ground.hosts), 3)
    match draw.randrange(5):
        case 0:
            return ground.changed(known.taken(few, draw.choice(GANGS)), few)
        case 1:
            return ground.changed(known.freed(few), few)
        case 2:
            bars = dict.fromkeys(few, Bar(Cause.RESERVED, "kept"))
            return ground.changed(known.barred(bars) if draw.random() < 0.5 else known.opened(few), few)
        case 3:
            grade = draw.choice([Standing(each, risk=draw.choice((0.0, 0.1))) for each in Grade])
            return ground.changed(replace(known, standings={**known.standings, **dict.fromkeys(few, grade)}), few)
        case _:
            ends = [ChipId("c1", host.name, 0) for host in draw.sample(list(draw.choice(ground.pools).hosts), 2)]
            return ground.changed(known.with_links([LinkId.between(*ends)] if draw.random() < 0.7 else []), ())


def fits(pool: Pool, want: Want, known: Occupancy) -> bool:
    """Say by each host whether a slice may have a pool that nobody sits on."""
    inside = set(pool.hosts)
    torn = any({end.host_id for end in link.ends} <= inside for link in known.links)
    usable = all(replace(known, holders={}).is_usable(host, want.worst) for host in pool.hosts)
    return pool.shape == want.shape and len(pool.hosts) == pool.expected and usable and (want.broken_links or not torn)


def prices_of(ground: Pools, want: Want) -> dict[tuple[float, object], Seat]:
    """Price every place by itself."""
    seats = (ground.priced(seat, want, TERMS) for seat in ground.seats(want))
    return {(seat.cost, seat.cubes): seat for seat in seats}


@pytest.mark.parametrize("seed", range(40))
def test_pools_answer_after_any_change_as_if_every_host_were_looked_at(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 (a story told again)
    ground = some_pools(draw)
    prices = {gang: draw.uniform(1, 9) for gang in GANGS[:2]}
    for _ in range(25):
        ground = changed(ground, draw)
        anew = replace(ground, occupancy=ground.occupancy)
        known = ground.occupancy
        for want in WANTS:
            suit = [pool for pool in ground.pools if fits(pool, want, known)]
            crews = {pool.id: {known.holders[host] for host in pool.hosts if host in known.holders} for pool in suit}
            free = {pool.id for pool in suit if not crews[pool.id]}
            assert {seat.cubes[0] for seat in ground.seats(want)} == free
            assert ground.room(want) == len(free)
            priced = prices_of(anew, want)
            assert ground.best(want, TERMS) == (priced[min(priced)] if priced else None)
            costs = [sum(prices.get(gang, inf) for gang in crew) for crew in crews.values()]
            victims = ground.victims(want, prices)
            assert (victims.cost if victims is not None else inf) == min(costs, default=inf)
            assert ground.short(want) == anew.short(want)
        assert (ground.largest(), ground.alive(shape("4x4"))) == (anew.largest(), anew.alive(shape("4x4")))


def test_a_pool_is_known_by_its_hosts_alone() -> None:
    ground = pools(2)
    first = ground.pools[0]
    seat = ground.seat_of(Want(V6E, shape("4x4")), first.hosts)
    assert seat is not None
    assert seat.cubes == (first.id,)
    assert ground.seat_of(Want(V6E, shape("4x4")), first.hosts[1:]) is None
    assert ground.seat_of(Want(V6E, shape("2x4")), first.hosts) is None
    assert ground.seat_of(Want(V6E, shape("4x4")), ()) is None


def test_the_first_pool_of_those_that_are_alike_stands_for_all() -> None:
    ground = pools(4)
    plain = replace(ground, pools=ground.pools[::-1])
    seat = plain.best(Want(V6E, shape("4x4")), TERMS)
    assert seat is not None
    assert seat.cubes == (ground.pools[0].id,)
    told = plain.changed(plain.occupancy.marked(ground.pools[0].hosts[0], replace(PLAIN, risk=0.5)), ground.pools[0].hosts)
    other = told.best(Want(V6E, shape("4x4")), TERMS)
    assert other is not None
    assert other.cubes == (ground.pools[1].id,)
