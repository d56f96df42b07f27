"""What holds of every repair, whatever failed: drawn fleets of each back-end, any number of failed parts at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.scheduling.candidates import Candidate, Choice, Way
from sliceward.scheduling.ground import Want
from sliceward.scheduling.harm import Seen
from sliceward.scheduling.moving import moved
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.prices import Item
from sliceward.scheduling.repair import repair
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.state import Site
from sliceward.topology.ids import HostId, PodId
from sliceward.topology.torus import Torus
from tests.builders import NOW, gang_id
from tests.scheduling.small import KINDS, Kind, Small, a_small_fleet, dice_of, with_failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.topology.ids import GangId

seeds = st.integers(0, 10**9)
LAW = settings(max_examples=25, deadline=None)


def a_hurt_gang(seed: int, kind: Kind) -> tuple[Small, GangId]:
    dice, small = dice_of(seed), a_small_fleet(seed, kind)
    gang = dice.choice(sorted(small.requests)) if small.requests else None
    while gang is None:
        seed += 1
        small = a_small_fleet(seed, kind)
        gang = min(small.requests, default=None)
    return with_failures(dice, small, gang), gang


def chosen(small: Small, gang: GangId) -> Choice:
    return repair(small.snapshot, small.requests[gang], requests=small.requests)


def standing_of(snapshot: Snapshot, host: HostId) -> Standing:
    return snapshot.grounds[snapshot.ground_of[host]].occupancy.standing(host)


def without_victims(snapshot: Snapshot, victims: Iterable[GangId]) -> Snapshot:
    for gang in victims:
        snapshot = snapshot.without_gang(gang)
    return snapshot


def new_hosts(small: Small, gang: GangId, way: Candidate) -> list[HostId]:
    had = set(small.snapshot.gangs[gang].hosts)
    return [host for planned in way.slices for host in planned.hosts if host not in had]


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=seeds)
def test_a_whole_slice_is_never_touched(kind: Kind, seed: int) -> None:
    small, gang = a_hurt_gang(seed, kind)
    found = chosen(small, gang)
    hurt = {harm.key for harm in found.harms}
    whole = {host for held in small.snapshot.gangs[gang].slices if (held.role, held.index) not in hurt for host in held.hosts}
    for way in found.open:
        assert {(planned.role, planned.index) for planned in way.slices} in (set(), hurt)
        assert not whole.intersection(host for planned in way.slices for host in planned.hosts)


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=seeds)
def test_new_places_are_free_healthy_and_nobody_elses(kind: Kind, seed: int) -> None:
    small, gang = a_hurt_gang(seed, kind)
    wants = {asked.key: asked.want for asked in small.requests[gang].slices}
    for way in chosen(small, gang).open:
        room = without_victims(small.snapshot, way.victims)
        hosts = [host for planned in way.slices for host in planned.hosts]
        assert len(hosts) == len(set(hosts))
        for planned in way.slices:
            assert room.chips_of(planned.hosts) == wants[planned.role, planned.index].chips
        worst = {want.worst for want in wants.values()}
        for host in new_hosts(small, gang, way):
            assert any(room.grounds[room.ground_of[host]].occupancy.is_usable(host, grade) for grade in worst)


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=seeds)
def test_the_same_fleet_gives_the_same_answer_in_whatever_order_it_is_told(kind: Kind, seed: int) -> None:
    small, gang = a_hurt_gang(seed, kind)
    grounds = {}
    for key, ground in [*small.snapshot.grounds.items()][::-1]:
        occupancy = ground.occupancy
        mixed = replace(
            occupancy,
            standings=dict([*occupancy.standings.items()][::-1]),
            holders=dict([*occupancy.holders.items()][::-1]),
        )
        grounds[key] = ground.changed(mixed, [*ground.hosts])
    again = replace(small.snapshot, grounds=grounds, gangs=dict([*small.snapshot.gangs.items()][::-1]))
    assert chosen(small, gang) == chosen(small, gang) == chosen(replace(small, snapshot=again), gang)


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=seeds)
def test_unknown_health_moves_nobody(kind: Kind, seed: int) -> None:
    small, gang = a_hurt_gang(seed, kind)
    mine = small.snapshot.gangs[gang].hosts
    snapshot = small.snapshot.with_standings({host: Standing(Grade.UNKNOWN, "not seen") for host in mine})
    for ground in snapshot.grounds:
        snapshot = snapshot.with_links(ground, []).with_switches(ground, [])
    found = repair(snapshot, small.requests[gang])
    assert [(way.way, way.price) for way in found.open] == [(Way.STAY, 0.0)]


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=seeds)
def test_a_gang_that_has_moved_to_sound_parts_stays(kind: Kind, seed: int) -> None:
    small, gang = a_hurt_gang(seed, kind)
    for way in chosen(small, gang).open:
        if way.way not in {Way.RESTITCH, Way.MOVE}:
            continue
        before = without_victims(small.snapshot, way.victims)
        after = moved(before, before.gangs[gang], way.slices)
        hosts = after.gangs[gang].hosts
        links = [link for host in hosts[:1] for link in after.grounds[after.ground_of[host]].occupancy.links]
        sound = all(standing_of(after, host).grade is Grade.HEALTHY for host in hosts)
        if sound and (kind != "tree" or not links):  # of a tree nobody knows which links a slice is made of
            assert repair(after, small.requests[gang]).best.way is Way.STAY


@pytest.mark.parametrize("kind", KINDS)
@LAW
@given(seed=seeds)
def test_a_repair_gets_no_cheaper_by_more_parts_failing(kind: Kind, seed: int) -> None:
    """What is still to be paid, and without what a place destroys for others: of a dead fleet there is nothing left to destroy."""
    small, gang = a_hurt_gang(seed, kind)
    small = replace(small, snapshot=replace(small.snapshot, costs=replace(small.snapshot.costs, anchor=0.0)))
    before = chosen(small, gang)
    hurt = {harm.key for harm in before.harms}
    whole = {h for held in small.snapshot.gangs[gang].slices if (held.role, held.index) not in hurt for h in held.hosts}
    others = sorted(set(small.snapshot.ground_of) - whole)
    failed = dice_of(seed).sample(others, min(3, len(others)))
    worse = {host: replace(standing_of(small.snapshot, host), grade=Grade.SICK) for host in failed}
    after = chosen(replace(small, snapshot=small.snapshot.with_standings(worse)), gang)
    assert to_pay(after) >= to_pay(before) * (1 - 1e-9)


def to_pay(choice: Choice) -> float:
    return choice.best.price - choice.best.bill.of(Item.DETECT)


def a_row(length: int, slices: list[range]) -> tuple[Snapshot, Request]:
    """Give hosts in a row, and a gang on some of them; where one lies is all that counts."""
    lattice = Lattice(Torus((2, 2, length), (False, False, False)), (2, 2, 1))
    hosts = tuple(HostId("c1", f"h{n:02}") for n in range(length))
    ground = TorusGround(PodId("c1", "row"), "tpu7x", Site(lattice, hosts))
    held = tuple(HeldSlice("slice", n, (2, 2, len(places)), tuple(hosts[at] for at in places)) for n, places in enumerate(slices))
    gang = Running(gang_id("llm"), "t", "tpu7x", held)
    asked = tuple(SliceAsked("slice", n, Want("tpu7x", each.shape)) for n, each in enumerate(held))
    return Snapshot.of(NOW, [ground], gangs=[gang]), Request(gang.id, gang.tenant, asked)


def failing(snapshot: Snapshot, *places: int) -> Snapshot:
    return snapshot.with_standings({HostId("c1", f"h{at:02}"): Standing(Grade.SICK, "failed") for at in places})


def test_a_second_hurt_slice_may_make_room_that_a_whole_one_never_gives() -> None:
    """Why the law above speaks of parts that are not under whole slices: those keep their places at any price."""
    snapshot, request = a_row(13, [range(9, 13), range(3, 7)])
    one = repair(failing(snapshot, 10), request)
    both = repair(failing(snapshot, 10, 4), request)
    assert one.best.way is Way.WAIT
    assert both.best.way is Way.RESTITCH
    assert both.best.price < one.best.price
    places = sorted([host.name for host in planned.hosts] for planned in both.best.slices)
    assert places == [["h00", "h01", "h02", "h03"], ["h05", "h06", "h07", "h08"]]


def test_a_place_costs_less_where_there_is_less_to_destroy() -> None:
    """Why the law above leaves out what a place destroys."""
    snapshot, request = a_row(12, [range(4)])
    dear = repair(failing(snapshot, 0), request).best
    cheap = repair(failing(snapshot, 0, 4, 5, 6, 7), request).best
    assert dear.way is cheap.way is Way.RESTITCH
    assert cheap.bill.of(Item.PLACES) < dear.bill.of(Item.PLACES)
    assert cheap.price - cheap.bill.of(Item.PLACES) == dear.price - dear.bill.of(Item.PLACES)


def test_a_gang_that_limps_and_saves_when_asked_costs_no_more_than_one_that_does_not() -> None:
    snapshot, request = a_row(12, [range(4)])
    snapshot = snapshot.with_standings({HostId("c1", "h00"): Standing(Grade.DEGRADED, "slow")})
    assert repair(snapshot, request, Seen(saves=True)).best.price <= repair(snapshot, request).best.price
