"""A lost optical switch and a condemned link are respected in placing, in a repair and in a refusal, on every ground that has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.place import place, planned
from sliceward.scheduling.plan import NoFit, Repair
from sliceward.scheduling.pools import Pool, Pools
from sliceward.scheduling.repair import repair
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.state import Site
from sliceward.topology.ids import CubeId, HostId, PodId
from sliceward.topology.torus import Torus
from tests.builders import NOW, a_fleet, gang_id
from tests.scheduling.small import KINDS, Kind, a_gang, a_link, a_small_fleet, dice_of

if TYPE_CHECKING:
    from sliceward.scheduling.ground import Ground

CUBE, SMALL = (4, 4, 4), (2, 2, 2)


def a_block() -> Ground:
    fleet = a_fleet().with_cubes(2, block="p0").build()
    return block_of(PodId("c1", "p0"), fleet, fleet.cubes.values())


def a_torus(size: tuple[int, int, int] = (4, 4, 8)) -> Ground:
    lattice = Lattice(Torus(size, (True, True, True)), (2, 2, 1))
    hosts = tuple(HostId("c1", f"h{number:02}") for number in range(lattice.hosts.size))
    return TorusGround(PodId("c1", "p0"), "tpu-v5p-slice", Site(lattice, hosts))


def some_pools() -> Ground:
    found = [Pool(CubeId("c1", f"pool-{n}"), CUBE, tuple(HostId("c1", f"p{n}-h{k:02}") for k in range(16)), 16) for n in range(2)]
    found.append(Pool(CubeId("c1", "small"), SMALL, (HostId("c1", "s-h0"), HostId("c1", "s-h1")), 2))
    return Pools(PodId("c1", "p0"), "tpu-v5p-slice", tuple(found), {host: 4 for pool in found for host in pool.hosts})


GROUNDS = {"block": a_block, "torus": a_torus, "pools": some_pools}


def asking(ground: Ground, shape: tuple[int, ...], *, broken: bool = False) -> Request:
    want = Want(ground.generation, shape, broken_links=broken)
    return Request(gang_id("a"), "red", (SliceAsked("s", 0, want),))


@pytest.mark.parametrize("kind", GROUNDS)
def test_no_slice_of_whole_cubes_is_placed_over_a_lost_switch_but_small_ones_are(kind: str) -> None:
    ground = GROUNDS[kind]()
    whole = Snapshot.of(NOW, [ground])
    lost = whole.with_switches(ground.id, ["ocs-1"])
    assert planned(whole, asking(ground, CUBE)) is not None
    no = place(lost, asking(ground, CUBE))
    assert isinstance(no, NoFit)
    assert no.helps == (Repair(switches=((ground.id, "ocs-1"),)),)
    assert no.smallest
    assert planned(lost, asking(ground, SMALL)) is not None
    slow = planned(lost, asking(ground, CUBE, broken=True))
    assert slow is not None
    assert dict(slow.slices[0].price)["slowdown"] > 0
    there = lost.grounds[ground.id]
    assert there.alive(CUBE) == 0 < there.alive(SMALL)
    assert there.largest() not in {CUBE, (4, 4, 8)}
    assert there.victims(Want(ground.generation, CUBE), {}) is None


@pytest.mark.parametrize("kind", GROUNDS)
def test_a_repair_forms_no_slice_anew_over_the_switch_that_was_lost(kind: str) -> None:
    ground = GROUNDS[kind]()
    request = asking(ground, CUBE)
    plan = planned(Snapshot.of(NOW, [ground]), request)
    assert plan is not None
    gang = Running(request.gang, "red", ground.generation, (HeldSlice("s", 0, CUBE, plan.slices[0].hosts),))
    lost = Snapshot.of(NOW, [ground], gangs=[gang]).with_switches(ground.id, ["ocs-1"])
    assert [way.way for way in repair(lost, request).open if way.slices] == []


@pytest.mark.parametrize("size", [(4, 4, 8), (8, 4, 4), (4, 4, 4), (8, 8, 4)], ids=str)
def test_no_small_box_lies_in_two_cubes_that_a_lost_switch_joined(size: tuple[int, int, int]) -> None:
    ground = a_torus(size)
    lost = Snapshot.of(NOW, [ground]).with_switches(ground.id, ["ocs-1"]).grounds[ground.id]
    assert isinstance(ground, TorusGround)
    places = {host: ground.site.lattice.hosts.coordinate(number) for host, number in ground.site.numbers.items()}

    def is_inside(hosts: tuple[HostId, ...]) -> bool:
        """Whether hosts are a box of one cube, over none of its edges."""
        along = [sorted({places[host][axis] for host in hosts}) for axis in range(3)]
        return all(
            at[-1] - at[0] + 1 == len(at) and at[0] // edge == at[-1] // edge for at, edge in zip(along, (2, 2, 4), strict=True)
        )

    for shape in ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4)):
        want = Want(ground.generation, shape)
        inside = {seat.hosts for seat in ground.seats(want) if is_inside(seat.hosts)}
        assert {seat.hosts for seat in lost.seats(want)} == inside
        assert lost.alive(shape) == lost.seats(want).count > 0
        assert all(seat.grade is Grade.HEALTHY for seat in lost.seats(want))
        limping = replace(want, broken_links=True)
        assert lost.seats(limping).count == ground.seats(want).count
        assert sum(seat.grade is Grade.DEGRADED for seat in lost.seats(limping)) == ground.seats(want).count - lost.alive(shape)


def test_a_box_that_needs_the_lost_switch_is_refused_and_the_switch_named() -> None:
    ground = a_torus()
    assert isinstance(ground, TorusGround)
    places = {host: ground.site.lattice.hosts.coordinate(number) for host, number in ground.site.numbers.items()}
    others = [host for host, at in places.items() if not (at[:2] == (0, 0) and 2 <= at[2] <= 5)]
    whole = Snapshot.of(NOW, [ground]).with_standings(dict.fromkeys(others, Standing(Grade.SICK, "x")))
    lost = whole.with_switches(ground.id, ["ocs-1"])
    across = asking(ground, (2, 2, 4))
    assert planned(whole, across) is not None
    no = place(lost, across)
    assert isinstance(no, NoFit)
    assert no.helps == (Repair(switches=((ground.id, "ocs-1"),)),)
    assert lost.grounds[ground.id].victims(across.slices[0].want, {}) is None
    assert planned(lost, asking(ground, (2, 2, 2))) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_what_breaks_never_lets_a_gang_fit_that_did_not(kind: Kind) -> None:
    for seed in range(60):
        dice = dice_of(seed)
        small = a_small_fleet(seed, kind, gangs=4)
        snapshot = small.snapshot
        _, request = a_gang(dice, small, "new")
        if planned(snapshot, request) is not None:
            snapshot = snapshot.with_standings(
                {host: Standing(Grade.SICK, "x") for host in dice.sample(sorted(snapshot.ground_of), 3)}
            )
        if planned(snapshot, request) is not None:
            continue
        key = dice.choice(sorted(snapshot.grounds, key=str))
        link = a_link(dice, snapshot.grounds[key])
        worse = [snapshot.with_links(key, [link])] if link is not None else []
        worse += [snapshot.with_switches(key, ["ocs-1"])] if snapshot.grounds[key].generation == "tpu7x" else []
        assert all(planned(each, request) is None for each in worse), seed
        assert all(planned(each, replace(request, priority=5)) is None for each in worse), seed
