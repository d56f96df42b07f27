"""What a plan says of how far it may be from the cheapest is true: with many windows, spares, links and several slices."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import combinations

import pytest

from sliceward.scheduling.charges import Charged, Charges, Relaxed, cheapest_charged
from sliceward.scheduling.costs import Costs
from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.cubes.choosing import Candidate, Question, cheapest
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Standing, Window
from sliceward.scheduling.place import planned, room_of
from sliceward.scheduling.request import Over, Request, SliceAsked
from sliceward.scheduling.snapshot import Snapshot
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.scheduling.tree.lie import Leaf
from sliceward.topology.ids import ClusterId, HostId, PodId
from tests.builders import NOW, a_fleet, gang_id
from tests.scheduling.grounds import V6E
from tests.scheduling.small import a_link, dice_of
from tests.scheduling.test_place_laws import every_way
from tests.scheduling.tree.builders import LEVELS

WINDOWS = [Window(NOW + timedelta(hours=hour + 1), NOW + timedelta(hours=hour + 5)) for hour in range(14)]
SEVEN = a_fleet().with_cubes(7, block="p0").build()
BLOCK = block_of(PodId("c1", "p0"), SEVEN, SEVEN.cubes.values())


def asking(generation: str, *shapes: tuple[int, ...], worst: Grade = Grade.HEALTHY, over: Over = Over.CHEAPEST) -> Request:
    slices = tuple(SliceAsked("s", index, Want(generation, shape, worst=worst)) for index, shape in enumerate(shapes))
    return Request(gang_id("new"), "red", slices, over=over)


def check_gap(snapshot: Snapshot, request: Request) -> float | None:
    """Compare a plan with all ways; give by what share it is dearer than the cheapest, None where there is no plan."""
    plan = planned(snapshot, request)
    ways = every_way(room_of(snapshot, request), request.slices, snapshot.terms(request.generation, request.lasts))
    best = min((sum(seat.cost for seat in way) for way in ways), default=None)
    assert (plan is None) == (best is None)
    if plan is None or best is None:
        return None
    assert plan.gap is None or plan.cost <= best * (1 + plan.gap) + 1e-6 * best + 1
    return plan.cost / best - 1 if best else plan.cost


def test_cubes_that_share_many_windows_are_chosen_as_all_choices_say() -> None:
    for seed in range(40):
        dice = dice_of(seed)
        told = {
            host: Standing(Grade.HEALTHY, "", dice.choice((0.0, 0.001)), window)
            for hosts in BLOCK.parts.values()
            for host, window in zip(hosts, dice.sample(WINDOWS, dice.randint(1, 5)), strict=False)
        }
        snapshot = Snapshot.of(NOW, [BLOCK]).with_standings(told)
        assert check_gap(snapshot, asking("tpu7x", (4, 4, 12))) == pytest.approx(0.0)


def a_tree(hosts: int) -> TreeGround:
    leaves = [
        Leaf(HostId("c1", f"h{n:02}"), 4, dict(zip(LEVELS, ("b0", f"r{n % 2}", f"h{n:02}"), strict=True))) for n in range(hosts)
    ]
    return TreeGround.of(ClusterId("c1"), V6E, leaves, levels=LEVELS, unit=LEVELS[1])


@pytest.mark.parametrize("within", [LEVELS[0], LEVELS[1]])
def test_hosts_of_a_tree_that_share_many_windows_are_chosen_as_all_choices_say(within: str) -> None:
    tree = a_tree(12)
    for seed in range(20):
        dice = dice_of(seed)
        told = {
            host: Standing(
                dice.choice((Grade.HEALTHY, Grade.HEALTHY, Grade.DEGRADED)),
                "",
                dice.choice((0.0, 0.01, 0.3)),
                dice.choice(WINDOWS),
            )
            for host in tree.hosts
        }
        request = Request(gang_id("new"), "red", (SliceAsked("s", 0, Want(V6E, (4, 4), worst=Grade.DEGRADED, within=within)),))
        assert check_gap(Snapshot.of(NOW, [tree]).with_standings(told), request) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("over", list(Over))
def test_the_gap_of_several_slices_is_none_that_is_too_small(over: Over) -> None:
    dearer = 0
    for seed in range(40):
        dice = dice_of(seed)
        fleet = a_fleet().with_cubes(2, block="p0").spare(*dice.choice((("cube-0",), ("cube-0", "cube-1"), ("cube-1",)))).build()
        block = block_of(PodId("c1", "p0"), fleet, fleet.cubes.values())
        hosts = sorted(block.hosts)
        down = dice.sample(hosts, 20)
        grades = (Grade.SICK, Grade.SICK, Grade.DEGRADED, Grade.HEALTHY)
        told = {
            host: Standing(dice.choice(grades), "", dice.choice((0.0, 0.01, 0.3)), dice.choice((None, *WINDOWS[:3])))
            for host in down
        }
        costs = Costs(spare=dice.choice((1.0, 600.0, 86_400.0)))
        link = a_link(dice, block)
        snapshot = Snapshot.of(NOW, [block], costs=costs).with_standings(told).with_links(block.id, [link] if link else [])
        shapes = dice.choice((((2, 2, 2), (2, 2, 2)), ((2, 2, 1), (2, 2, 4)), ((2, 2, 1), (2, 2, 1), (2, 2, 4))))
        dearer += bool(check_gap(snapshot, asking("tpu7x", *shapes, worst=Grade.DEGRADED, over=over)))
    assert dearer < 20 or over is not Over.CHEAPEST


def test_a_spare_that_several_slices_share_is_not_counted_for_each() -> None:
    fleet = a_fleet().with_cubes(1, block="p0").spare("cube-0").build()
    block = block_of(PodId("c1", "p0"), fleet, fleet.cubes.values())
    room = block.rooms[0]
    risks = [0.0, 0.0, 0.01, 0.01] + [0.00525] * 4 + [0.5] * 8
    hosts = [host for _, host in sorted(zip(room.seats, room.hosts, strict=True))]
    told = {host: Standing(Grade.HEALTHY, "", risk) for host, risk in zip(hosts, risks, strict=True)}
    snapshot = Snapshot.of(NOW, [block], costs=Costs(spare=1.0)).with_standings(told)
    assert check_gap(snapshot, asking("tpu7x", (2, 2, 4), (2, 2, 1), (2, 2, 1))) is not None


def test_costs_beyond_all_measure_leave_the_order_over_blocks_as_it_is() -> None:
    blocks = []
    for name in ("p0", "p1"):
        fleet = a_fleet().with_cubes(0).and_cubes(2, block=name, prefix=name).spare(f"{name}-0", f"{name}-1").build()
        blocks.append(block_of(PodId("c1", name), fleet, fleet.cubes.values()))
    snapshot = Snapshot.of(NOW, blocks, costs=Costs(spare=1e12))
    for over, count in ((Over.PACKED, 1), (Over.SPREAD, 2)):
        plan = planned(snapshot, asking("tpu7x", (4, 4, 4), (4, 4, 4), over=over))
        assert plan is not None
        assert len({piece.ground for piece in plan.slices}) == count


def chosen_of(
    prices: list[float], brings: list[frozenset[int]], costs: dict[int, float], things: int
) -> Charged[tuple[int, ...]] | None:
    """Choose three of many things by bounds."""
    sharing = Counter(each for mine in brings for each in mine)

    def relaxed(paid: Charges, forbidden: Charges) -> Relaxed[tuple[int, ...]] | None:
        part = [sum(costs[each] / min(3, sharing[each]) for each in mine - paid) for mine in brings]
        left = sorted((prices[n] + part[n], n) for n, mine in enumerate(brings) if not mine & forbidden)[:3]
        if len(left) < 3:
            return None
        places = tuple(sorted(n for _, n in left))
        shared = sum(part[n] for n in places)
        return Relaxed(places, sum(prices[n] for n in places), shared, Counter(each for n in places for each in brings[n]))

    return cheapest_charged(relaxed, costs, things)


def test_a_search_that_is_cut_off_tells_how_far_it_may_be_from_the_cheapest() -> None:
    cut = 0
    for seed in range(60):
        dice = dice_of(seed)
        prices = [dice.choice((0.0, 1.0, 2.5)) for _ in range(14)]
        brings = [frozenset(dice.sample(range(20), dice.randint(2, 6))) for _ in prices]
        costs = {each: dice.choice((1.0, 2.0, 5.0)) for each in range(20)}
        best = min(
            sum(prices[n] for n in three) + sum(costs[each] for each in frozenset().union(*(brings[n] for n in three)))
            for three in combinations(range(14), 3)
        )
        short, full = (chosen_of(prices, brings, costs, things) for things in (10**9, 1))
        assert short is not None
        assert full is not None
        assert full.cost == pytest.approx(best)
        assert full.slack == 0.0
        assert short.cost - short.slack <= best + 1e-9
        assert short.cost >= best - 1e-9
        cut += short.slack > 0
    assert cut > 5


def test_where_all_ways_are_closed_there_is_no_choice() -> None:
    events = [frozenset({number, number + 1}) for number in range(12)]
    few = [Candidate(1.0, number, mine) for number, mine in enumerate(events)]
    assert cheapest(Question(few, [], 13, 1.0, lambda _: 0.0)) is None
    assert cheapest_charged(lambda _paid, _forbidden: None, {}, 1) is None
