"""What to do for a gang that is hurt: every way with its price, the cheapest first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.candidates import Choice, Way
from sliceward.scheduling.costs import DAY, Costs
from sliceward.scheduling.ground import Want
from sliceward.scheduling.harm import Effect, Seen
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.prices import Figure, Item
from sliceward.scheduling.repair import repair
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.scheduling.tree.lie import Leaf
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import ChipId, ClusterId, HostId, LinkId
from tests.builders import NOW, gang_id
from tests.scheduling.grounds import V6E, pools, shape
from tests.scheduling.tree.builders import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.ground import Ground

OUTAGE = 60 + 5 + 600
"""Drain, placement and restart as `Costs` assumes them: pools need no time to form."""


def gang_on(ground: Ground, slices: int, name: str = "llm") -> Running:
    """Give a gang of 4x4 slices on the first pools, 5 minutes after its checkpoint, 10 minutes before the next."""
    hosts = tuple(ground.hosts)
    held = tuple(HeldSlice("slice", n, shape("4x4"), hosts[4 * n : 4 * n + 4]) for n in range(slices))
    return Running(
        gang_id(name), "t", V6E, held, checkpointed=NOW - timedelta(minutes=5), checkpoints_every=900.0, step=4.0, lasts=DAY
    )


def request_of(gang: Running) -> Request:
    slices = tuple(SliceAsked(held.role, held.index, Want(gang.generation, held.shape)) for held in gang.slices)
    return Request(gang.id, gang.tenant, slices, lasts=gang.lasts)


def chosen(snapshot: Snapshot, seen: Seen | None = None) -> Choice:
    return repair(snapshot, request_of(snapshot.gangs[gang_id("llm")]), seen or Seen())


def standing(grade: Grade, hosts: Sequence[HostId]) -> dict[HostId, Standing]:
    return dict.fromkeys(hosts, Standing(grade, "seen"))


def a_hurt_gang(grade: Grade = Grade.SICK, *, slices: int = 1, free: int = 2, hurt: int = 1, **more: object) -> Snapshot:
    """Give a fleet of pools of which the first so many are the gang's, with one part of each of its last ``hurt`` slices failed."""
    ground = pools(slices + free)
    gang = replace(gang_on(ground, slices), **more)  # type: ignore[arg-type]  # fields of a gang by name
    snapshot = Snapshot.of(NOW, [ground], gangs=[gang])
    return snapshot.with_standings(standing(grade, [held.hosts[0] for held in gang.slices[slices - hurt :]]))


def test_a_gang_of_which_nothing_failed_stays() -> None:
    found = chosen(a_hurt_gang(Grade.HEALTHY))
    assert [(each.way, each.price) for each in found.open] == [(Way.STAY, 0.0)]
    assert not found.harms


def test_unknown_health_alone_is_no_reason_to_move() -> None:
    found = chosen(a_hurt_gang(Grade.UNKNOWN))
    assert [(each.way, each.price) for each in found.open] == [(Way.STAY, 0.0)]


def test_a_sick_part_takes_the_gang_to_a_free_pool_at_the_price_of_an_outage() -> None:
    best = chosen(a_hurt_gang()).best
    assert best.way is Way.RESTITCH
    assert best.bill.of(Item.DRAIN, Item.PLACE, Item.RESTART) == 16 * OUTAGE
    assert best.bill.of(Item.DETECT) == 16 * 60
    assert best.bill.of(Item.LOST) == 16 * 300
    assert [planned.cubes[0].name for planned in best.slices] == ["pool-1"]


def test_all_ways_are_told_with_a_price_or_a_reason() -> None:
    found = chosen(a_hurt_gang())
    assert {each.way for each in found.open} | {each.way for each in found.closed} == set(Way)
    assert not {each.way for each in found.open} & {each.way for each in found.closed}
    assert [each.price for each in found.open] == sorted(each.price for each in found.open)
    assert all(each.why for each in found.open)
    assert all(each.why for each in found.closed)


def test_each_number_of_a_price_says_where_it_is_from_and_how_old_it_is() -> None:
    best = chosen(a_hurt_gang(restarts_in=240.0), Seen(at=NOW - timedelta(seconds=7), since=NOW - timedelta(seconds=20))).best
    told = {line.item: line.figures[0] for line in best.bill.lines}
    assert told[Item.RESTART] == Figure(240.0, "its last restart", 7.0)
    assert told[Item.LOST] == Figure(300.0, "since its last checkpoint", 7.0)
    assert told[Item.DETECT] == Figure(20.0, "since it failed")
    assert told[Item.DRAIN] == Figure(60.0, "assumed: drain")


