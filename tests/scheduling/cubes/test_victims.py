"""Whom to displace: equal to an integer program on 1,000 blocks, the place that is told is really free afterwards."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import chain, combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from sliceward.scheduling.cubes.victims import Cover, cheapest_victims
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Occupancy, Standing
from tests.scheduling.cubes.builders import BOXES, CUBE, Drawn, any_block, any_want, drawn, gang, want

if TYPE_CHECKING:
    from sliceward.topology.ids import GangId, HostId


def by_integer_program(crews: list[frozenset[GangId]], prices: dict[GangId, float], need: int) -> float | None:
    """Least price of gangs whose going empties so many cubes: one variable a gang, one a cube, a cube is empty if all have gone."""
    open_crews = [crew for crew in crews if crew <= prices.keys()]
    if need > len(open_crews):
        return None
    gangs = sorted({each for crew in open_crews for each in crew})
    if need <= 0:
        return 0.0
    size = len(gangs) + len(open_crews)
    rows = []
    for n, crew in enumerate(open_crews):
        for each in crew:
            row = np.zeros(size)
            row[gangs.index(each)], row[len(gangs) + n] = 1, -1
            rows.append(row)
    total = np.concatenate([np.zeros(len(gangs)), np.ones(len(open_crews))])
    cost = np.concatenate([[prices[each] for each in gangs], np.zeros(len(open_crews))])
    limits = [LinearConstraint(np.array(rows), lb=0), LinearConstraint(total[None, :], lb=need)]
    found = milp(cost, constraints=limits, integrality=np.ones(size), bounds=(0, 1), options={"mip_rel_gap": 0})
    assert found.success
    return float(found.fun)


def a_crowd(draw: random.Random) -> tuple[Drawn, dict[GangId, float]]:
    """Cubes full of gangs: large ones on several cubes, small ones that share one, some protected, some cubes sick or closed."""
    there = drawn(draw.randint(4, 24))
    holders: dict[HostId, GangId] = {}
    standings: dict[HostId, Standing] = {}
    bars: dict[HostId, Bar] = {}
    big = [gang(f"big-{n}") for n in range(draw.randint(2, 8))]
    small = [gang(f"small-{n}") for n in range(draw.randint(1, 6))]
    for cube in there.cubes:
        mood = draw.random()
        if mood < 0.7:
            holders |= dict.fromkeys(cube.hosts, draw.choice(big))
        elif mood < 0.9:
            for hosts in there.boxes(cube, draw.choice(BOXES[:2])):
                if draw.random() < 0.7:
                    holders |= dict.fromkeys(hosts, draw.choice(small))
        if draw.random() < 0.1:
            standings[draw.choice(cube.hosts)] = Standing(draw.choice((Grade.SICK, Grade.UNKNOWN)), "sick")
        if draw.random() < 0.05:
            bars[draw.choice(cube.hosts)] = Bar(Cause.RESERVED, "promised")
    prices = {each: draw.choice((0.0, 1.0, 2.0, 2.5, 1e6)) * draw.randint(1, 5) for each in big + small if draw.random() < 0.9}
    return replace(there, occupancy=Occupancy(holders, standings, bars)), prices


@pytest.mark.parametrize("part", range(5))
def test_the_cheapest_victims_for_cubes_are_those_of_an_integer_program_on_a_thousand_blocks(part: int) -> None:
    for seed in range(200 * part, 200 * (part + 1)):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        there, prices = a_crowd(draw)
        count = draw.randint(1, len(there.cubes))
        asked = want(4, 4, 4 * count)
        emptied = there.with_occupancy(replace(there.occupancy, holders={}))
        free = {cube.id for cube, _, _ in there.parts(want(*CUBE))}
        crews = [
            frozenset(there.occupancy.holders[host] for host in hosts if host in there.occupancy.holders)
            for cube, hosts, _ in emptied.parts(want(*CUBE))
            if cube.id not in free
        ]
        least = by_integer_program(crews, prices, count - len(free))
        found = there.block.victims(asked, prices)
        assert (found is None) == (least is None), seed
        if found is not None and least is not None:
            assert found.gap == 0
            assert found.cost == pytest.approx(least, abs=1e-6), seed
            assert found.cost == pytest.approx(sum(prices[each] for each in found.gangs)), seed
            gone = [host for host, each in there.occupancy.holders.items() if each in found.gangs]
            after = there.block.changed(there.occupancy.freed(gone), gone)
            assert all(after.occupancy.is_usable(host) for host in found.seat.hosts), seed
            assert after.seat_of(asked, found.seat.hosts) == found.seat, seed


def test_the_cheapest_victims_for_a_box_are_those_of_the_cheapest_box() -> None:
    for seed in range(400):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        there, asked = any_block(draw, 3), any_want(draw)
        if asked.shape[0] == 4:
            continue
        holders = there.occupancy.holders
        prices = {each: draw.choice((0.0, 1.0, 3.0)) for each in sorted(set(holders.values())) if draw.random() < 0.8}
        costs = []
        for going in chain(*(combinations(sorted(prices), size) for size in range(len(prices) + 1))):
            rest = {host: each for host, each in holders.items() if each not in going}
            if there.with_occupancy(replace(there.occupancy, holders=rest)).parts(asked):
                costs.append(sum(prices[each] for each in going))
        found = there.block.victims(asked, prices)
        assert (found.cost if found is not None else None) == min(costs, default=None), seed


def test_who_has_no_price_is_never_displaced() -> None:
    there = drawn(2)
    one, other = there.cubes
    held = there.with_occupancy(Occupancy(dict.fromkeys(one.hosts, gang("safe")) | dict.fromkeys(other.hosts, gang("cheap"))))
    found = held.block.victims(want(*CUBE), {gang("cheap"): 5.0})
    assert found is not None
    assert found.gangs == (gang("cheap"),)
    assert held.block.victims(want(4, 4, 8), {gang("cheap"): 5.0}) is None
    assert held.block.victims(want(*CUBE), {}) is None


def test_where_there_is_room_nobody_goes() -> None:
    found = drawn(3).block.victims(want(4, 4, 8), {gang("a"): 1.0})
    assert found is not None
    assert (found.gangs, found.cost, [cube.name for cube in found.seat.cubes]) == ((), 0.0, ["cube-0", "cube-1"])


def test_a_cluster_too_large_to_be_weighed_whole_says_how_far_it_may_be_from_the_best() -> None:
    draw = random.Random(5)  # noqa: S311 (a story told again)
    for _ in range(30):
        gangs = [gang(f"g{n:02}") for n in range(20)]
        crews = [frozenset(draw.sample(gangs, 2)) for _ in range(30)]
        prices = {each: draw.uniform(1, 10) for each in gangs}
        need = draw.randint(1, 12)
        found, least = cheapest_victims(crews, prices, need), by_integer_program(crews, prices, need)
        assert found is not None
        assert least is not None
        assert least <= found.cost + 1e-6
        assert found.least <= least + 1e-6
        assert found.cost <= least * (1 + found.gap) + 1e-6
    assert cheapest_victims([], {}, 0) == Cover((), 0.0, 0.0)
