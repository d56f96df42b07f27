"""Slices that do not hold all of their hosts, unknown health under a slice, and what else a fleet in trouble looks like."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.candidates import Way
from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.place import place, planned
from sliceward.scheduling.plan import Borrow, NoFit, Plan
from sliceward.scheduling.repair import repair
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.told import Told
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import PodId
from tests.builders import NOW, a_fleet, gang_id

if TYPE_CHECKING:
    from sliceward.topology.ids import HostId

CUBE, TWO_CUBES = (4, 4, 4), (4, 4, 8)
SICK = Standing(Grade.SICK, "dead")


def a_block(**more: object) -> tuple[Snapshot, list[tuple[HostId, ...]]]:
    """Give four free cubes of one block, and the hosts of each."""
    fleet = a_fleet().with_cubes(4, block="p0").build()
    block = block_of(PodId("c1", "p0"), fleet, fleet.cubes.values())
    return Snapshot.of(NOW, [block], **more), list(block.parts.values())  # type: ignore[arg-type]  # what a snapshot takes


def asking(name: str, slices: int, shape: tuple[int, ...], **more: object) -> Request:
    each = tuple(SliceAsked("s", index, Want("tpu7x", shape)) for index in range(slices))
    return Request(gang_id(name), "red", each, **more)  # type: ignore[arg-type]  # what a request takes


def running(name: str, *slices: tuple[tuple[int, ...], tuple[HostId, ...]]) -> Running:
    held = tuple(HeldSlice("s", index, shape, hosts) for index, (shape, hosts) in enumerate(slices))
    return Running(gang_id(name), "red", "tpu7x", held)


@pytest.mark.parametrize("other", ["another gang", "nobody, and it is sick"])
def test_a_repair_keeps_no_cube_of_which_the_rest_is_not_free(other: str) -> None:
    snapshot, cubes = a_block()
    missing = cubes[0][15]
    snapshot = snapshot.with_gang(running("a", (TWO_CUBES, cubes[0][:15] + cubes[1])))
    if other == "another gang":
        snapshot = snapshot.with_gang(running("b", ((2, 2, 1), (missing,))))
    else:
        snapshot = snapshot.with_standing(missing, SICK)
    snapshot = snapshot.with_standing(cubes[1][3], SICK)
    for way in repair(snapshot, asking("a", 1, TWO_CUBES)).open:
        used = {host for planned_slice in way.slices if not planned_slice.stays for host in planned_slice.hosts}
        assert not used & {missing, cubes[1][3]} or gang_id("b") in way.victims, way.way


def test_unknown_health_moves_no_slice_of_a_gang_that_runs_but_takes_no_pods_of_one_that_starts_again() -> None:
    snapshot, cubes = a_block()
    snapshot = snapshot.with_gang(running("a", (CUBE, cubes[0]), (CUBE, cubes[1])))
    snapshot = snapshot.with_standing(cubes[0][0], Standing(Grade.UNKNOWN, "telemetry lost"))
    assert repair(snapshot, asking("a", 2, CUBE)).best.way is Way.STAY
    found = place(snapshot, asking("a", 2, CUBE))
    assert isinstance(found, Plan)
    assert [piece.stays for piece in found.slices] == [False, True]


def test_a_tenant_over_its_quota_is_told_how_much_it_lacks() -> None:
    snapshot, cubes = a_block(quota={("red", "tpu7x"): 64})
    snapshot = snapshot.with_gang(running("old", (TWO_CUBES, cubes[0] + cubes[1])))
    refused = place(snapshot, asking("new", 1, CUBE))
    assert isinstance(refused, NoFit)
    assert refused.helps == (Borrow("red", "tpu7x", 128),)


@pytest.mark.parametrize("ready", [True, False])
def test_a_cube_with_a_node_too_many_is_not_planned_on_and_keeps_no_other_from_it(ready: bool) -> None:  # noqa: FBT001 (a table)
    builder = a_fleet().with_cubes(3, block="p0")
    fleet = builder.build()
    first, second, third = fleet.cubes.values()
    labels = {key: value for key, value in fleet.hosts[first.hosts[0]].labels.items() if "partition" in key}
    builder = builder.labelled(labels, second.hosts[0].name)
    crowded = (builder if ready else builder.not_ready(second.hosts[0].name)).build()
    assert max(len(cube.hosts) for cube in crowded.cubes.values()) == 17
    snapshot = snapshot_of(crowded, NOW)
    found = planned(snapshot, asking("a", 1, CUBE))
    assert found is not None
    assert found.hosts == {*third.hosts}
    assert planned(snapshot, asking("a", 2, CUBE)) is None


@pytest.mark.parametrize("lasts", [1e10, 1e300, float("inf"), float("nan"), -1.0])
def test_a_time_that_no_date_can_bear_is_refused(lasts: float) -> None:
    with pytest.raises(Misconfigured, match="lasts"):
        asking("a", 1, CUBE, lasts=lasts)


@pytest.mark.parametrize(
    "told",
    [Told(NOW, 1.0, 1e-320, 1.0), Told(datetime(1, 1, 1, tzinfo=UTC), 1.0, 1.0, 5.0), Told(NOW, 1.0, 1e-300, 1e9)],
    ids=["no rate", "before all dates", "both"],
)
def test_what_a_gang_cannot_mean_is_as_if_it_had_not_said_it(told: Told) -> None:
    _, cubes = a_block()
    gang = told.paced(running("a", (CUBE, cubes[0])))
    assert gang.step is None or gang.checkpointed is None
    told.seen(NOW)
