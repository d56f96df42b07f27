"""A gang is placed whole on healthy, free topology, or not at all and with reasons."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.scheduling.beside import Beside
from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.gangs import crossed, request_of
from sliceward.scheduling.place import place
from sliceward.scheduling.plan import NoFit, Plan
from sliceward.scheduling.request import Request
from sliceward.topology.gangs import GangState
from sliceward.topology.ids import PodId
from sliceward.topology.names import NAMES
from tests.builders import NOW, FleetBuilder, a_fleet, cube_id, gang_id, host_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import GangId, HostId

Object = dict[str, Any]
LLM = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1")
THREE = LLM.with_gang("small").on("cube-2").spare("cube-3")


def placed(
    builder: FleetBuilder,
    gang: str = "llm",
    *,
    avoid: tuple[str, ...] = (),
    reserved: Mapping[HostId, GangId] | None = None,
    kind: str = "JobSet",
) -> Plan | NoFit:
    """Place a gang of the builder's fleet; ``avoid`` names cubes."""
    fleet = builder.build()
    hosts = frozenset(host for cube in avoid for host in fleet.cubes[cube_id(cube)].hosts)
    return answer(fleet, fleet.gangs[gang_id(gang, kind=kind)], hosts, reserved or {})


def answer(fleet: Fleet, gang: Gang, avoid: frozenset[HostId], reserved: Mapping[HostId, GangId]) -> Plan | NoFit:
    """Place a gang of a fleet that was read, as the coordinator does."""
    request = request_of(fleet, gang, NOW, avoid=avoid, heals=True)
    if isinstance(request, NoFit):
        return request
    found = place(snapshot_of(fleet, NOW, Beside(reserved=reserved)), request)
    return crossed(request, found) or found if isinstance(found, Plan) else found


def plan(found: Plan | NoFit) -> Plan:
    assert isinstance(found, Plan), found
    return found


def no_fit(found: Plan | NoFit) -> NoFit:
    assert isinstance(found, NoFit), found
    return found


def cubes(found: Plan | NoFit) -> list[list[str]]:
    return [[cube.name for cube in planned.cubes] for planned in plan(found).slices]


def template(jobset: Object) -> Object:
    found: Object = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    return found


def test_a_gang_leaves_only_the_cube_that_is_to_be_avoided() -> None:
    found = plan(placed(THREE, avoid=("cube-0",)))
    assert cubes(found) == [["cube-3"], ["cube-1"]]
    assert [planned.stays for planned in found.slices] == [False, True]
    assert [planned.index for planned in found.moved] == [0]
    assert found.reasons == ("slice 0 goes to cube-3: switching 96 chip-seconds", "slice 1 stays in cube-1")
    assert len(found.hosts) == 32
    assert found.cubes == {cube_id("cube-1"), cube_id("cube-3")}
    assert found.at == NOW


def test_a_healthy_gang_stays_where_it_is() -> None:
    assert plan(placed(THREE)).moved == ()


def test_a_slice_leaves_the_block_that_lost_a_switch_and_none_elsewhere_moves_for_it() -> None:
    fleet = LLM.and_cubes(2, block="c1-block-1", prefix="other").build()
    request = request_of(fleet, fleet.gangs[gang_id("llm")], NOW, heals=True)
    assert isinstance(request, Request)
    whole = snapshot_of(fleet, NOW)
    assert cubes(place(whole.with_switches(PodId("c1", "c1-block-0"), ["ocs-1"]), request)) == [["other-0"], ["other-1"]]
    assert plan(place(whole.with_switches(PodId("c1", "c1-block-1"), ["ocs-1"]), request)).moved == ()


def test_nothing_fits_and_each_cube_says_why() -> None:
    found = no_fit(placed(THREE, avoid=("cube-0", "cube-3")))
    assert found.why == "needs 2 of 4x4x4; 1 of 4 cubes are free as a whole; the others: 2 to be avoided, 1 held by small"
    assert {r.part.name: r.why for r in found.rejected} == {
        "cube-0": "to be avoided (16 of 16 hosts, e.g. cube-0-host-00)",
        "cube-2": "held by small (16 of 16 hosts, e.g. cube-2-host-00)",
        "cube-3": "to be avoided (16 of 16 hosts, e.g. cube-3-host-00)",
    }