def test_a_gang_that_limps_goes_on_to_the_next_checkpoint_and_moves_then() -> None:
    best = chosen(a_hurt_gang(Grade.DEGRADED)).best
    assert (best.way, best.then, best.at) == (Way.LIMP, Way.RESTITCH, NOW + timedelta(minutes=10))
    assert best.bill.of(Item.LIMP) == pytest.approx(16 * 600 * 0.2)
    assert best.bill.of(Item.LOST) == 0


def test_a_gang_that_hardly_limps_stays() -> None:
    best = chosen(a_hurt_gang(Grade.DEGRADED), Seen(slower=Figure(0.001, "rate", 4))).best
    assert best.way is Way.STAY
    assert best.bill.of(Item.LIMP) == pytest.approx(16 * DAY * 0.001)


def test_a_gang_that_limps_badly_moves_at_once() -> None:
    best = chosen(a_hurt_gang(Grade.DEGRADED), Seen(slower=Figure(0.9, "rate", 4))).best
    assert best.way is Way.RESTITCH
    assert best.bill.of(Item.LOST) == 16 * 300


def test_a_gang_that_saves_itself_when_asked_loses_no_step_and_does_not_limp() -> None:
    best = chosen(a_hurt_gang(Grade.DEGRADED), Seen(saves=True)).best
    assert best.way is Way.RESTITCH
    assert best.bill.of(Item.LOST) == 0


def test_a_gang_that_stands_still_saves_nothing_when_asked() -> None:
    assert chosen(a_hurt_gang(), Seen(saves=True)).best.bill.of(Item.LOST) == 16 * 300


@pytest.mark.parametrize(
    ("grade", "seen"),
    [(Grade.SICK, Seen()), (Grade.DEGRADED, Seen(slower=Figure(1.0, "rate", 4)))],
    ids=["sick", "without a step"],
)
def test_who_stands_neither_stays_nor_limps(grade: Grade, seen: Seen) -> None:
    found = chosen(a_hurt_gang(grade), seen)
    assert found.of(Way.STAY) is None
    assert found.of(Way.LIMP) is None


def test_a_sick_part_that_only_slows_is_limped_on() -> None:
    snapshot = a_hurt_gang()
    host = snapshot.gangs[gang_id("llm")].hosts[0]
    assert chosen(snapshot, Seen(effects={host: Effect.SLOWS})).best.way is Way.LIMP


@pytest.mark.parametrize(
    ("checkpointed", "every", "why"),
    [
        (None, 900.0, "not known"),
        (NOW - timedelta(minutes=5), None, "not known"),
        (NOW - timedelta(minutes=20), 900.0, "overdue since 11:55:00"),
    ],
)
def test_nobody_limps_to_a_checkpoint_that_may_never_come(checkpointed: datetime | None, every: float | None, why: str) -> None:
    found = chosen(a_hurt_gang(Grade.DEGRADED, checkpointed=checkpointed, checkpoints_every=every))
    assert next(why in each.why for each in found.closed if each.way is Way.LIMP)


def test_where_no_checkpoint_is_known_half_of_the_time_between_two_is_lost() -> None:
    best = chosen(a_hurt_gang(checkpointed=None)).best
    assert best.bill.of(Item.LOST) == 16 * 450


def test_a_whole_slice_keeps_its_place_whatever_happens_to_the_others() -> None:
    snapshot = a_hurt_gang(slices=4, free=3, hurt=2)
    found = chosen(snapshot)
    assert {(planned.role, planned.index) for each in found.open for planned in each.slices} == {("slice", 2), ("slice", 3)}
    whole = {host for held in snapshot.gangs[gang_id("llm")].slices[:2] for host in held.hosts}
    assert not any(whole.intersection(planned.hosts) for each in found.open for planned in each.slices)


def test_with_too_little_room_for_all_hurt_slices_none_moves() -> None:
    found = chosen(a_hurt_gang(slices=4, free=1, hurt=2))
    assert found.of(Way.RESTITCH) is None
    assert found.of(Way.MOVE) is None
    assert found.best.way is Way.WAIT


