"""A fleet that contradicts itself somewhere is planned on everywhere else, and what was set aside has a name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.scheduling.beside import Beside
from sliceward.scheduling.fleet import PROVISION_ONLY, snapshot_of
from sliceward.scheduling.fragmentation import fragmentation_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.place import place, planned
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.told import Told
from sliceward.topology.ids import CubeId, PodId
from sliceward.topology.names import NAMES
from tests.builders import NOW, FleetBuilder, a_fleet, gang_id, host_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.fleet import Fleet

CUBE = (4, 4, 4)
HEALTHY = a_fleet().with_cubes(3, block="p0").with_gang("llm").on("cube-0")
BLOCK = PodId("c1", "p0")
LEVELS = Beside(levels={"c1": (NAMES.block, NAMES.partition_id)})


def asking(shape: tuple[int, ...] = CUBE, *, slices: int = 1) -> Request:
    return Request(gang_id("new"), "t", tuple(SliceAsked("s", n, Want("tpu7x", shape)) for n in range(slices)))


def cubes_of(snapshot: Snapshot, request: Request) -> set[str]:
    plan = planned(snapshot, request)
    assert plan is not None
    return {cube.name for cube in plan.cubes}


def with_host(name: str, **changed: object) -> Fleet:
    """Give the fleet with something else said of one host."""
    fleet = HEALTHY.build()
    host = fleet.hosts[host_id(name)]
    return replace(fleet, hosts={**fleet.hosts, host.id: replace(host, **changed)})  # type: ignore[arg-type]  # fields of a host


def with_cube(name: str, **changed: object) -> Fleet:
    """Give the fleet with something else said of one cube."""
    fleet = HEALTHY.build()
    cube = fleet.cubes[CubeId("c1", name)]
    return replace(fleet, cubes={**fleet.cubes, cube.id: replace(cube, **changed)})  # type: ignore[arg-type]  # fields of a cube


def first_place() -> tuple[tuple[int, ...], ...]:
    return HEALTHY.build().hosts[host_id("cube-1-host-00")].coordinates


BROKEN: list[tuple[str, Callable[[], Fleet], str, str]] = [
    ("two hosts at one place", lambda: with_host("cube-1-host-01", coordinates=first_place()), "UnusableCube", "cube-1"),
    ("a host outside", lambda: with_host("cube-1-host-01", coordinates=((9, 9, 9),)), "UnusableCube", "cube-1"),
    ("hosts of two sizes", lambda: with_host("cube-1-host-01", chips=1), "UnusableCube", "cube-1"),
    ("hosts of no size", lambda: with_host("cube-1-host-01", chips=3), "UnusableCube", "cube-1"),
    ("a cube of another shape", lambda: with_cube("cube-1", shape=(4, 4, 8)), "UnusableCube", "cube-1"),
    (
        "a host in two cubes",
        lambda: with_cube("cube-1", hosts=HEALTHY.build().cubes[CubeId("c1", "cube-2")].hosts),
        "UnusableBlock",
        "cube-2",
    ),
]


@pytest.mark.parametrize(("broken", "name", "about"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_what_contradicts_itself_is_set_aside_by_name_and_all_else_is_planned_on(
    broken: Callable[[], Fleet], name: str, about: str
) -> None:
    snapshot = snapshot_of(broken(), NOW)
    (problem,) = snapshot.set_aside
    assert (problem.name, about in problem.about) == (name, True)
    assert problem.why
    assert problem.what_to_do
    if name == "UnusableCube":
        assert cubes_of(snapshot, asking()) == {"cube-2"}
    assert planned(snapshot, asking(slices=2)) is None


def test_nothing_is_set_aside_of_a_fleet_that_is_as_it_says() -> None:
    assert snapshot_of(HEALTHY.build(), NOW).set_aside == ()


def test_a_gang_on_hosts_of_another_generation_keeps_them_closed_and_is_named() -> None:
    fleet = HEALTHY.build()
    odd = replace(fleet, gangs={key: replace(gang, generation="tpu-v5p-slice") for key, gang in fleet.gangs.items()})
    snapshot = snapshot_of(odd, NOW)
    assert [(each.name, each.about) for each in snapshot.set_aside] == [("ContradictoryGang", "c1/gang/default/JobSet/llm")]
    assert snapshot.gangs == {}
    assert cubes_of(snapshot, asking(slices=2)) == {"cube-1", "cube-2"}
    assert planned(snapshot, asking(slices=3)) is None


def test_a_gang_of_which_no_generation_is_known_holds_hosts_of_the_one_that_they_have() -> None:
    fleet = HEALTHY.build()
    odd = replace(fleet, gangs={key: replace(gang, generation=None) for key, gang in fleet.gangs.items()})
    snapshot = snapshot_of(odd, NOW)
    assert [gang.generation for gang in snapshot.gangs.values()] == ["tpu7x"]
    assert snapshot.usage == {(gang.tenant, "tpu7x"): 64 for gang in snapshot.gangs.values()}


def test_a_slice_that_holds_more_than_its_shape_has_none_until_the_old_pods_have_ended() -> None:
    fleet = HEALTHY.build()
    more = {
        key: replace(gang, roles=tuple(replace(role, topology=(2, 4, 4)) for role in gang.roles))
        for key, gang in fleet.gangs.items()
    }
    snapshot = snapshot_of(replace(fleet, gangs=more), NOW)
    assert [each.name for each in snapshot.set_aside] == ["SliceTooLarge"]
    assert [held.shape for gang in snapshot.gangs.values() for held in gang.slices] == [()]
    assert cubes_of(snapshot, asking(slices=2)) == {"cube-1", "cube-2"}


def test_risks_and_progress_that_are_no_numbers_count_as_not_told() -> None:
    beside = Beside(
        risks={host_id("cube-1-host-00"): float("nan"), host_id("cube-2-host-00"): 0.5},
        told={gang_id("llm"): Told(NOW, 1.0, 1.0, 5.0)},
    )
    snapshot = snapshot_of(HEALTHY.build(), NOW, beside)
    assert [(each.name, each.about) for each in snapshot.set_aside] == [("UnusableRisk", "c1/host/cube-1-host-00")]
    assert snapshot.grounds[BLOCK].occupancy.standing(host_id("cube-2-host-00")).risk == 0.5


def test_a_domain_with_two_parents_takes_nothing_and_keeps_no_other_domain_from_it() -> None:
    torn = HEALTHY.labelled({NAMES.block: "elsewhere"}, "cube-1-host-03").build()
    snapshot = snapshot_of(torn, NOW, LEVELS)
    (problem,) = snapshot.set_aside
    assert (problem.name, problem.about) == ("DomainWithTwoParents", f"c1/{NAMES.partition_id}=cube-1")
    plan = planned(snapshot, asking())
    assert plan is not None
    assert {host.name.rpartition("-host")[0] for host in plan.hosts} == {"cube-2"}
    assert planned(snapshot, asking(slices=2)) is None


def test_a_pool_whose_hosts_lack_chips_takes_nothing_new_and_keeps_the_gang_that_runs_there() -> None:
    pools = a_fleet(generation="tpu-v6e-slice").with_pools("4x4", 2).with_gang("llm", topology="4x4").on("pool-0").build()
    few = {host: replace(pools.hosts[host], chips=3) for pool in pools.cubes.values() for host in pool.hosts[:1]}
    snapshot = snapshot_of(replace(pools, hosts={**pools.hosts, **few}), NOW)
    assert snapshot.set_aside == ()
    assert len(snapshot.gangs[gang_id("llm")].hosts) == 4
    want = Want("tpu-v6e-slice", (4, 4))
    assert planned(snapshot, Request(gang_id("new"), "t", (SliceAsked("s", 0, want),))) is None


def test_a_pool_with_two_hosts_at_one_place_is_not_divided() -> None:
    pool = a_fleet(generation="tpu-v6e-slice").with_pools("4x8", 1)
    hosts = pool.hosts_of(pool.plan.cubes[0].name)
    fleet = pool.labelled({NAMES.topology_mode: PROVISION_ONLY}, *hosts).build()
    one, other = (fleet.hosts[host_id(name)] for name in hosts[:2])
    twice = replace(fleet, hosts={**fleet.hosts, other.id: replace(other, coordinates=one.coordinates)})
    snapshot = snapshot_of(twice, NOW)
    assert sum(len(ground.hosts) for ground in snapshot.grounds.values()) == len(hosts)
    place(snapshot, Request(gang_id("new"), "t", (SliceAsked("s", 0, Want("tpu-v6e-slice", (2, 2))),)))


LABELS = (
    NAMES.partition_id, NAMES.node_pool, NAMES.block, NAMES.host_index, NAMES.accelerator, NAMES.topology, NAMES.topology_mode,
    NAMES.partition_state, NAMES.spare, NAMES.gang, NAMES.maintenance_time,
)  # fmt: skip
VALUES = (
    None,
    "",
    "cube-0",
    "cube-2",
    "p0",
    "0",
    "3",
    "17",
    "-1",
    "tpu-v5p-slice",
    "tpu-v6e-slice",
    "4x4",
    "4x4x8",
    PROVISION_ONLY,
)
HOSTS = tuple(host for cube in HEALTHY.plan.cubes for host in HEALTHY.hosts_of(cube.name))
WRONG = st.tuples(st.sampled_from(LABELS), st.sampled_from(VALUES), st.sets(st.sampled_from(HOSTS), min_size=1, max_size=4))


@settings(max_examples=25, deadline=None)
@given(wrong=st.lists(WRONG, min_size=1, max_size=4), tree=st.booleans())
def test_whatever_labels_a_fleet_has_it_can_be_planned_on(wrong: list[tuple[str, str | None, set[str]]], *, tree: bool) -> None:
    builder: FleetBuilder = HEALTHY
    for label, value, hosts in wrong:
        builder = builder.labelled({label: value}, *sorted(hosts))
    snapshot = snapshot_of(builder.build(), NOW, LEVELS if tree else Beside())
    for shape in (CUBE, (2, 2, 2)):
        place(snapshot, asking(shape))
    fragmentation_of(snapshot)