BAD_HOST = "cube-3-host-07"


@pytest.mark.parametrize(
    ("builder", "why"),
    [
        (THREE.not_ready(BAD_HOST), "readiness unknown"),
        (THREE.not_ready(BAD_HOST, status="False"), "not Ready"),
        (THREE.cordoned(BAD_HOST), "cordoned"),
        (THREE.marked("inc-1", BAD_HOST), "out of service for incident inc-1"),
        (THREE.tainted("example.org/x", BAD_HOST), "tainted example.org/x"),
        (THREE.tainted("example.org/x", BAD_HOST, effect="NoExecute"), "tainted example.org/x"),
        (THREE.with_stranger(BAD_HOST), "held by pod other/stranger"),
        (THREE.without(BAD_HOST), "cube has 15 of 16 hosts"),
        (THREE.partition_state("cube-3", "UNHEALTHY"), "cube is UNHEALTHY in Google's words"),
        (THREE.partition_state("cube-3", "INCOMPLETE"), "cube is INCOMPLETE in Google's words"),
        (THREE.partition_state("cube-3", "UNSET"), "cube is UNSET in Google's words"),
        (THREE.partition_state("cube-3", "BRAND_NEW"), "cube is BRAND_NEW in Google's words"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_host_that_is_not_surely_free_rules_its_cube_out(builder: FleetBuilder, why: str) -> None:
    found = no_fit(placed(builder, avoid=("cube-0",)))
    assert next(r.why for r in found.rejected if r.part.name == "cube-3").startswith(why)


def test_cubes_of_another_generation_are_not_looked_at() -> None:
    other = THREE.labelled({NAMES.accelerator: "tpu-v5p-slice"}, *THREE.hosts_of("cube-3"))
    found = no_fit(placed(other, avoid=("cube-0",)))
    assert {no.part.name for no in found.rejected} == {"cube-0", "cube-2"}


def test_several_reasons_in_one_cube_name_the_commonest_and_count_the_rest() -> None:
    builder = THREE.cordoned("cube-3-host-01", "cube-3-host-02").not_ready("cube-3-host-03")
    found = no_fit(placed(builder, avoid=("cube-0",)))
    assert found.rejected[-1].why == "cordoned (2 of 16 hosts, e.g. cube-3-host-01), and 1 hosts for other reasons"


def test_promised_hosts_are_for_their_gang_alone() -> None:
    hosts = a_fleet().build().cubes[cube_id("cube-3")].hosts
    assert "promised to small" in no_fit(placed(THREE, avoid=("cube-0",), reserved=dict.fromkeys(hosts, gang_id("small")))).why
    assert cubes(placed(THREE, avoid=("cube-0",), reserved=dict.fromkeys(hosts, gang_id("llm")))) == [["cube-3"], ["cube-1"]]


def test_hosts_labelled_for_a_gang_that_still_selects_them_are_promised() -> None:
    def select(jobset: Object) -> None:
        template(jobset)["spec"]["nodeSelector"][NAMES.gang] = "small-1"

    labelled = THREE.gang_edited("small", select).labelled({NAMES.gang: "small-1"}, *THREE.hosts_of("cube-3"))
    assert "promised to small" in no_fit(placed(labelled, avoid=("cube-0",))).why
    ended = labelled.gang_edited("small", lambda j: j.update(status={"terminalState": "Completed"}))
    assert cubes(placed(ended, avoid=("cube-0",))) == [["cube-3"], ["cube-1"]]
    mine = THREE.labelled({NAMES.gang: "stale"}, *THREE.hosts_of("cube-3"))
    assert cubes(placed(mine, avoid=("cube-0",))) == [["cube-3"], ["cube-1"]]


def test_a_degraded_cube_is_the_second_choice_and_no_reason_to_leave() -> None:
    five = a_fleet().with_cubes(5).with_gang("llm").on("cube-0")
    assert cubes(placed(five.partition_state("cube-1", "DEGRADED"), avoid=("cube-0",))) == [["cube-2"]]
    worse = five.partition_state("cube-1", "DEGRADED")
    assert cubes(placed(worse, avoid=("cube-0", "cube-2", "cube-3", "cube-4"))) == [["cube-1"]]
    assert plan(placed(five.partition_state("cube-0", "DEGRADED"))).moved == ()


def test_an_unlabelled_partition_is_taken_at_its_hosts_word() -> None:
    assert cubes(placed(THREE.partition_state("cube-3", None), avoid=("cube-0",))) == [["cube-3"], ["cube-1"]]


def test_a_suspended_gang_is_placed_as_if_new() -> None:
    assert cubes(placed(LLM.suspended("llm"))) == [["cube-0"], ["cube-1"]]


def test_a_slice_that_is_mixed_is_made_whole() -> None:
    mixed = LLM.pod_edited("llm-slice-0-5-", lambda pod: pod["spec"].update(nodeName="cube-2-host-05"))
    found = plan(placed(mixed))
    assert cubes(found) == [["cube-0"], ["cube-1"]]
    assert [planned.stays for planned in found.slices] == [False, True]


class TestSeveralCubes:
    """Slices of several cubes take any cubes of one TPU pod."""

    def test_a_slice_moves_as_a_whole_when_one_of_its_cubes_is_sick(self) -> None:
        builder = a_fleet().with_cubes(4).with_gang("big", topology="4x4x8", kind="Job").on("cube-0", "cube-1")
        assert sorted(cubes(placed(builder, "big", avoid=("cube-0",), kind="Job"))[0]) == ["cube-1", "cube-2"]
        assert plan(placed(builder, "big", kind="Job")).moved == ()

    def test_cubes_of_two_pods_are_never_joined(self) -> None:
        builder = (
            a_fleet()
            .with_cubes(1)
            .and_cubes(1, block="b2", prefix="far")
            .with_gang("big", topology="4x4x8", kind="Job")
            .waiting()
        )
        found = no_fit(placed(builder, "big", kind="Job"))
        whole = "needs 1 of 4x4x8; 2 of 2 cubes are free as a whole"
        assert found.why == f"{whole}; it could not be held whatever were healthy and free"
        more = builder.plan
        assert more.cubes[0].block != more.cubes[1].block

    def test_the_fullest_pod_that_fits_is_used(self) -> None:
        builder = (
            a_fleet()
            .with_cubes(5)
            .and_cubes(2, block="b2", prefix="far")
            .with_gang("big", topology="4x4x8", kind="Job")
            .waiting()
        )
        assert cubes(placed(builder, "big", kind="Job")) == [["far-0", "far-1"]]

    def test_a_healthy_pod_goes_before_a_fuller_degraded_one(self) -> None:
        builder = (
            a_fleet()
            .with_cubes(5)
            .and_cubes(2, block="b2", prefix="far")
            .with_gang("big", topology="4x4x8", kind="Job")
            .waiting()
        )
        assert cubes(placed(builder.partition_state("far-0", "DEGRADED"), "big", kind="Job")) == [["cube-0", "cube-1"]]

    def test_exclusive_topology_by_cube_cannot_hold_a_slice_of_two(self) -> None:
        builder = a_fleet().with_gang("big", topology="4x4x8").waiting()
        assert isinstance(placed(builder, "big"), NoFit)

    def test_the_slice_label_is_set_later_and_is_no_hindrance(self) -> None:
        def edit(jobset: Object) -> None:
            jobset["metadata"]["annotations"][NAMES.exclusive_topology] = NAMES.slice

        builder = a_fleet().with_gang("big", slices=2, topology="4x4x8").waiting().gang_edited("big", edit)
        assert cubes(placed(builder, "big")) == [["cube-0", "cube-1"], ["cube-2", "cube-3"]]


class TestBoxes:
    """Slices below a cube take aligned boxes."""

    @pytest.mark.parametrize(("topology", "hosts"), [("2x2x1", 1), ("2x2x2", 2), ("2x2x4", 4), ("2x4x4", 8)])
    def test_a_box_takes_its_hosts_and_no_more(self, topology: str, hosts: int) -> None:
        found = plan(placed(a_fleet().with_gang("g", topology=topology, kind="Job").waiting(), "g", kind="Job"))
        assert len(found.hosts) == hosts
        assert found.slices[0].hosts[0] == host_id("cube-0-host-00")

    def test_a_box_goes_where_whole_cubes_are_spared(self) -> None:
        builder = a_fleet().with_gang("a", topology="2x2x4", kind="Job").on("cube-2")
        builder = builder.with_gang("b", topology="2x2x4", kind="Job").waiting()
        assert cubes(placed(builder, "b", kind="Job")) == [["cube-2"]]

    def test_a_box_stays_where_it_is_whole(self) -> None:
        builder = a_fleet().with_gang("a", topology="2x2x4", kind="Job").on("cube-2")
        assert plan(placed(builder, "a", kind="Job")).moved == ()

    def test_a_box_leaves_a_sick_host_within_its_cube(self) -> None:
        builder = a_fleet().with_gang("a", topology="2x2x4", kind="Job").on("cube-2").cordoned("cube-2-host-00")
        found = plan(placed(builder, "a", kind="Job"))
        assert cubes(found) == [["cube-2"]]
        assert host_id("cube-2-host-00") not in found.hosts

    def test_no_box_rests_on_hosts_whose_place_is_unknown(self) -> None:
        builder = a_fleet().with_cubes(1).with_gang("a", topology="2x4x4", kind="Job").waiting()
        bare = builder.labelled({NAMES.host_index: None}, "cube-0-host-00", "cube-0-host-01")
        assert isinstance(placed(bare, "a", kind="Job"), NoFit)

    def test_exclusive_topology_gives_each_box_a_cube_of_its_own(self) -> None:
        builder = a_fleet().with_gang("other", topology="2x2x4", kind="Job").on("cube-0")
        builder = builder.with_gang("g", slices=2, topology="2x2x4").waiting()
        assert cubes(placed(builder, "g")) == [["cube-1"], ["cube-2"]]

    def test_a_box_that_is_spread_is_made_whole(self) -> None:
        builder = a_fleet().with_gang("a", topology="2x2x4", kind="Job").on("cube-2")
        spread = builder.pod_edited("a-1-", lambda pod: pod["spec"].update(nodeName="cube-3-host-01"))
        assert not plan(placed(spread, "a", kind="Job")).slices[0].stays
        odd = builder.pod_edited("a-1-", lambda pod: pod["spec"].update(nodeName="cube-2-host-01"))
        assert not plan(placed(odd, "a", kind="Job")).slices[0].stays


class TestClassicPools:
    """A pool is taken as it stands."""

    def test_a_flat_gang_goes_to_another_pool_of_its_shape(self) -> None:
        builder = a_fleet(generation="tpu-v6e-slice").with_pools("4x4", 3).with_gang("g", topology="4x4").on("pool-0")
        assert cubes(placed(builder, "g", avoid=("pool-0",))) == [["pool-1"]]

    def test_a_long_pool_is_taken_whole(self) -> None:
        builder = a_fleet(generation="tpu-v5p-slice").with_pools("4x4x8", 2).with_gang("g", topology="4x4x8").on("pool-0")
        assert cubes(placed(builder, "g", avoid=("pool-0",))) == [["pool-1"]]
        assert plan(placed(builder, "g")).moved == ()

    def test_a_pool_is_never_divided(self) -> None:
        builder = a_fleet(generation="tpu-v5p-slice").with_pools("4x4x4", 2)
        waiting = builder.with_gang("g", kind="Job", topology="4x4x4").waiting()

        def smaller(job: Object) -> None:
            job["spec"]["parallelism"] = 8
            job["spec"]["template"]["metadata"]["annotations"][NAMES.slice_topology] = "2x4x4"
            del job["spec"]["template"]["spec"]["nodeSelector"][NAMES.topology]

        assert isinstance(placed(waiting.gang_edited("g", smaller), "g", kind="Job"), NoFit)


class TestWhatCannotBePlanned:
    """A gang about which too little is known is not placed by a guess."""

    def test_a_gang_of_unknown_generation(self) -> None:
        builder = a_fleet().with_gang("g").waiting()
        bare = builder.gang_edited("g", lambda j: template(j)["spec"].pop("nodeSelector"))
        assert "generation is unknown" in no_fit(placed(bare, "g")).why

    def test_several_slices_without_exclusive_topology(self) -> None:
        builder = a_fleet().with_gang("g", slices=2, exclusive=False).waiting()
        assert "nothing would keep its slices whole" in no_fit(placed(builder, "g")).why

    def test_a_gang_without_a_slice(self) -> None:
        fleet = a_fleet().with_gang("g").waiting().build()
        empty = replace(fleet.gangs[gang_id("g")], roles=())
        assert "no slice that could be placed" in no_fit(answer(fleet, empty, frozenset(), {})).why

    def test_a_gang_larger_than_the_fleet(self) -> None:
        builder = a_fleet().with_gang("g", slices=5).waiting()
        assert no_fit(placed(builder, "g")).why.endswith("it could not be held whatever were healthy and free")

    def test_a_shape_that_is_not_known_for_certain(self) -> None:
        def edit(jobset: Object) -> None:
            template(jobset)["metadata"] = {}
            jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["parallelism"] = 64

        builder = a_fleet().with_gang("g").waiting().gang_edited("g", edit)
        assert "256 chips" in no_fit(placed(builder, "g")).why

    def test_hosts_that_lack_a_label_which_the_pods_select(self) -> None:
        def edit(jobset: Object) -> None:
            template(jobset)["spec"]["nodeSelector"]["team"] = "red"

        builder = LLM.gang_edited("llm", edit)
        assert "lacks label team=red" in no_fit(placed(builder)).why
        red = builder.labelled({"team": "red"}, *LLM.hosts_of("cube-2"), *LLM.hosts_of("cube-3"))
        assert cubes(placed(red)) == [["cube-2"], ["cube-3"]]

    def test_hosts_with_another_number_of_chips_than_the_pods_ask_for(self) -> None:
        def edit(jobset: Object) -> None:
            template(jobset)["spec"]["containers"][0]["resources"] = {"limits": {"google.com/tpu": 2}}
            jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["parallelism"] = 32

        builder = a_fleet().with_gang("g").waiting().gang_edited("g", edit)
        assert "has 4 chips, the pods ask for 2" in no_fit(placed(builder, "g")).why


def with_second_role(topology: str, hosts: int, *, teams: bool = False) -> Callable[[Object], None]:
    """Give the gang a second role; with ``teams`` the first selects team blue and the second team red."""

    def edit(jobset: Object) -> None:
        second = copy.deepcopy(jobset["spec"]["replicatedJobs"][0])
        second |= {"name": "second", "replicas": 1}
        second["template"]["spec"]["parallelism"] = hosts
        pods = second["template"]["spec"]["template"]
        pods["metadata"]["annotations"][NAMES.slice_topology] = topology
        if teams:
            template(jobset)["spec"]["nodeSelector"]["team"] = "blue"
            pods["spec"]["nodeSelector"]["team"] = "red"
        jobset["spec"]["replicatedJobs"].append(second)

    return edit


def test_roles_of_different_size_that_select_the_same_hosts_are_not_placed() -> None:
    builder = a_fleet().with_gang("g").waiting().gang_edited("g", with_second_role("2x2x4", 4))
    assert no_fit(placed(builder, "g")).why.startswith("roles 'slice' and 'second' could take each other's hosts")


def test_roles_of_the_same_size_may_share_their_hosts() -> None:
    builder = a_fleet().with_gang("g").waiting().gang_edited("g", with_second_role("4x4x4", 16))
    assert cubes(placed(builder, "g")) == [["cube-0"], ["cube-1"]]


@pytest.mark.parametrize(("topology", "hosts"), [("4x4x4", 16), ("2x2x4", 4)])
def test_roles_that_select_different_hosts_each_get_their_own(topology: str, hosts: int) -> None:
    builder = a_fleet().with_gang("g", slices=2).waiting().gang_edited("g", with_second_role(topology, hosts, teams=True))
    builder = builder.labelled({"team": "red"}, *builder.hosts_of("cube-0"))
    builder = builder.labelled({"team": "blue"}, *builder.hosts_of("cube-1"), *builder.hosts_of("cube-3"))
    assert cubes(placed(builder, "g")) == [["cube-1"], ["cube-3"], ["cube-0"]]


@st.composite
def troubled(draw: st.DrawFn) -> tuple[Fleet, frozenset[HostId], dict[HostId, GangId]]:
    """A fleet of a few cubes with two gangs and trouble anywhere, and what is to be avoided and reserved."""
    builder = a_fleet().with_cubes(6)
    builder = builder.with_gang("llm", slices=2).on("cube-0", "cube-1").with_gang("small").on("cube-2")
    names = [name for cube in builder.plan.cubes for name in builder.hosts_of(cube.name)]
    some = st.lists(st.sampled_from(names), max_size=2)
    builder = builder.not_ready(*draw(some)).cordoned(*draw(some)).marked("i", *draw(some)).without(*draw(some))
    for cube in draw(st.lists(st.sampled_from([c.name for c in builder.plan.cubes]), max_size=2)):
        builder = builder.partition_state(
            cube, draw(st.sampled_from(["HEALTHY", "DEGRADED", "UNHEALTHY", "INCOMPLETE", "UNSET"]))
        )
    if draw(st.booleans()):
        builder = builder.suspended("llm", pods_gone=draw(st.booleans()))
    if draw(st.booleans()):
        builder = builder.with_gang("box", topology="2x2x4", kind="Job").on("cube-4")
    fleet = builder.build()
    avoid = frozenset(host_id(name) for name in draw(some))
    reserved = {host_id(name): draw(st.sampled_from([gang_id("small"), gang_id("llm")])) for name in draw(some)}
    return fleet, avoid, reserved


@settings(max_examples=60)
@given(troubled(), st.sampled_from(["llm", "small", "box"]))
def test_a_gang_is_placed_whole_on_free_hosts_or_not_at_all(
    case: tuple[Fleet, frozenset[HostId], dict[HostId, GangId]], name: str
) -> None:
    fleet, avoid, reserved = case
    gang = fleet.gangs.get(gang_id(name, kind="Job" if name == "box" else "JobSet"))
    if gang is None:
        return
    found = answer(fleet, gang, avoid, reserved)
    assert found == answer(fleet, gang, avoid, reserved)
    if isinstance(found, NoFit):
        assert found.why
        return
    assert sum(fleet.hosts[host].chips for host in found.hosts) == gang.chips
    assert sum(len(planned.hosts) for planned in found.slices) == len(found.hosts)
    for host in found.hosts:
        assert fleet.hosts[host].available
        assert host not in avoid
        assert reserved.get(host, gang.id) == gang.id
        assert set(fleet.gangs_on.get(host, ())) <= {gang.id}
    for planned in found.slices:
        assert {fleet.hosts[host].cube for host in planned.hosts} == set(planned.cubes)
        assert all(fleet.cubes[cube].state in {"HEALTHY", "DEGRADED"} for cube in planned.cubes)
        assert gang.state in {GangState.RUNNING, GangState.SUSPENDED}


@settings(max_examples=30)
@given(troubled())
def test_two_gangs_never_get_the_same_chips(case: tuple[Fleet, frozenset[HostId], dict[HostId, GangId]]) -> None:
    fleet, avoid, _ = case
    first = answer(fleet, fleet.gangs[gang_id("llm")], avoid, {})
    if isinstance(first, Plan):
        promised = dict.fromkeys(first.hosts, gang_id("llm"))
        second = answer(fleet, fleet.gangs[gang_id("small")], avoid, promised)
        assert isinstance(second, NoFit) or first.hosts.isdisjoint(second.hosts)
