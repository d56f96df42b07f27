"""Google's word on partitions, and on those inside them, as a fleet is read."""

from __future__ import annotations

import pytest

from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade
from sliceward.topology.names import NAMES
from tests.builders import NOW, FleetBuilder, a_fleet

ONE = a_fleet().with_cubes(1)
PAIRS = NAMES.sub_partition_state.replace("{shape}", "2x2x2")
BROKEN = ("cube-0-host-00", "cube-0-host-04")
"""The hosts of one 2x2x2: one on top of the other."""


def room(builder: FleetBuilder, *shape: int, worst: Grade = Grade.HEALTHY) -> int:
    (ground,) = snapshot_of(builder.build(), NOW).grounds.values()
    return ground.room(Want("tpu7x", shape, worst=worst))


def with_parts(state: str, parts: str) -> FleetBuilder:
    well = [host for host in ONE.hosts_of("cube-0") if host not in BROKEN]
    return ONE.partition_state("cube-0", state).labelled({PAIRS: parts}, *well).labelled({PAIRS: "UNHEALTHY"}, *BROKEN)


@pytest.mark.parametrize(("state", "healthy", "degraded"), [("HEALTHY", 1, 1), ("DEGRADED", 0, 1), (None, 1, 1)])
def test_the_word_on_a_cube_counts_for_all_of_it(state: str | None, healthy: int, degraded: int) -> None:
    told = ONE.partition_state("cube-0", state)
    assert (room(told, 4, 4, 4), room(told, 4, 4, 4, worst=Grade.DEGRADED)) == (healthy, degraded)
    assert (room(told, 2, 2, 2), room(told, 2, 2, 2, worst=Grade.DEGRADED)) == (8 * healthy, 8 * degraded)


@pytest.mark.parametrize("state", ["UNHEALTHY", "UNSET", "INCOMPLETE", "BRAND_NEW"])
def test_a_cube_that_is_of_no_use_has_none_inside(state: str) -> None:
    told = ONE.partition_state("cube-0", state)
    assert [room(told, *shape, worst=Grade.DEGRADED) for shape in ((4, 4, 4), (2, 4, 4), (2, 2, 2), (2, 2, 1))] == [0] * 4


@pytest.mark.parametrize("state", ["UNHEALTHY", "INCOMPLETE"])
def test_parts_of_a_sick_cube_that_are_called_healthy_are_used_and_it_is_not(state: str) -> None:
    told = with_parts(state, "HEALTHY")
    assert room(told, 2, 2, 2) == 7
    assert [room(told, *shape, worst=Grade.DEGRADED) for shape in ((4, 4, 4), (2, 4, 4), (2, 2, 4))] == [0, 1, 3]


def test_a_sick_cube_of_which_every_part_is_called_healthy_is_not_used_at_all() -> None:
    told = ONE.partition_state("cube-0", "UNHEALTHY").labelled({PAIRS: "HEALTHY"}, *ONE.hosts_of("cube-0"))
    assert [room(told, *shape, worst=Grade.DEGRADED) for shape in ((4, 4, 4), (2, 4, 4), (2, 2, 2))] == [0] * 3


def test_a_part_that_is_called_sick_is_not_used_in_a_healthy_cube() -> None:
    told = with_parts("HEALTHY", "HEALTHY")
    assert (room(told, 2, 2, 2), room(told, 2, 2, 4)) == (7, 4)


def test_a_host_that_is_not_ready_is_sick_whatever_is_said_of_its_part() -> None:
    told = with_parts("UNHEALTHY", "HEALTHY").not_ready("cube-0-host-01", status="False")
    assert room(told, 2, 2, 2) == 6
