"""A link has one id from both its ends, and is inside a cube or between cubes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.topology.ids import ChipId, CubeId, LinkId, SliceId
from sliceward.topology.links import (
    ends,
    is_between_cubes,
    link_at,
    links_of,
    links_of_chip,
    neighbour_at,
    port_at,
    ports_of,
    whole_slice_of,
)
from sliceward.topology.torus import opposite
from tests.builders import a_fleet, cube_id, host_id

if TYPE_CHECKING:
    from sliceward.topology.fleet import Fleet

ONE_CUBE = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").build()
FOUR_CUBES = a_fleet().with_cubes(5).with_gang("big", topology="4x8x8").on("cube-0", "cube-1", "cube-2", "cube-3").build()
FLAT = a_fleet(generation="tpu-v6e-slice").with_pools("16x16", 2).build()
LONG_POOL = a_fleet(generation="tpu-v5p-slice").with_pools("4x4x8", 1).build()
SMALL_POOL = a_fleet(generation="tpu-v5p-slice").with_pools("2x2x4", 1).build()
FLEETS = {"one-cube": ONE_CUBE, "four-cubes": FOUR_CUBES, "flat": FLAT, "long-pool": LONG_POOL, "small-pool": SMALL_POOL}


def chip(host: str, index: int) -> ChipId:
    return ChipId("c1", host, index)


def link_of(fleet: Fleet, host: str, index: int, port: int) -> LinkId:
    link = link_at(fleet, chip(host, index), port)
    assert link is not None
    return link


@given(st.sampled_from(sorted(FLEETS)), st.data())
def test_both_ends_give_a_link_the_same_id(name: str, data: st.DataObject) -> None:
    fleet = FLEETS[name]
    host = fleet.hosts[data.draw(st.sampled_from(sorted(fleet.hosts)))]
    one = ChipId("c1", host.id.name, data.draw(st.integers(0, host.chips - 1)))
    port = data.draw(st.sampled_from(list(ports_of(fleet, one))))
    link = link_at(fleet, one, port)
    if link is not None:
        other = neighbour_at(fleet, one, port)
        assert other is not None
        assert ends(link) == tuple(sorted((one, other)))
        assert link_at(fleet, other, opposite(port)) == link
        assert port_at(fleet, one, link) == port


@pytest.mark.parametrize(
    ("name", "cube", "inside", "between"),
    [
        ("one-cube", "cube-0", 144, 48),
        ("one-cube", "cube-2", 144, 0),
        ("four-cubes", "cube-0", 144, 80),
        ("flat", "pool-0", 512, 0),
        ("long-pool", "pool-0", 288, 96),
        ("small-pool", "pool-0", 28, 0),
    ],
)
def test_a_cube_has_its_copper_links_and_those_through_its_faces(name: str, cube: str, inside: int, between: int) -> None:
    links = links_of(FLEETS[name], cube_id(cube))
    outer = [link for link in links if is_between_cubes(FLEETS[name], link)]
    assert (len(links) - len(outer), len(outer)) == (inside, between)


def test_a_one_cube_slice_wraps_to_its_own_opposite_face() -> None:
    link = link_of(ONE_CUBE, "cube-0-host-00", 0, 1)
    assert link == LinkId.between(chip("cube-0-host-00", 0), chip("cube-0-host-01", 1))
    assert is_between_cubes(ONE_CUBE, link)
    assert ONE_CUBE.domain_of(link) == ()
    assert ONE_CUBE.cubes_of(link) == (cube_id("cube-0"),)


def test_a_link_between_two_cubes_touches_both_and_takes_neither_out() -> None:
    link = link_of(FOUR_CUBES, "cube-0-host-03", 3, 2)
    assert FOUR_CUBES.cubes_of(link) == (cube_id("cube-0"), cube_id("cube-1"))
    assert is_between_cubes(FOUR_CUBES, link)
    assert FOUR_CUBES.domain_of(link) == ()


def test_a_link_inside_a_cube_takes_the_whole_cube_with_it() -> None:
    link = link_of(ONE_CUBE, "cube-0-host-00", 0, 4)
    assert link.ends[1] == chip("cube-0-host-04", 0)
    assert not is_between_cubes(ONE_CUBE, link)
    assert ONE_CUBE.domain_of(link) == ONE_CUBE.cubes[cube_id("cube-0")].hosts


def test_a_free_cube_has_no_links_through_its_faces() -> None:
    assert link_at(ONE_CUBE, chip("cube-2-host-00", 0), 1) is None


def test_a_link_stays_inside_or_between_after_its_gang_has_gone() -> None:
    link = link_of(ONE_CUBE, "cube-0-host-00", 0, 1)
    later = a_fleet().build()
    assert link_at(later, chip("cube-0-host-00", 0), 1) is None
    assert is_between_cubes(later, link)


def test_an_unknown_place_is_no_link_and_counts_as_between() -> None:
    fleet = a_fleet().labelled({"sliceward.dev/host-index": None}, "cube-0-host-00").build()
    link = LinkId.between(chip("cube-0-host-00", 0), chip("cube-0-host-01", 0))
    assert link_at(fleet, chip("cube-0-host-00", 0), 0) is None
    assert link_at(fleet, chip("cube-0-host-01", 0), 1) is None
    assert is_between_cubes(fleet, link)
    assert is_between_cubes(fleet, LinkId.between(chip("gone", 0), chip("cube-0-host-01", 0)))


def test_a_chip_or_port_that_is_not_there_has_no_links() -> None:
    assert links_of_chip(ONE_CUBE, chip("gone", 0)) == ()
    assert links_of_chip(ONE_CUBE, chip("cube-0-host-00", 9)) == ()
    assert link_at(ONE_CUBE, chip("cube-0-host-00", 0), 6) is None
    assert link_at(FLAT, chip("pool-0-host-00", 0), 4) is None
    assert links_of(ONE_CUBE, CubeId("c1", "gone")) == ()
    assert port_at(ONE_CUBE, chip("cube-1-host-00", 0), link_of(ONE_CUBE, "cube-0-host-00", 0, 0)) is None


def test_a_slice_that_does_not_fill_its_shape_joins_nothing() -> None:
    mixed = (
        a_fleet()
        .with_gang("llm")
        .on("cube-0")
        .pod_edited("llm-slice-0-15", lambda pod: pod["spec"].update(nodeName="cube-1-host-00"))
        .build()
    )
    assert len(mixed.slices[SliceId("c1", "default.llm-slice-0")].cubes) == 2
    assert whole_slice_of(mixed, cube_id("cube-0")) is None
    assert link_at(mixed, chip("cube-0-host-00", 0), 1) is None


def test_a_slice_of_the_right_size_and_wrong_shape_joins_nothing() -> None:
    wrong = {"metadata": {"name": "odd"}, "spec": {"topology": "2x8x4", "partitionIds": ["cube-0"]}}
    flat = {"metadata": {"name": "odd"}, "spec": {"topology": "8x8", "partitionIds": ["cube-1"]}}
    for value, cube in ((wrong, "cube-0"), (flat, "cube-1")):
        fleet = a_fleet().build(slices=[value])
        assert whole_slice_of(fleet, cube_id(cube)) is not None
        assert link_at(fleet, chip(f"{cube}-host-00", 0), 1) is None


def test_a_slice_object_joins_its_partitions_in_their_order() -> None:
    formed = {"metadata": {"name": "s"}, "spec": {"type": "tpu7x", "topology": "4x4x8", "partitionIds": ["cube-2", "cube-0"]}}
    fleet = a_fleet().build(slices=[formed])
    top = neighbour_at(fleet, chip("cube-2-host-15", 3), 4)
    assert top == chip("cube-0-host-03", 3)


def test_reported_positions_order_the_cubes_of_a_slice() -> None:
    builder = a_fleet().with_gang("big", topology="4x4x8").on("cube-0", "cube-1")
    positions = {}
    for block, cube in ((1, "cube-0"), (0, "cube-1")):
        for name in builder.hosts_of(cube):
            inside = ONE_CUBE.hosts[host_id(name)].coordinates
            positions[host_id(name)] = [[x, y, z + 4 * block] for x, y, z in inside]
    fleet = builder.build(positions=positions)
    assert fleet.problems == ()
    (one,) = fleet.slices.values()
    assert one.cubes == (cube_id("cube-1"), cube_id("cube-0"))
    assert neighbour_at(fleet, chip("cube-1-host-12", 0), 4) == chip("cube-0-host-00", 0)
