"""Whom a gang displaces: the cheapest who may go, never what is another's own, and nobody who could stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from random import Random
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.costs import Costs
from sliceward.scheduling.displacement import Displacement, NobodyGoes, carried_out, displaced, request_of, running_of
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Standing
from sliceward.scheduling.place import planned
from sliceward.scheduling.repair import repair
from sliceward.scheduling.rights import Displaced, Right, rights_of
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from tests.builders import NOW, gang_id
from tests.scheduling.grounds import V6E, a_snapshot, asking, pools, running, shape
from tests.scheduling.tree.test_ground import a_ground

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.scheduling.request import Request
    from sliceward.topology.ids import GangId

ONE, TWO, THREE = pools(1), pools(2), pools(3)


def who(found: Displacement | NobodyGoes) -> dict[str, tuple[str, bool]]:
    """Give victims with their right, and whether they move."""
    assert isinstance(found, Displacement), found
    return {victim.gang.name: (victim.right.value, victim.moved is not None) for victim in found.victims}


def why(found: Displacement | NobodyGoes) -> tuple[Cause, str]:
    assert isinstance(found, NobodyGoes), found
    return found.cause, found.why


def on(pool: int, name: str, ground: object = THREE, **more: object) -> Running:
    return replace(running(name, ground, slice(4 * pool, 4 * pool + 4)), **more)  # type: ignore[arg-type]  # fields of Running


class TestRights:
    """Who may go by which right."""

    def test_a_gang_that_fits_displaces_nobody(self) -> None:
        found = displaced(a_snapshot(TWO).with_gang(on(0, "low", TWO)), asking(priority=9))
        assert who(found) == {}

    def test_of_its_own_tenant_it_displaces_lower_priority_alone(self) -> None:
        full = a_snapshot(ONE).with_gang(on(0, "a", ONE, priority=5))
        assert who(displaced(full, asking(priority=6))) == {"a": ("InClusterQueue", False)}
        assert why(displaced(full, asking(priority=5)))[1].endswith("others stay: 1 not of lower priority")

    def test_of_another_tenant_it_displaces_lower_priority_that_nothing_guarantees(self) -> None:
        full = a_snapshot(ONE).with_gang(on(0, "a", ONE, tenant="u"))
        assert who(displaced(full, asking(priority=1))) == {"a": ("InCohortReclaimWhileBorrowing", False)}

    def test_what_a_protected_tenant_has_within_its_quota_is_a_wall_to_any_priority(self) -> None:
        full = replace(a_snapshot(ONE), quota={("u", V6E): 16}, protected=frozenset({"u"})).with_gang(on(0, "a", ONE, tenant="u"))
        cause, told = why(displaced(full, asking(priority=1_000_000)))
        assert cause is Cause.FAIRNESS
        assert "1 within a guaranteed quota; t would borrow 16 of 16 chips, 0 would be its fair part" in told
        mine = displaced(full, asking("b", priority=1, tenant="u"))
        assert who(mine) == {"a": ("InClusterQueue", False)}

    def test_where_its_quota_is_short_a_gang_displaces_its_own_tenants_though_others_were_cheaper(self) -> None:
        gangs = [on(0, "own", TWO, priority=1), on(1, "other", TWO, tenant="u")]
        short = replace(a_snapshot(TWO), quota={("t", V6E): 16}).with_gangs(gangs)
        assert who(displaced(short, asking(priority=2))) == {"own": ("InClusterQueue", False)}

    def test_a_gang_that_is_half_within_the_quota_is_within_it(self) -> None:
        half = replace(a_snapshot(ONE), quota={("u", V6E): 8}, protected=frozenset({"u"})).with_gang(on(0, "a", ONE, tenant="u"))
        assert isinstance(displaced(half, asking(priority=9)), NobodyGoes)
        over = half.with_quota({("u", V6E): 0})
        assert who(displaced(over, asking(priority=9))) == {"a": ("InCohortReclaimWhileBorrowing", False)}

    def test_of_a_protected_tenant_as_many_go_as_are_beyond_its_quota_and_no_more(self) -> None:
        gangs = [on(0, "u0", tenant="u"), on(1, "u1", tenant="u"), on(2, "w", tenant="w", priority=3)]
        guaranteed = replace(a_snapshot(THREE), quota={("u", V6E): 16}, protected=frozenset({"u"})).with_gangs(gangs)
        two = asking("g", "4x4", "4x4", priority=9)
        assert set(who(displaced(guaranteed, two))) == {"u0", "w"}
        assert isinstance(displaced(guaranteed, replace(two, priority=2)), NobodyGoes)
        assert set(who(displaced(replace(guaranteed, protected=frozenset()), replace(two, priority=2)))) == {"u0", "u1"}

    def test_a_tenant_within_its_quota_takes_back_what_others_borrow_whatever_their_priority(self) -> None:
        lent = replace(a_snapshot(ONE), quota={("t", V6E): 16}).with_gang(on(0, "a", ONE, tenant="u", priority=9))
        assert who(displaced(lent, asking())) == {"a": ("InCohortReclamation", False)}
        assert isinstance(displaced(replace(lent, quota={}), asking()), NobodyGoes)

    def test_a_hurt_gang_of_a_tenant_that_borrows_takes_nothing_back(self) -> None:
        two = tuple(HeldSlice("slice", n, shape("4x4"), tuple(THREE.hosts)[4 * n : 4 * n + 4]) for n in range(2))
        gangs = [Running(gang_id("hurt"), "t", V6E, two), on(2, "a", tenant="u", priority=9)]
        cut = replace(a_snapshot(THREE), quota={("t", V6E): 20}).with_gangs(gangs)
        broken = cut.with_standing(two[1].hosts[0], Standing(Grade.SICK, "no heartbeat"))
        assert not any(way.victims for way in repair(broken, asked_by(gangs[0])).open)
        whole = broken.with_quota({("t", V6E): 32})
        assert repair(whole, asked_by(gangs[0])).best.victims == (gang_id("a"),)

    def test_borrowers_of_one_priority_share_alike(self) -> None:
        three = a_snapshot(THREE).with_gangs([on(n, f"a{n}", tenant="u") for n in range(3)])
        shared = replace(three, quota={("v", V6E): 0})
        first = displaced(shared, asking("b0"))
        assert {right for right, _ in who(first).values()} == {"InCohortFairSharing"}
        assert isinstance(first, Displacement)
        after = carried_out(shared, asking("b0"), first)
        assert isinstance(displaced(after, asking("b1")), NobodyGoes)

    def test_with_too_little_quota_of_its_own_nobody_goes(self) -> None:
        full = replace(a_snapshot(ONE), quota={("t", V6E): 8}).with_gang(on(0, "a", ONE, tenant="u"))
        assert why(displaced(full, asking(priority=9)))[0] is Cause.QUOTA

    def test_where_whoever_went_there_were_no_room_the_cause_is_another(self) -> None:
        sick = a_snapshot(ONE).with_standing(next(iter(ONE.hosts)), Standing(Grade.SICK, "no heartbeat"))
        assert why(displaced(sick, asking(priority=9))) == (Cause.SICK, "whoever went, there would be no room")


class TestPrice:
    """The cheapest victims go."""

    @pytest.mark.parametrize(
        "cheaper",
        [
            pytest.param({"checkpointed": NOW - timedelta(minutes=1)}, id="saved-lately"),
            pytest.param({"restarts_in": 10.0}, id="starts-fast"),
            pytest.param({"priority": 0}, id="priority"),
            pytest.param({"displaced": ()}, id="not-displaced-before"),
        ],
    )
    def test_the_cheaper_of_two_goes(self, cheaper: dict[str, object]) -> None:
        dear = {
            "checkpointed": NOW - timedelta(hours=1),
            "restarts_in": 600.0,
            "priority": 1,
            "displaced": (NOW - timedelta(hours=3),),
        }
        for cheap in (0, 1):
            gangs = [on(n, f"a{n}", TWO, **(dear | cheaper if n == cheap else dear)) for n in range(2)]
            assert set(who(displaced(a_snapshot(TWO).with_gangs(gangs), asking(priority=9)))) == {f"a{cheap}"}

    def test_a_victim_costs_what_the_page_says(self) -> None:
        told = {"checkpointed": NOW - timedelta(seconds=100), "restarts_in": 40.0, "displaced": (NOW - timedelta(hours=1),)}
        full = a_snapshot(ONE).with_gang(on(0, "a", ONE, **told))
        costs = Costs()
        seconds = costs.drain + costs.place + 40 + 100 + costs.again + costs.queue
        found = displaced(full, asking(priority=9))
        assert isinstance(found, Displacement)
        assert found.cost == pytest.approx(16 * seconds)
        assert str(found.victims[0]) == f"a ends (InClusterQueue): {16 * seconds:,.0f} chip-seconds"

    def test_one_displaced_over_and_over_is_displaced_no_more_where_another_can_go(self) -> None:
        snapshot, gone = a_snapshot(TWO), [0, 0]
        for turn in range(8):
            times = [tuple(NOW - timedelta(minutes=each + 1) for each in range(count)) for count in gone]
            gangs = [on(n, f"a{n}", TWO, displaced=times[n]) for n in range(2)]
            found = displaced(snapshot.with_gangs(gangs), asking(f"g{turn}", priority=9))
            (name,) = who(found)
            gone[int(name[1])] += 1
        assert gone == [4, 4]

    def test_of_two_grounds_the_one_with_the_cheaper_victims_is_cleared(self) -> None:
        other = pools(1, pod="b1", prefix="other")
        gangs = [on(0, "dear", ONE, priority=3), replace(running("cheap", other, slice(0, 4)), priority=1)]
        assert set(who(displaced(a_snapshot(ONE, other).with_gangs(gangs), asking(priority=9)))) == {"cheap"}


class TestMoves:
    """A victim that finds another place moves there."""

    def test_a_small_gang_moves_out_of_the_way_of_a_large_one(self) -> None:
        ground = a_ground({"r0": 4, "r1": 4})
        small = [Running(gang_id(f"s{n}"), "t", V6E, (held(ground, [at]),)) for n, at in enumerate((0, 4, 5))]
        snapshot = a_snapshot(ground).with_gangs(small)
        found = displaced(snapshot, asking(priority=1))
        assert who(found) == {"s0": ("InClusterQueue", True)}
        assert isinstance(found, Displacement)
        after = carried_out(snapshot, asking(priority=1), found)
        assert after.gangs[gang_id("s0")].displaced == (NOW,)
        assert set(after.gangs) == {gang_id(name) for name in ("g", "s0", "s1", "s2")}

    def test_who_can_move_goes_rather_than_who_must_end_though_it_costs_more_to_stop(self) -> None:
        big, small = pools(1), a_ground({"r0": 2, "r1": 4})
        ends = on(0, "ends", big, checkpointed=NOW)
        moves = Running(gang_id("moves"), "t", V6E, (held(small, [2], "2x2"),), checkpointed=NOW - timedelta(hours=2))
        found = displaced(a_snapshot(big, small).with_gangs([ends, moves]), asking(priority=1))
        assert who(found) == {"moves": ("InClusterQueue", True)}

    def test_a_victim_goes_where_its_own_request_lets_it(self) -> None:
        ground = a_ground({"r0": 4, "r1": 1})
        small = Running(gang_id("s"), "t", V6E, (held(ground, [0]),))
        snapshot = a_snapshot(ground).with_gang(small)
        assert who(displaced(snapshot, asking(priority=1))) == {"s": ("InClusterQueue", True)}
        picky = replace(asked_by(small), avoid=frozenset({tuple(ground.hosts)[4]}))
        assert who(displaced(snapshot, asking(priority=1), requests={small.id: picky})) == {"s": ("InClusterQueue", False)}

    def test_a_victim_of_unknown_shape_ends_for_nobody_knows_where_it_could_go(self) -> None:
        odd = on(0, "odd", TWO)
        odd = replace(odd, slices=(replace(odd.slices[0], shape=()),))
        full = a_snapshot(TWO).with_gangs([odd, on(1, "dear", TWO, priority=9)])
        assert who(displaced(full, asking(priority=1))) == {"odd": ("InClusterQueue", False)}


class TestNoPingPong:
    """Nobody comes back for its displacer, and who was displaced waits."""

    def test_a_displaced_gang_does_not_displace_its_displacer_nor_whoever_displaced_that(self) -> None:
        full = replace(a_snapshot(ONE), quota={("u", V6E): 16}).with_gang(on(0, "a", ONE, tenant="t", priority=0))
        back = asking("b", tenant="u")
        assert who(displaced(full, back)) == {"a": ("InCohortReclamation", False)}
        hours = NOW - timedelta(hours=2)
        direct = [Displaced(gang_id("b"), gang_id("a"), hours)]
        by_another = [Displaced(gang_id("b"), gang_id("x"), hours), Displaced(gang_id("x"), gang_id("a"), hours)]
        for past in (direct, by_another):
            assert "1 displaced it before" in why(displaced(full, back, past))[1]
        forgotten = [Displaced(gang_id("b"), gang_id("a"), NOW - timedelta(days=2))]
        assert who(displaced(full, back, forgotten)) == {"a": ("InCohortReclamation", False)}

    def test_a_victim_that_comes_back_makes_no_victims(self) -> None:
        snapshot = a_snapshot(TWO).with_gangs([on(0, "mid", TWO, priority=5), on(1, "low", TWO, priority=0)])
        past = [Displaced(gang_id("back"), gang_id("mid"), NOW - timedelta(minutes=5))]
        assert why(displaced(snapshot, asking("back", priority=3), past)) == (
            Cause.FAIRNESS,
            "it was displaced itself a short while ago, and waits for room that is free",
        )
        assert who(displaced(snapshot.later(4_000), asking("back", priority=3), past)) == {"low": ("InClusterQueue", False)}
        free = snapshot.without_gang(gang_id("low"))
        assert who(displaced(free, asking("back", priority=3), past)) == {}


def held(ground: object, places: Iterable[int], text: str = "2x2") -> HeldSlice:
    hosts = tuple(ground.hosts)  # type: ignore[attr-defined]  # any ground
    return HeldSlice("slice", 0, shape(text), tuple(hosts[place] for place in places))


def asked_by(gang: Running) -> Request:
    asked = request_of(gang)
    assert asked is not None
    return asked


def a_drawn_case(dice: Random) -> tuple[Snapshot, Request]:
    """Draw a full little fleet, of pools and a tree, with tenants some of whom have a quota that is guaranteed."""
    tree, pool = a_ground({"r0": 4, "r1": 4}), pools(1, pod="b1")
    snapshot = a_snapshot(tree, pool)
    quota = {(tenant, V6E): dice.choice((0, 8, 16, 24)) for tenant in ("u", "v") if dice.random() < 0.6}
    snapshot = replace(snapshot, protected=frozenset(dice.sample(["u", "v"], dice.randint(0, 2))))
    for number in range(dice.randint(3, 5)):
        texts = dice.choice((("2x2",), ("2x4",), ("4x4",), ("2x2", "2x2")))
        request = asking(f"a{number}", *texts, tenant=dice.choice("tuv"), priority=dice.randint(0, 2))
        plan = planned(snapshot, request)
        if plan is not None:
            saved = NOW - timedelta(seconds=dice.randint(0, 7_200))
            snapshot = snapshot.with_gang(replace(running_of(request, plan), checkpointed=saved))
    if dice.random() < 0.3:
        snapshot = snapshot.with_standing(dice.choice(list(tree.hosts)), Standing(Grade.SICK, "no heartbeat"))
    if dice.random() < 0.2:
        snapshot = snapshot.with_bars({dice.choice(list(tree.hosts)): Bar(Cause.RESERVED, "cordoned")})
    texts = dice.choice((("2x4",), ("4x4",), ("2x4", "2x2"), ("4x4", "2x4")))
    return snapshot.with_quota(quota), asking("new", *texts, tenant=dice.choice("tuv"), priority=dice.randint(0, 3))


def all_ways(snapshot: Snapshot, request: Request) -> dict[tuple[GangId, ...], float]:
    """Give what every set of gangs that may go costs whose going makes room, by the definition."""
    rights = rights_of(snapshot, request)
    steps = {p: n for n, p in enumerate(sorted({snapshot.gangs[gang].priority for gang in rights.right}))}
    found = {}
    for size in range(len(rights.right) + 1):
        for gangs in combinations(sorted(rights.right), size):
            after = snapshot
            for gang in gangs:
                after = after.without_gang(gang)
            plan = planned(after, request)
            if plan is None or rights.over(gangs):
                continue
            after, cost = after.with_gang(running_of(request, plan)), 0.0
            for running_ in sorted((snapshot.gangs[g] for g in gangs), key=lambda g: (-g.priority, -len(g.hosts), g.id)):
                plan = planned(after, asked_by(running_))
                after = after.with_gang(running_of(asked_by(running_), plan, running_)) if plan is not None else after
                saved = (NOW - (running_.checkpointed or NOW)).total_seconds()
                costs = snapshot.costs
                seconds = costs.drain + costs.place + costs.restart + saved + (costs.queue if plan is None else 0)
                cost += len(running_.hosts) * 4 * seconds * costs.weight ** steps[running_.priority]
            found[gangs] = cost
    return found


@pytest.mark.parametrize("first", [0, 100, 200, 300])
def test_victims_are_close_to_the_cheapest_of_all_sets_and_their_gap_is_true(first: int) -> None:
    compared = 0
    for seed in range(first, first + 100):
        snapshot, request = a_drawn_case(Random(seed))  # noqa: S311 (draws of a test)
        ways = all_ways(snapshot, request)
        found = displaced(snapshot, request)
        if isinstance(found, NobodyGoes):
            assert not ways, seed
            continue
        victims = tuple(sorted(victim.gang for victim in found.victims))
        least = min(ways.values())
        assert found.cost == pytest.approx(ways[victims]), seed
        assert found.cost <= 1.05 * least + 1e-6, (seed, found.cost, ways)
        assert found.gap is None or found.cost <= (1 + found.gap) * least + 1e-6, seed
        after = carried_out(snapshot, request, found)
        assert not any(after.grounds[after.ground_of[host]].occupancy.why_not(host) is None for host in found.plan.hosts)
        assert kept_its_own(snapshot, after, request.tenant), seed
        compared += len(victims) > 0
    assert compared >= 10


def a_larger_case(dice: Random) -> tuple[Snapshot, Request]:
    """Draw a fleet of three racks and two pools that is nearly full of up to nine gangs, most of them small."""
    snapshot = a_snapshot(a_ground({"r0": 5, "r1": 5, "r2": 3}), pools(2, pod="b1"))
    for number in range(14):
        texts = dice.choice((("2x2",), ("2x4",), ("4x4",), ("2x2", "2x2"), ("2x2",)))
        request = asking(f"a{number:02}", *texts, tenant=dice.choice("tuv"), priority=dice.randint(0, 2))
        plan = planned(snapshot, request)
        if plan is not None and len(snapshot.gangs) < 9:
            saved = NOW - timedelta(seconds=dice.randint(0, 7_200))
            snapshot = snapshot.with_gang(replace(running_of(request, plan), checkpointed=saved))
    texts = dice.choice((("2x4",), ("4x4",), ("2x4", "2x2"), ("4x4", "2x4")))
    return snapshot, asking("new", *texts, tenant=dice.choice("tuv"), priority=dice.randint(1, 3))


def test_of_more_gangs_than_can_be_gone_through_the_victims_are_close_to_the_cheapest_too() -> None:
    compared = 0
    for seed in range(12):
        snapshot, request = a_larger_case(Random(seed))  # noqa: S311 (draws of a test)
        found = displaced(snapshot, request)
        if isinstance(found, Displacement) and found.victims:
            least = min(all_ways(snapshot, request).values())
            assert found.cost <= 1.05 * least, (seed, found.cost, least)
            assert found.gap is None or found.cost <= (1 + found.gap) * least + 1e-6, seed
            compared += 1
    assert compared >= 6


def kept_its_own(before: Snapshot, after: Snapshot, but: str) -> bool:
    """Whether every protected tenant but one holds as much of its quota as before."""
    return all(
        after.usage.get(account, 0) >= min(before.usage.get(account, 0), chips)
        for account, chips in before.quota.items()
        if account[0] in before.protected and account[0] != but
    )


def test_rights_are_told_by_their_names_in_kueue() -> None:
    assert {right.value for right in Right} == {
        "InClusterQueue",
        "InCohortReclamation",
        "InCohortReclaimWhileBorrowing",
        "InCohortFairSharing",
    }
