"""The label tree as a ground: the best place, the cheapest victims and all counts are those of going through every possibility."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.cover import cheapest_cover
from sliceward.scheduling.ground import Ground, Seat, Want
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Occupancy, Standing
from sliceward.scheduling.tree.cheapest import Candidate, Choice, Unit, cheapest
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.scheduling.tree.lie import Leaf
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import ClusterId
from tests.scheduling.tree.builders import LEVELS
from tests.scheduling.tree.draws import V6E, Drawn, a_drawn_tree, a_standing, a_want, dice_of, gang_named, host_named, some_terms

if TYPE_CHECKING:
    from random import Random

SEEDS = pytest.mark.parametrize("first", range(0, 4_000, 1_000), ids=lambda first: f"seeds-{first}-on")


def drawn_from(first: int) -> list[Random]:
    return [dice_of(seed) for seed in range(first, first + 1_000)]


def a_ground(racks: dict[str, int], *, levels: tuple[str, ...] = LEVELS) -> TreeGround:
    """Give four-chip hosts ``h0`` .. in racks of one block."""
    names = [rack for rack, count in racks.items() for _ in range(count)]
    leaves = [Leaf(host_named(f"h{n}"), 4, {"block": "b0", "rack": rack, LEVELS[-1]: f"h{n}"}) for n, rack in enumerate(names)]
    return TreeGround.of(ClusterId("c1"), V6E, leaves, levels=levels, unit="rack")


def names(seat: Seat | None) -> list[str]:
    assert seat is not None
    return [host.name for host in seat.hosts]


@SEEDS
def test_the_best_place_is_the_cheapest_of_all_and_of_equals_the_lowest(first: int) -> None:
    for dice in drawn_from(first):
        drawn, want, terms = a_drawn_tree(dice), a_want(dice), some_terms(dice)
        priced = [(drawn.cost(hosts, want, terms), hosts) for hosts in drawn.places(want, drawn.occupancy)]
        best = drawn.ground.best(want, terms)
        assert (best is None) is (not priced)
        if best is not None:
            least = min(cost for cost, _ in priced)
            assert best.cost == least
            assert best.hosts == next(hosts for cost, hosts in priced if cost == least)


@SEEDS
def test_all_places_are_told_and_counted(first: int) -> None:
    for dice in drawn_from(first):
        drawn, want = a_drawn_tree(dice), a_want(dice)
        every = set(drawn.places(want, drawn.occupancy))
        seats = drawn.ground.seats(want)
        assert sorted(seat.hosts for seat in seats) == sorted(every)
        assert seats.count == len(every)
        assert all(drawn.ground.seat_of(want, seat.hosts) == seat for seat in seats)
        assert drawn.ground.alive(want.shape) == drawn.alive(want.chips, drawn.occupancy)


def going(drawn: Drawn, gangs: tuple[object, ...]) -> Occupancy:
    return drawn.occupancy.freed([host for host, gang in drawn.occupancy.holders.items() if gang in gangs])


@SEEDS
def test_victims_are_the_cheapest_set_that_makes_room(first: int) -> None:
    for dice in drawn_from(first):
        drawn, want = a_drawn_tree(dice, gangs=6, held=0.7), a_want(dice)
        gangs = sorted(set(drawn.occupancy.holders.values()))
        prices = {gang: float(dice.randint(0, 9)) for gang in gangs if dice.random() < 0.8}
        enough = [
            (sum(prices[gang] for gang in going_), len(going_))
            for size in range(len(prices) + 1)
            for going_ in combinations(sorted(prices), size)
            if next(drawn.places(want, going(drawn, going_)), None) is not None
        ]
        victims = drawn.ground.victims(want, prices)
        assert (victims is None) is (not enough)
        if victims is not None:
            assert (victims.cost, len(victims.gangs)) == min(enough)
            assert victims.gap == 0
            assert victims.seat.hosts in set(drawn.places(want, going(drawn, victims.gangs)))


@SEEDS
def test_a_place_is_mended_as_cheaply_as_can_be(first: int) -> None:
    for dice in drawn_from(first):
        drawn, want, terms = a_drawn_tree(dice, gangs=0), a_want(dice), some_terms(dice)
        start = next(drawn.places(want, Occupancy()), None)
        if start is None:
            continue
        ground = drawn.ground.changed(drawn.occupancy.taken(start, gang_named("me")), start)
        sits = Drawn(ground, drawn.leaves)
        out = set(dice.sample(start, dice.randint(0, len(start))))
        stays = tuple(host for host in start if host not in out)
        others = [host for host in ground.hosts if ground.occupancy.is_usable(host, want.worst)]
        news = [new for new in combinations(others, len(out)) if stays and sits.alike((*stays, *new), want)]
        mended = dice.choice((ground, drawn.ground)).mended(want, start, out, terms)
        assert (mended is None) is (not news)
        if mended is not None:
            assert set(stays) <= set(mended.hosts)
            assert mended.cost == min(sits.cost(new, want, terms) for new in news)


def test_a_ground_that_changed_is_the_ground_built_anew() -> None:
    for dice in drawn_from(0):
        drawn, want, terms = a_drawn_tree(dice), a_want(dice), some_terms(dice)
        ground = drawn.ground
        for _ in range(5):
            host = dice.choice(list(ground.hosts))
            occupancy = dice.choice(
                (
                    ground.occupancy.marked(host, a_standing(dice)),
                    ground.occupancy.freed([host]),
                    ground.occupancy.barred({host: Bar(Cause.RESERVED, "promised")}),
                    ground.occupancy.opened([host]),
                )
            )
            ground = ground.changed(occupancy, [host])
        cold = TreeGround.of(ground.id, V6E, drawn.leaves.values(), levels=LEVELS, unit="rack")
        assert ground == cold.changed(ground.occupancy, tuple(ground.hosts))
        assert ground.best(want, terms) == cold.changed(ground.occupancy, tuple(ground.hosts)).best(want, terms)


def test_a_sick_host_never_makes_room() -> None:
    for dice in drawn_from(0):
        drawn, want, terms = a_drawn_tree(dice), a_want(dice), some_terms(dice)
        host = dice.choice(list(drawn.ground.hosts))
        sick = drawn.ground.changed(drawn.occupancy.marked(host, Standing(Grade.SICK, "seen")), [host])
        assert set(sick.seats(want).each()) <= set(drawn.ground.seats(want).each())
        assert sick.room(want) <= drawn.ground.room(want)
        if drawn.ground.best(want, terms) is None:
            assert sick.best(want, terms) is None


def test_the_nearest_hosts_are_the_fewest_that_would_have_to_open() -> None:
    for dice in drawn_from(0):
        drawn, want = a_drawn_tree(dice), a_want(dice)
        if next(drawn.places(want, drawn.occupancy), None) is not None:
            continue
        closed = [host for host in drawn.leaves if not drawn.occupancy.is_usable(host, want.worst)]
        fewest = next(
            (
                size
                for size in range(1, len(closed) + 1)
                for opened in combinations(closed, size)
                if next(drawn.places(want, with_open(drawn.occupancy, opened)), None) is not None
            ),
            0,
        )
        short = drawn.ground.short(want)
        assert len(short.nearest) == fewest
        assert not short.nearest or next(drawn.places(want, with_open(drawn.occupancy, short.nearest)), None) is not None
        assert sum(short.hosts.values()) + short.free == len(drawn.leaves)


def with_open(occupancy: Occupancy, hosts: object) -> Occupancy:
    opened = set(hosts)  # type: ignore[call-overload]  # any collection of hosts
    return Occupancy(
        {host: gang for host, gang in occupancy.holders.items() if host not in opened},
        {host: standing for host, standing in occupancy.standings.items() if host not in opened},
        {host: bar for host, bar in occupancy.bars.items() if host not in opened},
    )


def test_the_largest_shape_is_the_largest_that_has_a_place() -> None:
    ground: Ground = a_ground({"r0": 4, "r1": 3})
    assert ground.largest() == (4, 4)
    assert ground.changed(Occupancy().taken([host_named("h0")], gang_named("a")), [host_named("h0")]).largest() == (2, 4)
    assert a_ground({"r0": 0}).largest() is None


def test_a_slice_that_may_cross_racks_leaves_whole_racks_whole() -> None:
    terms = some_terms(dice_of(0))
    want = Want(V6E, (4, 4), within="block")
    ground = a_ground({"r0": 4, "r1": 3, "r2": 1})
    mixed = terms.__class__(terms.costs, (((4, 4), 1.0),), terms.now, terms.lasts)
    assert names(ground.best(want, mixed)) == ["h4", "h5", "h6", "h7"]


def test_repairs_come_before_displacements_in_what_would_help() -> None:
    ground = a_ground({"r0": 2, "r1": 2})
    sick, held = host_named("h2"), host_named("h0")
    occupancy = Occupancy().taken([held], gang_named("a")).marked(sick, Standing(Grade.SICK, "no heartbeat"))
    short = ground.changed(occupancy, [held, sick]).short(Want(V6E, (2, 4)))
    assert short.hosts == {Cause.HELD: 1, Cause.SICK: 1}
    assert len(short.nearest) == 1
    occupancy = occupancy.taken([host_named("h3")], gang_named("b"))
    both = ground.changed(occupancy.taken([host_named("h1")], gang_named("b")), list(ground.hosts)).short(Want(V6E, (2, 2)))
    assert [host.name for host in both.nearest] == ["h0"]


def test_a_host_without_a_level_lies_in_no_domain_but_can_be_held() -> None:
    leaves = [Leaf(host_named("h0"), 4, {"block": "b0", "rack": "r0"}), Leaf(host_named("h1"), 4, {"block": "b0"})]
    ground = TreeGround.of(ClusterId("c1"), V6E, leaves, levels=("block", "rack"), unit="rack")
    want = Want(V6E, (2, 2))
    assert [names(seat) for seat in ground.seats(want)] == [["h0"]]
    assert ground.changed(Occupancy().taken([host_named("h1")], gang_named("a")), [host_named("h1")]).room(want) == 1
    assert ground.short(Want(V6E, (2, 4))).hosts == {Cause.SHAPE: 1}


def test_another_generation_and_an_unknown_level_have_no_place() -> None:
    ground = a_ground({"r0": 4})
    for want in (Want("tpu-v5-lite-podslice", (2, 2)), Want(V6E, (2, 2), within="row")):
        assert ground.seats(want).count == ground.room(want) == 0
        assert ground.best(want, some_terms(dice_of(0))) is None
        assert ground.victims(want, {}) is None


@pytest.mark.parametrize(
    ("leaves", "levels", "told"),
    [
        pytest.param(
            [("h0", {"block": "b0", "rack": "r0"}), ("h1", {"block": "b1", "rack": "r0"})],
            ("block", "rack"),
            "rack=r0: lies in b0 by h0 and in b1 by h1: a domain has one parent",
            id="two-parents",
        ),
        pytest.param([("h0", {"block": "b0"}), ("h0", {"block": "b1"})], ("block",), "c1/host/h0: is there twice", id="twice"),
        pytest.param([], ("block", "block"), "levels of the tree: block, block", id="level-twice"),
        pytest.param([], ("rack",), "levels of the tree: rack, slices in one block", id="unit"),
    ],
)
def test_a_tree_that_cannot_be_is_refused_by_name(
    leaves: list[tuple[str, dict[str, str]]], levels: tuple[str, ...], told: str
) -> None:
    hosts = [Leaf(host_named(name), 4, labels) for name, labels in leaves]
    with pytest.raises(Misconfigured, match=told):
        TreeGround.of(ClusterId("c1"), V6E, hosts, levels=levels, unit="block")


def test_of_places_that_cost_the_same_the_lowest_is_taken_whatever_is_taken_of_each_unit() -> None:
    slow = Unit((Candidate(5, 0, frozenset({9}), healthy=False), Candidate(0, 1), Candidate(0, 2)), (0, 6, 6))
    next_door = Unit((Candidate(1, 3),), (0, 0))
    assert cheapest((slow, next_door), 2, {9: 0}) == Choice(6, (0, 3))


def test_the_cheapest_cover_is_that_of_all_sets() -> None:
    for dice in drawn_from(0):
        size = dice.randint(0, 7)
        weights, costs = [dice.randint(0, 5) for _ in range(size)], [dice.randint(0, 6) for _ in range(size)]
        need = dice.randint(0, 12)
        sets = [each for count in range(size + 1) for each in combinations(range(size), count)]
        enough = [(sum(costs[n] for n in each), len(each)) for each in sets if sum(weights[n] for n in each) >= need]
        cover = cheapest_cover(weights, costs, need)
        got = (cover.cost, len(cover.taken)) if cover is not None else None
        assert got == min(enough, default=None)
