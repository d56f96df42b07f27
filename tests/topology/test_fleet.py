"""What leaves service together, and which cubes a part touches."""

from __future__ import annotations

from functools import cached_property

import pytest

from sliceward.topology.fleet import Fleet, joined
from sliceward.topology.ids import ChipId, ClusterId, CubeId, HostId, LinkId, PartId, PodId, SliceId
from tests.builders import NOW, a_fleet, cube_id, gang_id, host_id

FLEET = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").build()
LONE = a_fleet().labelled({"cloud.google.com/gke-tpu-partition-4x4x4-id": None}, "cube-0-host-00").build()


@pytest.mark.parametrize(
    ("part", "cubes"),
    [
        (host_id("cube-2-host-01"), ["cube-2"]),
        (ChipId("c1", "cube-2-host-01", 3), ["cube-2"]),
        (cube_id("cube-3"), ["cube-3"]),
        (cube_id("gone"), []),
        (host_id("gone"), []),
        (SliceId("c1", "default.llm-slice-1"), ["cube-1"]),
        (SliceId("c1", "gone"), []),
        (gang_id("llm"), ["cube-0", "cube-1"]),
        (gang_id("gone"), []),
        (PodId("c1", "c1-block-0"), ["cube-0", "cube-1", "cube-2", "cube-3"]),
        (ClusterId("c1"), ["cube-0", "cube-1", "cube-2", "cube-3"]),
        (ClusterId("c2"), []),
    ],
    ids=str,
)
def test_a_part_touches_its_cubes(part: PartId, cubes: list[str]) -> None:
    assert FLEET.cubes_of(part) == tuple(cube_id(cube) for cube in cubes)


@pytest.mark.parametrize(
    "part", [gang_id("llm"), ClusterId("c1"), PodId("c1", "c1-block-0"), host_id("gone"), ChipId("c1", "gone", 0)], ids=str
)
def test_what_is_in_no_single_cube_takes_no_hosts_with_it(part: PartId) -> None:
    assert FLEET.domain_of(part) == ()


@pytest.mark.parametrize("part", [host_id("cube-2-host-01"), ChipId("c1", "cube-2-host-01", 0), cube_id("cube-2")], ids=str)
def test_a_sick_part_takes_its_whole_cube_out(part: PartId) -> None:
    assert FLEET.domain_of(part) == FLEET.cubes[cube_id("cube-2")].hosts
    assert len(FLEET.domain_of(part)) == 16


def test_a_host_in_no_cube_leaves_alone() -> None:
    assert LONE.hosts[host_id("cube-0-host-00")].cube is None
    assert LONE.domain_of(host_id("cube-0-host-00")) == (host_id("cube-0-host-00"),)
    assert LONE.domain_of(ChipId("c1", "cube-0-host-00", 1)) == (host_id("cube-0-host-00"),)


def test_hosts_show_the_gangs_that_hold_them() -> None:
    assert FLEET.gangs_on[host_id("cube-1-host-09")] == (gang_id("llm"),)
    assert host_id("cube-2-host-00") not in FLEET.gangs_on


def test_every_chip_of_a_cube_is_at_the_place_that_its_host_tells_and_a_cube_that_is_not_there_has_none() -> None:
    chips = FLEET.chips_at(cube_id("cube-0"))
    assert len(chips) == 64
    assert {FLEET.place_of(chip): chip for chip in chips.values()} == chips
    assert FLEET.chips_at(cube_id("cube-0")) is chips
    assert FLEET.chips_at(cube_id("gone")) == {}


def test_fleets_of_two_clusters_join_and_keep_the_age_of_the_older() -> None:
    other = a_fleet("c2").build(NOW.replace(hour=1))
    both = joined([FLEET, other])
    assert both.as_of == other.as_of
    assert len(both.hosts) == 128
    assert CubeId("c2", "cube-0") in both.cubes
    assert both.cubes_of(HostId("c2", "cube-0-host-00")) == (CubeId("c2", "cube-0"),)


def test_joining_no_fleet_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="empty"):
        joined([])


def test_a_host_is_available_only_when_surely_ready_and_unmarked() -> None:
    fleet = (
        a_fleet()
        .not_ready("cube-0-host-00")
        .not_ready("cube-0-host-01", status="False")
        .cordoned("cube-0-host-02")
        .marked("inc-1", "cube-0-host-03")
        .tainted("example.org/soft", "cube-0-host-04", effect="PreferNoSchedule")
        .build()
    )
    assert [fleet.hosts[host_id(f"cube-0-host-0{n}")].available for n in range(6)] == [False] * 4 + [True, True]
    assert [mark.value for mark in fleet.hosts[host_id("cube-0-host-03")].our_marks] == ["inc-1"]
    assert fleet.hosts[host_id("cube-0-host-04")].our_marks == ()
    assert fleet.hosts[host_id("cube-0-host-02")].cordoned


def test_a_flat_link_is_inside_its_pool() -> None:
    fleet = a_fleet(generation="tpu-v5-lite-podslice").with_pools("4x4", 1).build()
    assert fleet.is_inside_one_cube(LinkId.between(ChipId("c1", "pool-0-host-00", 0), ChipId("c1", "pool-0-host-03", 1)))


def test_what_was_counted_for_all_is_counted_no_more() -> None:
    fleet = a_fleet().with_cubes(2).with_gang("llm").on("cube-0").build().counted()
    cached = {name for name, what in vars(Fleet).items() if isinstance(what, cached_property)}
    assert cached - vars(fleet).keys() == {"_chips_at"}, "which grows with what is asked for"
