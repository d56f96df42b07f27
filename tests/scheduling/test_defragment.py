"""Which running gangs are worth moving so that room is made for those who will come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.scheduling.costs import DAY, Costs
from sliceward.scheduling.defragment import defragment
from sliceward.scheduling.ground import Want
from sliceward.scheduling.moving import moved
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.state import Site
from sliceward.scheduling.worth import worth_of
from sliceward.topology.ids import HostId, PodId
from sliceward.topology.torus import Torus
from tests.builders import NOW, gang_id
from tests.scheduling.small import KINDS, Kind, Small, a_small_fleet, dice_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.defragment import Tidying
    from sliceward.scheduling.ground import Mix
    from sliceward.topology.ids import GangId

MIX: Mix = (((2, 2, 1), 0.5), ((2, 2, 4), 0.5))
LAW = settings(max_examples=40, deadline=None)


def a_row(length: int, *gangs: tuple[int, int], **more: object) -> tuple[Snapshot, dict[GangId, Request]]:
    """Give hosts in a row; each gang holds so many (1, 2 or 4) from a place on, and saved itself a minute ago."""
    lattice = Lattice(Torus((2, 2, length), (False, False, False)), (2, 2, 1))
    hosts = tuple(HostId("c1", f"h{n:02}") for n in range(length))
    ground = TorusGround(PodId("c1", "row"), "tpu7x", Site(lattice, hosts))
    running = []
    for number, (first, count) in enumerate(gangs):
        held = HeldSlice("slice", 0, (2, 2, count), hosts[first : first + count])
        gang = Running(gang_id(f"g{number}"), "t", "tpu7x", (held,), checkpointed=NOW - timedelta(minutes=1))
        running.append(replace(gang, **more))  # type: ignore[arg-type]  # fields of a gang by name
    requests = {each.id: request_of(each) for each in running}
    return Snapshot.of(NOW, [ground], gangs=running, mix={"tpu7x": MIX}), requests


def request_of(gang: Running) -> Request:
    slices = tuple(SliceAsked(held.role, held.index, Want(gang.generation, held.shape)) for held in gang.slices)
    return Request(gang.id, gang.tenant, slices, lasts=gang.lasts)


def places(found: Tidying) -> list[tuple[str, list[str]]]:
    moves = [move for group in found.groups for move in group.moves]
    return [(move.gang.name, [host.name for planned in move.slices for host in planned.hosts]) for move in moves]


def test_one_gang_in_the_way_of_a_large_shape_goes_aside() -> None:
    """Six hosts, one gang on the third: no four in a row are free until it moves to an end."""
    snapshot, requests = a_row(6, (2, 1))
    found = defragment(snapshot, requests)
    assert places(found) == [("g0", ["h00"])]
    assert worth_of(snapshot, "tpu7x").alive[2, 2, 4] == 0
    assert worth_of(found.after, "tpu7x").alive[2, 2, 4] == 2
    assert found.groups[0].gain > 2 * found.groups[0].cost
    assert "makes room for 2x2x4" in found.groups[0].why


def test_a_group_says_what_each_move_costs() -> None:
    snapshot, requests = a_row(6, (2, 1))
    (group,) = defragment(snapshot, requests).groups
    (move,) = group.moves
    assert group.cost == move.bill.total == 4 * (60 + 5 + 600 + 60)


def test_who_is_in_nobodys_way_stays() -> None:
    snapshot, requests = a_row(6, (0, 1))
    assert defragment(snapshot, requests).groups == ()


def test_what_brings_less_than_the_floor_is_left() -> None:
    snapshot, requests = a_row(6, (2, 1))
    (group,) = defragment(snapshot, requests).groups
    dear = replace(snapshot, costs=replace(snapshot.costs, floor=group.gain / group.cost * 1.01))
    assert defragment(dear, requests).groups == ()


def test_a_gang_that_nobody_said_may_be_moved_is_not() -> None:
    snapshot, _ = a_row(6, (2, 1))
    assert defragment(snapshot, {}).groups == ()


def test_who_was_displaced_today_is_left_alone() -> None:
    snapshot, requests = a_row(6, (2, 1), displaced=(NOW - timedelta(hours=23),))
    assert defragment(snapshot, requests).groups == ()
    assert defragment(snapshot.later(2 * 3_600), requests).groups


def test_who_is_hurt_is_repaired_and_not_tidied() -> None:
    snapshot, _ = a_row(8, (2, 1), (6, 1))
    snapshot = snapshot.without_gang(gang_id("g1")).with_standing(HostId("c1", "h04"), Standing(Grade.SICK, "failed"))
    gang = snapshot.gangs[gang_id("g0")]
    two = replace(gang, slices=(*gang.slices, HeldSlice("slice", 1, (2, 2, 1), (HostId("c1", "h07"),))))
    requests = {gang.id: request_of(two)}
    beside = snapshot.without_gang(gang.id).with_gang(two)
    hurt = beside.with_standing(HostId("c1", "h07"), Standing(Grade.SICK, "failed"))
    assert defragment(beside, requests).groups
    assert defragment(hurt, requests).groups == ()


def test_nobody_moves_to_where_more_is_to_be_feared() -> None:
    snapshot, requests = a_row(6, (2, 1))
    feared = {HostId("c1", f"h{n:02}"): Standing(Grade.HEALTHY, "", 0.01) for n in (0, 1, 3, 4, 5)}
    assert defragment(snapshot.with_standings(feared), requests).groups == ()


def test_nobody_moves_to_a_degraded_part() -> None:
    snapshot, requests = a_row(5, (1, 1))
    lenient = {
        gang: replace(each, slices=tuple(replace(s, want=replace(s.want, worst=Grade.DEGRADED)) for s in each.slices))
        for gang, each in requests.items()
    }
    slow = snapshot.with_standing(HostId("c1", "h00"), Standing(Grade.DEGRADED, "slow"))
    assert defragment(snapshot, requests).groups
    assert defragment(slow, lenient).groups == ()


def test_a_gang_leaves_a_part_of_which_much_is_to_be_feared() -> None:
    snapshot, requests = a_row(6, (0, 1), lasts=10 * DAY)
    risky = snapshot.with_standing(HostId("c1", "h00"), Standing(Grade.HEALTHY, "", 1.0))
    (group,) = defragment(risky, requests).groups
    assert "a better place" in group.why


def test_two_gangs_go_aside_together_where_one_alone_brings_nothing() -> None:
    snapshot, requests = a_row(8, (2, 1), (5, 1))
    found = defragment(snapshot, requests)
    assert worth_of(snapshot, "tpu7x").alive[2, 2, 4] == 0
    assert worth_of(found.after, "tpu7x").alive[2, 2, 4] > 0
    assert found.groups[0].gain > snapshot.costs.floor * found.groups[0].cost


def test_no_shape_that_has_a_place_loses_its_last() -> None:
    """The only four in a row that are free are not broken for a gang that sits on a risky host."""
    snapshot, requests = a_row(6, (0, 1), lasts=10 * DAY)
    known = {HostId("c1", "h00"): Standing(Grade.HEALTHY, "", 1.0), HostId("c1", "h01"): Standing(Grade.SICK, "failed")}
    rare = replace(snapshot.with_standings(known), mix={"tpu7x": (((2, 2, 1), 0.999), ((2, 2, 4), 0.001))})
    assert worth_of(rare, "tpu7x").alive[2, 2, 4] == 1
    assert defragment(rare, requests).groups == ()
    assert defragment(replace(rare, mix={"tpu7x": (((2, 2, 1), 1.0),)}), requests).groups


def applied(snapshot: Snapshot, found: Tidying) -> Snapshot:
    """Move gang by gang, in the order that is told: each finds its place free."""
    for group in found.groups:
        for move in group.moves:
            running = snapshot.gangs[move.gang]
            held = set(running.hosts)
            for host in (host for planned in move.slices for host in planned.hosts if host not in held):
                assert snapshot.grounds[snapshot.ground_of[host]].occupancy.is_usable(host, Grade.DEGRADED)
            snapshot = moved(snapshot, running, move.slices)
    return snapshot


def a_fragmented_fleet(seed: int, kind: Kind) -> tuple[Small, Mapping[GangId, Request]]:
    """Give a fleet in which gangs came and went, so that there are holes."""
    dice = dice_of(seed)
    small = a_small_fleet(seed, kind, gangs=24)
    snapshot = small.snapshot
    for gang in sorted(snapshot.gangs):
        if dice.random() < 0.6:
            snapshot = snapshot.without_gang(gang)
    costs = Costs(anchor=3_600.0, floor=dice.choice((1.0, 2.0)), restart=60.0)
    small = replace(small, snapshot=replace(snapshot, costs=costs))
    return small, {gang: small.requests[gang] for gang in snapshot.gangs if dice.random() < 0.9}


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=st.integers(0, 10**9))
def test_moves_can_be_made_one_after_the_other_and_bring_what_they_say(kind: Kind, seed: int) -> None:
    small, movable = a_fragmented_fleet(seed, kind)
    snapshot = small.snapshot
    found = defragment(snapshot, movable)
    after = applied(snapshot, found)
    assert {gang: each.slices for gang, each in after.gangs.items()} == {g: each.slices for g, each in found.after.gangs.items()}
    for group in found.groups:
        assert group.gain >= snapshot.costs.floor * group.cost
        assert group.gain > group.cost
    for generation in {ground.generation for ground in snapshot.grounds.values()}:
        before, then = worth_of(snapshot, generation), worth_of(after, generation)
        assert then.keeps(before)
    assert {move.gang for group in found.groups for move in group.moves} <= set(movable)


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=st.integers(0, 10**9))
def test_a_tidy_fleet_is_left_alone_also_by_those_who_forgot_that_they_tidied_it(kind: Kind, seed: int) -> None:
    """No ping-pong: after the moves nothing is worth a move, neither on nor back."""
    small, movable = a_fragmented_fleet(seed, kind)
    after = defragment(small.snapshot, movable).after
    assert defragment(after, movable).groups == ()
    forgetful = after
    for gang, running in after.gangs.items():
        forgetful = forgetful.without_gang(gang).with_gang(replace(running, displaced=small.snapshot.gangs[gang].displaced))
    assert defragment(forgetful, movable).groups == ()


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=st.integers(0, 10**9))
def test_the_same_fleet_is_tidied_in_the_same_way(kind: Kind, seed: int) -> None:
    small, movable = a_fragmented_fleet(seed, kind)
    again = replace(small.snapshot, gangs=dict([*small.snapshot.gangs.items()][::-1]))
    assert defragment(small.snapshot, movable).groups == defragment(again, dict([*movable.items()][::-1])).groups