def test_a_full_pod_is_left_for_another_one() -> None:
    full, other = pools(1), pools(1, pod="b1", prefix="other")
    gang = gang_on(full, 1)
    snapshot = Snapshot.of(NOW, [full, other], gangs=[gang]).with_standings(standing(Grade.SICK, gang.hosts[:1]))
    found = chosen(snapshot)
    assert found.best.way is Way.MOVE
    assert [planned.ground.name for planned in found.best.slices] == ["b1"]
    assert "no room in its own pods" in next(each.why for each in found.closed if each.way is Way.RESTITCH)


def test_two_hurt_slices_never_take_the_same_host() -> None:
    """What one slice keeps is not free for the other, though both are being mended."""
    leaves = [Leaf(HostId("c1", f"h{n}"), 4, dict(zip(LEVELS, ("b0", "r0", f"h{n}"), strict=True))) for n in range(6)]
    tree = TreeGround.of(ClusterId("c1"), V6E, leaves, levels=LEVELS, unit=LEVELS[1])
    hosts = [leaf.id for leaf in leaves]
    held = tuple(HeldSlice("slice", n, shape("2x4"), (hosts[2 * n], hosts[2 * n + 1])) for n in range(2))
    snapshot = Snapshot.of(NOW, [tree], gangs=[Running(gang_id("llm"), "t", V6E, held)])
    found = chosen(snapshot.with_standings(standing(Grade.SICK, [hosts[1], hosts[2]]))).of(Way.SWAP)
    assert found is not None
    assert sorted(host.name for planned in found.slices for host in planned.hosts) == ["h0", "h3", "h4", "h5"]
    assert [planned.hosts[0].name for planned in found.slices] == ["h0", "h3"]


def a_crowded_fleet() -> tuple[Snapshot, Request, Request]:
    """Give a hurt gang and one of less priority in a healthy pool; both would put up with the one free pool, which is degraded."""
    ground = pools(3)
    gang, hosts = gang_on(ground, 1), tuple(ground.hosts)
    other = Running(gang_id("low"), "t", V6E, (HeldSlice("slice", 0, shape("4x4"), hosts[4:8]),), checkpointed=NOW)
    snapshot = Snapshot.of(NOW, [ground], gangs=[replace(gang, priority=5), other])
    known = {hosts[0]: Standing(Grade.SICK, "failed"), hosts[8]: Standing(Grade.DEGRADED, "slow")}
    slices = (SliceAsked("slice", 0, Want(V6E, shape("4x4"), worst=Grade.DEGRADED)),)
    asked = Request(gang.id, "t", slices, priority=5, lasts=DAY)
    return snapshot.with_standings(known), asked, Request(other.id, "t", slices)


def test_who_would_limp_for_long_displaces_a_gang_of_less_priority() -> None:
    snapshot, request, other = a_crowded_fleet()
    best = repair(snapshot, request, requests={other.gang: other}).best
    assert (best.way, best.victims) == (Way.RESTITCH, (other.gang,))
    assert [planned.cubes[0].name for planned in best.slices] == ["pool-1"]
    assert best.bill.of(Item.DISPLACED) > 0


def test_nobody_displaces_a_gang_of_more_priority() -> None:
    snapshot, request, other = a_crowded_fleet()
    running = replace(snapshot.gangs[other.gang], priority=9)
    important = snapshot.without_gang(other.gang).with_gang(running)
    best = repair(important, request, requests={other.gang: replace(other, priority=9)}).best
    assert best.victims == ()
    assert [planned.cubes[0].name for planned in best.slices] == ["pool-2"]


def test_a_pool_with_a_condemned_link_is_no_new_place() -> None:
    snapshot = a_hurt_gang(free=1)
    ends = [ChipId("c1", f"pool-1-host-{n}", 0) for n in range(2)]
    (ground,) = snapshot.grounds
    assert chosen(snapshot).of(Way.RESTITCH) is not None
    assert chosen(snapshot.with_links(ground, [LinkId.between(*ends)])).of(Way.RESTITCH) is None


def test_a_condemned_link_under_the_gang_is_limped_on_and_left() -> None:
    snapshot = a_hurt_gang(Grade.HEALTHY)
    ends = [ChipId("c1", f"pool-0-host-{n}", 0) for n in range(2)]
    (ground,) = snapshot.grounds
    best = chosen(snapshot.with_links(ground, [LinkId.between(*ends)])).best
    assert (best.way, best.then) == (Way.LIMP, Way.RESTITCH)


