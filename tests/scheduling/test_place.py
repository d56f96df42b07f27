"""A gang is placed whole where it costs least, or not at all and with what would help."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.changes import applied
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Standing, Window
from sliceward.scheduling.place import place, planned
from sliceward.scheduling.plan import Borrow, NoFit, Open, Plan, Release, Repair
from sliceward.scheduling.refusal import in_words
from sliceward.scheduling.request import Over, Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Promise, Running
from sliceward.topology.ids import ChipId, LinkId
from tests.builders import NOW, gang_id
from tests.scheduling.grounds import V6E, a_snapshot, asking, pools, running

if TYPE_CHECKING:
    from sliceward.scheduling.snapshot import Snapshot

THREE = pools()
HOSTS = tuple(THREE.hosts)
SICK = Standing(Grade.SICK, "not Ready")


def a_plan(snapshot: Snapshot, request: Request) -> Plan:
    found = place(snapshot, request)
    assert isinstance(found, Plan), found
    assert found == place(snapshot, request)
    return found


def a_refusal(snapshot: Snapshot, request: Request) -> NoFit:
    """Give the refusal, whose help is proven."""
    found = place(snapshot, request)
    assert isinstance(found, NoFit), found
    assert found == place(snapshot, request)
    changed = snapshot
    for change in found.helps:
        changed = applied(changed, change)
    assert not found.helps or isinstance(place(changed, request), Plan)
    return found


def where(plan: Plan) -> list[str]:
    return [cube.name for planned in plan.slices for cube in planned.cubes]


class TestPlaces:
    """The cheapest of all places."""

    def test_of_equal_places_the_lowest_is_taken(self) -> None:
        assert where(a_plan(a_snapshot(THREE), asking())) == ["pool-0"]

    def test_a_host_that_fails_often_is_left_alone_where_there_is_another(self) -> None:
        risky = a_snapshot(THREE).with_standing(HOSTS[1], Standing(risk=0.1))
        assert where(a_plan(risky, asking())) == ["pool-1"]

    def test_so_is_one_whose_maintenance_comes_while_the_gang_runs(self) -> None:
        window = Window(NOW + timedelta(hours=2), NOW + timedelta(hours=3))
        soon = a_snapshot(THREE).with_standing(HOSTS[1], Standing(window=window))
        assert where(a_plan(soon, asking())) == ["pool-1"]
        assert where(a_plan(soon, asking(lasts=3600.0))) == ["pool-0"]

    def test_a_degraded_host_is_used_only_by_who_accepts_it_and_last(self) -> None:
        degraded = a_snapshot(THREE).with_standing(HOSTS[0], Standing(Grade.DEGRADED, "a link is lost"))
        tolerant = Request(gang_id("g"), "t", (SliceAsked("slice", 0, Want(V6E, (4, 4), worst=Grade.DEGRADED)),))
        assert where(a_plan(degraded, tolerant)) == ["pool-1"]
        avoiding = replace(tolerant, avoid=frozenset(HOSTS[4:]))
        assert where(a_plan(degraded, avoiding)) == ["pool-0"]
        assert isinstance(place(degraded, replace(avoiding, slices=asking().slices)), NoFit)

    def test_spares_are_for_repairs(self) -> None:
        spare = replace(THREE, pools=(replace(THREE.pools[0], spare=True), *THREE.pools[1:]))
        assert where(a_plan(a_snapshot(spare), asking())) == ["pool-1"]
        heals = Request(gang_id("g"), "t", (SliceAsked("slice", 0, Want(V6E, (4, 4), heals=True)),))
        assert where(a_plan(a_snapshot(spare), heals)) == ["pool-0"]

    def test_hosts_that_are_promised_are_for_their_gang(self) -> None:
        promised = a_snapshot(THREE).with_promises(dict.fromkeys(HOSTS[:4], Promise(gang_id("g"))))
        assert where(a_plan(promised, asking("g"))) == ["pool-0"]
        assert where(a_plan(promised, asking("other"))) == ["pool-1"]

    def test_another_cluster_s_hosts_are_no_room(self) -> None:
        assert a_refusal(a_snapshot(THREE), replace(asking(), gang=gang_id("g", cluster="c2"))).cause is Cause.SHAPE


class TestSeveralSlices:
    """All of them or none."""

    def test_each_gets_a_place_of_its_own(self) -> None:
        found = a_plan(a_snapshot(THREE), asking("g", "4x4", "4x4", "4x4"))
        assert where(found) == ["pool-0", "pool-1", "pool-2"]
        assert len(found.hosts) == 12
        assert found.gap == 0.0

    def test_one_more_than_there_is_room_for_and_none_is_placed(self) -> None:
        assert a_refusal(a_snapshot(THREE), asking("g", *["4x4"] * 4)).helps == ()

    def test_shapes_are_not_confused(self) -> None:
        mixed = a_snapshot(THREE, pools(1, "4x8", pod="b1", prefix="long"))
        assert where(a_plan(mixed, asking("g", "4x4", "4x8"))) == ["pool-0", "long-0"]

    def test_packed_and_spread_over_blocks(self) -> None:
        blocks = a_snapshot(pools(2, pod="b0", prefix="a"), pools(3, pod="b1", prefix="b"), pools(2, pod="b2", prefix="c"))
        three = asking("g", "4x4", "4x4", "4x4")
        assert where(a_plan(blocks, replace(three, over=Over.PACKED))) == ["b-0", "b-1", "b-2"]
        assert where(a_plan(blocks, replace(three, over=Over.SPREAD))) == ["a-0", "b-0", "c-0"]

    def test_an_elastic_gang_gets_as_many_slices_as_fit(self) -> None:
        found = a_plan(a_snapshot(THREE), asking("g", *["4x4"] * 5, fewest=2))
        assert len(found.slices) == 3
        assert found.left_out == (("slice", 3), ("slice", 4))
        assert isinstance(place(a_snapshot(THREE), asking("g", *["4x4"] * 5, fewest=4)), NoFit)

    def test_an_elastic_gang_gets_as_many_slices_as_its_quota_pays(self) -> None:
        poor = a_snapshot(THREE).with_quota({("t", V6E): 40})
        assert len(a_plan(poor, asking("g", *["4x4"] * 3, fewest=1)).slices) == 2

    def test_roles_get_only_hosts_that_suit_them(self) -> None:
        slices = (SliceAsked("one", 0, Want(V6E, (4, 4))), SliceAsked("two", 0, Want(V6E, (4, 4))))
        unsuited = {"two": dict.fromkeys(HOSTS[4:], "lacks label team=red")}
        assert where(a_plan(a_snapshot(THREE), Request(gang_id("g"), "t", slices, unsuited=unsuited))) == ["pool-1", "pool-0"]

    def test_each_slice_has_a_domain_of_its_own_where_it_must(self) -> None:
        domains = {host: "left" if n < 8 else "right" for n, host in enumerate(HOSTS)}
        two = asking("g", "4x4", "4x4", domains=domains)
        assert where(a_plan(a_snapshot(THREE), two)) == ["pool-0", "pool-2"]
        held = a_snapshot(THREE).with_gang(running("other", THREE, slice(0, 4)))
        assert where(a_plan(held, replace(two, slices=two.slices[:1]))) == ["pool-2"]
        assert isinstance(place(held, two), NoFit)


class TestStaying:
    """Slices that sit well stay."""

    TWO = Running(gang_id("g"), "t", V6E, (HeldSlice("slice", 0, (4, 4), HOSTS[:4]), HeldSlice("slice", 1, (4, 4), HOSTS[8:])))

    def test_a_healthy_gang_stays_where_it_is_at_no_cost(self) -> None:
        found = a_plan(a_snapshot(THREE).with_gang(self.TWO), asking("g", "4x4", "4x4"))
        assert (found.moved, found.cost) == ((), 0)
        assert found.reasons == ("slice 0 stays in pool-0", "slice 1 stays in pool-2")

    def test_only_the_slice_that_is_hurt_moves(self) -> None:
        hurt = a_snapshot(THREE).with_gang(self.TWO).with_standing(HOSTS[8], SICK)
        assert [planned.index for planned in a_plan(hurt, asking("g", "4x4", "4x4")).moved] == [1]

    def test_no_slice_that_sits_well_is_moved_for_another_one(self) -> None:
        """The hurt slice may go to pool-0 and pool-1 alone, and the other slice sits in pool-0."""
        slices = (SliceAsked("one", 0, Want(V6E, (4, 4))), SliceAsked("two", 0, Want(V6E, (4, 4))))
        held = (HeldSlice("one", 0, (4, 4), HOSTS[:4]), HeldSlice("two", 0, (4, 4), HOSTS[4:8]))
        unsuited = {"two": dict.fromkeys(HOSTS[8:], "lacks label team=red")}
        two = Request(gang_id("g"), "t", slices, unsuited=unsuited)
        hurt = a_snapshot(THREE).with_gang(Running(gang_id("g"), "t", V6E, held)).with_standing(HOSTS[4], SICK)
        assert a_refusal(hurt, two).helps == (Repair((HOSTS[4],)),)

    def test_of_slices_alike_with_a_domain_each_to_move_a_whole_one_would_never_make_room_for_a_hurt_one(self) -> None:
        refused = 0
        for seed in range(300):
            dice = Random(seed)  # noqa: S311 (a story that can be told again)
            ground = pools(dice.randint(2, 6))
            domains = {host: pool.name for pool, hosts in ground.parts.items() for host in hosts}
            count = dice.randint(1, len(ground.pools))
            held = tuple(HeldSlice("slice", n, (4, 4), ground.pools[n].hosts) for n in range(count))
            sick = {host: SICK for host in ground.hosts if dice.random() < 0.1}
            hurt = a_snapshot(ground).with_gang(Running(gang_id("g"), "t", V6E, held)).with_standings(sick)
            request = asking("g", *["4x4"] * count, domains=domains)
            found = planned(hurt, request)
            assert (found is None) is (planned(hurt.without_gang(gang_id("g")), request) is None), seed
            refused += found is None
        assert 50 < refused < 250

    @pytest.mark.parametrize("accepts", [False, True])
    def test_a_slice_over_a_condemned_link_does_not_sit_well(self, accepts: bool) -> None:  # noqa: FBT001 (a table)
        link = LinkId.between(ChipId("c1", HOSTS[0].name, 0), ChipId("c1", HOSTS[1].name, 0))
        torn = a_snapshot(THREE).with_gang(self.TWO).with_links(THREE.id, [link])
        asked = asking("g", "4x4", "4x4")
        if accepts:
            asked = replace(
                asked, slices=tuple(replace(each, want=replace(each.want, broken_links=True)) for each in asked.slices)
            )
        assert where(a_plan(torn, asked)) == (["pool-0", "pool-2"] if accepts else ["pool-1", "pool-2"])

    def test_unknown_health_is_no_reason_to_sit_there_anew(self) -> None:
        unknown = a_snapshot(THREE).with_standing(HOSTS[0], Standing(Grade.UNKNOWN))
        assert where(a_plan(unknown, asking())) == ["pool-1"]

    def test_quota_counts_only_what_the_gang_does_not_hold_yet(self) -> None:
        full = a_snapshot(THREE).with_gang(self.TWO).with_quota({("t", V6E): 32})
        assert len(a_plan(full, asking("g", "4x4", "4x4")).slices) == 2
        over = full.with_quota({("t", V6E): 16})
        assert len(a_plan(over, asking("g", "4x4", "4x4")).slices) == 2


ALL = slice(0, 12)
SMALL_QUOTA = {("t", V6E): 8}
WHY_NOT: list[tuple[str, Snapshot, Cause, tuple[object, ...]]] = [
    ("quota", a_snapshot(THREE).with_quota(SMALL_QUOTA), Cause.QUOTA, (Borrow("t", V6E, 8),)),
    ("a host is sick", a_snapshot(pools(1)).with_standing(HOSTS[2], SICK), Cause.SICK, (Repair((HOSTS[2],)),)),
    (
        "one host is sick, two are elsewhere",
        a_snapshot(pools(2)).with_standings(dict.fromkeys([HOSTS[0], HOSTS[1], HOSTS[5]], SICK)),
        Cause.SICK,
        (Repair((HOSTS[5],)),),
    ),
    ("unknown", a_snapshot(pools(1)).with_standing(HOSTS[2], Standing(Grade.UNKNOWN)), Cause.SICK, (Repair((HOSTS[2],)),)),
    ("promised", a_snapshot(pools(1)).with_promises({HOSTS[0]: Promise(gang_id("x"))}), Cause.RESERVED, (Open((HOSTS[0],)),)),
    ("a stranger", a_snapshot(pools(1)).with_bars({HOSTS[0]: Bar(Cause.HELD, "a pod")}), Cause.RESERVED, (Open((HOSTS[0],)),)),
    ("held", a_snapshot(pools(1)).with_gang(running("x", THREE, slice(0, 4))), Cause.HELD, (Release((gang_id("x"),)),)),
    (
        "held by who borrows",
        a_snapshot(pools(1)).with_gang(running("x", THREE, slice(0, 4), tenant="u")).with_quota({("u", V6E): 0}),
        Cause.FAIRNESS,
        (Release((gang_id("x"),)),),
    ),
    (
        "held here and there",
        a_snapshot(pools(2)).with_gangs(running(f"x{n}", THREE, slice(n, n + 1), topology="2x2") for n in (0, 4)),
        Cause.FRAGMENTATION,
        (Release((gang_id("x0"),)),),
    ),
    (
        "sick and held",
        a_snapshot(pools(1)).with_gang(running("x", THREE, slice(0, 1), topology="2x2")).with_standing(HOSTS[3], SICK),
        Cause.HELD,
        (Repair((HOSTS[3],)), Release((gang_id("x"),))),
    ),
    ("no pool of that shape", a_snapshot(pools(1, "4x8")), Cause.SHAPE, ()),
]


@pytest.mark.parametrize(("snapshot", "cause", "helps"), [row[1:] for row in WHY_NOT], ids=[row[0] for row in WHY_NOT])
def test_a_refusal_has_one_cause_and_the_smallest_change_that_would_help(
    snapshot: Snapshot, cause: Cause, helps: tuple[object, ...]
) -> None:
    found = a_refusal(snapshot, asking())
    assert (found.cause, found.helps) == (cause, helps)
    assert in_words(found)


def test_quota_and_room_may_both_be_missing() -> None:
    full = a_snapshot(pools(1)).with_gang(running("x", THREE, slice(0, 4), tenant="u")).with_quota(SMALL_QUOTA)
    assert a_refusal(full, asking()).helps == (Borrow("t", V6E, 8), Release((gang_id("x"),)))


def test_what_is_in_the_way_is_counted_in_chips_and_said_pool_by_pool() -> None:
    mixed = a_snapshot(THREE).with_gang(running("x", THREE, slice(0, 4))).with_standings(dict.fromkeys(HOSTS[4:6], SICK))
    found = a_refusal(mixed, asking("g", "4x4", "4x4", avoid=frozenset(HOSTS[8:9])))
    assert found.chips == {Cause.HELD: 16, Cause.RESERVED: 4, Cause.SICK: 8}
    assert found.free == 20
    assert {no.part.name: no.why for no in found.rejected} == {
        "pool-0": "held by x (4 of 4 hosts, e.g. pool-0-host-0)",
        "pool-1": "not Ready (2 of 4 hosts, e.g. pool-1-host-0)",
        "pool-2": "to be avoided (1 of 4 hosts, e.g. pool-2-host-0)",
    }
    assert found.why == "needs 2 of 4x4; 0 of 3 cubes are free as a whole; the others: 1 held by x, 1 not Ready, 1 to be avoided"
    assert in_words(found).endswith("what would help: repair pool-1-host-0, pool-1-host-1 and wait for x to end, or displace it")


def test_many_who_hold_the_room_are_counted_and_few_are_named() -> None:
    ground = pools(6)
    for count, said in ((3, "1 held by g0, 1 held by g1, 1 held by g2"), (5, "5 held by 5 others")):
        held = [running(f"g{n}", ground, slice(4 * n, 4 * n + 4)) for n in range(count)]
        sick = dict.fromkeys(tuple(ground.hosts)[4 * count :: 4], SICK)
        no = place(a_snapshot(ground).with_gangs(held).with_standings(sick), asking("new"))
        assert isinstance(no, NoFit)
        assert f"the others: {said}" in no.why or f", {said}" in no.why