def test_an_elastic_gang_goes_on_beside_the_slice_that_forms_anew() -> None:
    best = chosen(a_hurt_gang(slices=4, free=1, fewest=2, most=4)).best
    assert best.way is Way.RESTITCH
    assert best.bill.of(Item.DRAIN, Item.PLACE, Item.RESTART) == 16 * OUTAGE
    assert best.bill.of(Item.RECONFIGURE) == 64 * 2 * 60
    assert best.bill.of(Item.LOST) == 64 * 4


def test_an_elastic_gang_without_room_shrinks_until_the_repair() -> None:
    snapshot = a_hurt_gang(slices=4, free=0, fewest=2, most=4)
    host = snapshot.gangs[gang_id("llm")].slices[3].hosts[0]
    best = chosen(snapshot, Seen(repairs={host: Figure(7_200.0, "the provider", 60)})).best
    assert (best.way, best.left_out) == (Way.SHRINK, (("slice", 3),))
    assert best.bill.of(Item.IDLE) == 16 * 7_200
    assert best.bill.of(Item.RECONFIGURE) == 64 * 2 * 60


def test_a_repair_after_the_end_of_the_gang_brings_nothing_back() -> None:
    best = chosen(a_hurt_gang(slices=4, free=0, fewest=2, most=4, lasts=3_600.0)).best
    assert best.way is Way.SHRINK
    assert best.bill.of(Item.IDLE) == 16 * 3_600
    assert best.bill.of(Item.RECONFIGURE) == 64 * 60


def test_a_gang_does_not_shrink_below_the_fewest_slices_that_it_can_do_with() -> None:
    found = chosen(a_hurt_gang(slices=4, free=0, hurt=3, fewest=2, most=4))
    assert found.of(Way.SHRINK) is None
    assert found.best.way is Way.WAIT


def test_a_short_repair_is_waited_for_and_a_long_one_is_not() -> None:
    snapshot = a_hurt_gang()
    host = snapshot.gangs[gang_id("llm")].hosts[0]
    assert chosen(snapshot, Seen(repairs={host: Figure(1.0, "the provider")})).best.way is Way.WAIT
    assert chosen(snapshot, Seen(repairs={host: Figure(3_600.0, "the provider")})).best.way is Way.RESTITCH


def test_the_last_of_several_repairs_is_waited_for() -> None:
    snapshot = a_hurt_gang(slices=2, hurt=2, free=0)
    one, other = (held.hosts[0] for held in snapshot.gangs[gang_id("llm")].slices)
    found = chosen(snapshot, Seen(repairs={one: Figure(60.0, "the provider"), other: Figure(600.0, "the provider")})).of(Way.WAIT)
    assert found is not None
    assert found.bill.of(Item.WAIT) == 32 * 600


def test_a_gang_that_would_wait_longer_than_in_the_queue_is_evicted() -> None:
    snapshot = a_hurt_gang(free=0)
    assert chosen(replace(snapshot, costs=Costs(queue=600.0))).best.way is Way.EVICT


def test_of_ways_that_cost_the_same_the_gentlest_comes_first() -> None:
    one, other = pools(2), pools(1, pod="b1", prefix="other")
    gang = gang_on(one, 1)
    found = chosen(Snapshot.of(NOW, [one, other], gangs=[gang]).with_standings(standing(Grade.SICK, gang.hosts[:1])))
    assert [each.way for each in found.open[:2]] == [Way.RESTITCH, Way.MOVE]
    assert found.open[0].price == found.open[1].price


def test_a_gang_that_does_not_run_cannot_be_repaired() -> None:
    gang = gang_on(pools(), 1)
    with pytest.raises(Misconfigured, match="does not run"):
        repair(Snapshot.of(NOW, [pools()]), request_of(gang))


def test_a_gang_that_runs_what_it_does_not_ask_for_is_refused() -> None:
    snapshot = a_hurt_gang(slices=2)
    request = request_of(snapshot.gangs[gang_id("llm")])
    with pytest.raises(Misconfigured, match="does not ask for"):
        repair(snapshot, replace(request, slices=request.slices[:1]))


@pytest.mark.parametrize("seen", [{"since": NOW.replace(tzinfo=None)}, {"at": NOW.replace(tzinfo=None)}])
def test_a_time_without_a_zone_is_refused(seen: dict[str, datetime]) -> None:
    with pytest.raises(Misconfigured, match="without a zone"):
        Seen(**seen)  # type: ignore[arg-type]  # the fields that are times
