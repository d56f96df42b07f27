"""Nodes become hosts and cubes; what cannot be used becomes a named problem."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sliceward.daemons.agent.identity import layout_of
from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.sources.pods import NodeFacts
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fleet import Fleet, Mark
from sliceward.topology.health import Health
from sliceward.topology.ids import HostId, PodId
from sliceward.topology.names import NAMES, override
from sliceward.topology.reading import read_fleet
from tests.builders import a_fleet, cube_id, host_id

HOST = host_id("cube-0-host-05")
NAME = "cube-0-host-05"


def problems(fleet: Fleet) -> set[tuple[str, str]]:
    return {(p.name, p.about) for p in fleet.problems}


def test_four_cubes_are_read_without_a_problem() -> None:
    fleet = a_fleet().build()
    host = fleet.hosts[HOST]
    assert fleet.problems == ()
    assert (len(fleet.hosts), len(fleet.cubes)) == (64, 4)
    assert (host.generation, host.chips, host.cube, host.pod) == ("tpu7x", 4, cube_id("cube-0"), PodId("c1", "c1-block-0"))
    assert (host.index, host.ready, host.cordoned, host.marks) == (5, Health.HEALTHY, False, ())
    assert host.coordinates == ((2, 0, 1), (3, 0, 1), (2, 1, 1), (3, 1, 1))
    assert host.instance_id.isdecimal()
    assert host.boot_id
    assert host.version == "1"
    cube = fleet.cubes[cube_id("cube-0")]
    assert (cube.shape, cube.expected_hosts, cube.state, cube.classic, cube.complete) == ((4, 4, 4), 16, "HEALTHY", False, True)
    assert cube.hosts[5] == HOST


@pytest.mark.parametrize(
    ("status", "health"), [("True", "healthy"), ("False", "unhealthy"), ("Unknown", "unknown"), ("?", "unknown")]
)
def test_readiness_has_three_values(status: str, health: str) -> None:
    host = a_fleet().with_condition("Ready", status, NAME).build().hosts[HOST]
    assert host.ready == health
    assert host.conditions["Ready"] == status


def test_a_node_that_never_reported_is_unknown() -> None:
    fleet = a_fleet().edited(NAME, lambda node: node.pop("status")).build()
    assert fleet.hosts[HOST].ready is Health.UNKNOWN


def test_our_taint_is_ours_and_those_of_others_are_not() -> None:
    host = a_fleet().marked("inc-7", NAME).cordoned(NAME).build().hosts[HOST]
    assert host.marks == (
        Mark("sliceward.dev/out-of-service", "inc-7", "NoSchedule", ours=True),
        Mark("node.kubernetes.io/unschedulable", "", "NoSchedule", ours=False),
    )
    assert '"incident": "inc-7"' in host.annotations["sliceward.dev/incident"]


def test_an_instance_without_its_number_is_known_by_its_provider_id() -> None:
    host = a_fleet().edited(NAME, lambda node: node["metadata"].pop("annotations")).build().hosts[HOST]
    assert host.instance_id == "gce://sliceward/c1/cube-0-host-05"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({NAMES.accelerator: "tpu9"}, ("UnknownAccelerator", str(HOST))),
        ({NAMES.accelerator: None}, ("MissingLabel", str(HOST))),
        ({NAMES.accelerator_count: "3"}, ("ContradictoryLabels", str(HOST))),
        ({NAMES.partition_id: None}, ("MissingLabel", str(HOST))),
        ({NAMES.partition_id: None, NAMES.topology: "4x5x4"}, ("ContradictoryLabels", str(HOST))),
        ({NAMES.partition_id: None, NAMES.topology: "big"}, ("ContradictoryLabels", str(HOST))),
        ({NAMES.partition_id: "-"}, ("MalformedObject", str(HOST))),
        ({NAMES.host_index: None}, ("MissingIndex", "c1/cube/cube-0")),
        ({NAMES.host_index: "one"}, ("MissingIndex", "c1/cube/cube-0")),
        ({NAMES.host_index: "4"}, ("DoubledIndex", "c1/cube/cube-0")),
        ({NAMES.host_index: "16"}, ("ContradictoryLabels", "c1/cube/cube-0")),
        ({NAMES.block: "elsewhere"}, ("ContradictoryLabels", "c1/cube/cube-0")),
        ({NAMES.partition_state: "DEGRADED"}, ("ContradictoryLabels", "c1/cube/cube-0")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else ",".join(f"{k.rpartition('/')[2]}={v}" for k, v in value.items()),
)
def test_a_label_that_cannot_be_used_is_a_named_problem(labels: dict[str, str | None], expected: tuple[str, str]) -> None:
    fleet = a_fleet().labelled(labels, NAME).build()
    assert expected in problems(fleet)
    assert all(cube_id(f"cube-{n}") in fleet.cubes for n in (1, 2, 3))
    assert all(p.why and p.what_to_do for p in fleet.problems)


def test_a_node_without_accelerator_and_without_chips_is_passed_over() -> None:
    plain = {"metadata": {"name": "cpu-1"}, "status": {"capacity": {"cpu": "4"}}}
    drawn = a_fleet().objects()
    fleet = read_fleet("c1", nodes=[*drawn.nodes, plain], pods=[], as_of=datetime(2026, 1, 1, tzinfo=UTC))
    assert fleet.problems == ()
    assert len(fleet.hosts) == 64


def test_chips_come_from_capacity_where_the_count_is_not_labelled() -> None:
    def as_number(node: dict[str, Any]) -> None:
        node["status"]["capacity"]["google.com/tpu"] = 4

    fleet = a_fleet().labelled({NAMES.accelerator_count: None}, NAME, "cube-0-host-06").edited(NAME, as_number).build()
    assert fleet.problems == ()
    assert fleet.hosts[HOST].chips == 4


@pytest.mark.parametrize(
    ("label", "capacity", "chips", "is_problem"),
    [
        pytest.param("4", "4", 4, False, id="both say chips"),
        pytest.param("8", "8", 4, False, id="both say devices"),
        pytest.param("8", "4", 4, False, id="the label says devices"),
        pytest.param("8", "0", 4, False, id="the device plugin is not up"),
        pytest.param(None, "8", 4, False, id="the capacity says devices"),
        pytest.param("4", "8", 4, True, id="more than the label says"),
        pytest.param("4", "1", 4, True, id="fewer than the label says"),
        pytest.param("four", "4", 4, True, id="a word"),
        pytest.param("٤", "4", 4, True, id="another script"),
        pytest.param("9" * 5000, "4", 4, True, id="endless"),
        pytest.param("0", "4", 4, True, id="none"),
        pytest.param("0", "0", None, True, id="none and nothing"),
        pytest.param("5", "4", None, True, id="no such host"),
    ],
)
def test_counts_of_chips_that_contradict_each_other_are_a_problem_and_no_guess(
    label: str | None, capacity: str, chips: int | None, *, is_problem: bool
) -> None:
    def have(node: dict[str, Any]) -> None:
        node["status"]["capacity"]["google.com/tpu"] = capacity

    fleet = a_fleet().labelled({NAMES.accelerator_count: label}, NAME).edited(NAME, have).build()
    assert (fleet.hosts[HOST].chips if HOST in fleet.hosts else None) == chips
    assert (("ContradictoryLabels", str(HOST)) in problems(fleet)) is is_problem
    facts = NodeFacts({NAMES.accelerator: "tpu7x", NAMES.accelerator_count: label or ""})
    assert chips_its_agent_reads(facts) in {None, chips}, "the agent reads the label as the fleet does, or asks PCI"


def chips_its_agent_reads(facts: NodeFacts) -> int | None:
    settings = AgentSettings.model_validate({"cluster": "c1", "node": NAME, "sources": {"root": Path("/not/there")}})
    try:
        return layout_of(settings, facts, names=NAMES).chips
    except Misconfigured:
        return None


@pytest.mark.parametrize(
    ("topology", "is_problem"), [("4x4x4", False), ("4x4x8", False), ("2x2x1", True), ("4x4", True), ("?", True)]
)
def test_a_topology_beside_a_partition_is_made_of_whole_cubes(topology: str, *, is_problem: bool) -> None:
    fleet = a_fleet().labelled({NAMES.topology: topology}, NAME).build()
    assert fleet.hosts[HOST].cube == cube_id("cube-0")
    assert (("ContradictoryLabels", str(HOST)) in problems(fleet)) is is_problem


def test_a_host_without_any_count_of_chips_is_set_aside() -> None:
    fleet = (
        a_fleet()
        .labelled({NAMES.accelerator_count: None}, NAME)
        .edited(NAME, lambda node: node["status"].pop("capacity"))
        .build()
    )
    assert problems(fleet) == {("MissingLabel", str(HOST)), ("IncompleteCube", "c1/cube/cube-0")}


def test_a_cube_with_a_missing_host_is_incomplete() -> None:
    fleet = a_fleet().without(NAME).build()
    assert problems(fleet) == {("IncompleteCube", "c1/cube/cube-0")}
    assert not fleet.cubes[cube_id("cube-0")].complete


def test_a_doubled_index_is_used_for_neither_host() -> None:
    fleet = a_fleet().labelled({NAMES.host_index: "4"}, NAME).build()
    for name in (NAME, "cube-0-host-04"):
        assert fleet.hosts[host_id(name)].index is None
        assert fleet.hosts[host_id(name)].coordinates == ()
    assert fleet.hosts[host_id("cube-0-host-06")].index == 6
    (problem,) = fleet.problems
    assert "cube-0-host-04, cube-0-host-05" in problem.why


def test_nodes_of_one_cube_that_disagree_leave_no_cube_and_keep_their_hosts() -> None:
    fleet = a_fleet().labelled({NAMES.block: "elsewhere"}, NAME).build()
    assert cube_id("cube-0") not in fleet.cubes
    assert fleet.hosts[HOST].cube is None
    mixed = a_fleet().labelled({NAMES.accelerator: "tpu-v5p-slice"}, NAME).build()
    assert "different generations" in next(p.why for p in mixed.problems)


def test_of_contradicting_partition_states_the_worst_counts() -> None:
    fleet = a_fleet().labelled({NAMES.partition_state: "DEGRADED"}, NAME).build()
    assert fleet.cubes[cube_id("cube-0")].state == "DEGRADED"
    unset = a_fleet().partition_state("cube-1", None).build()
    assert unset.cubes[cube_id("cube-1")].state is None


def test_a_classic_pool_is_a_cube_of_its_own_shape() -> None:
    fleet = a_fleet(generation="tpu-v6e-slice").with_pools("4x8", 2).build()
    assert fleet.problems == ()
    cube = fleet.cubes[cube_id("pool-1")]
    assert (cube.shape, cube.expected_hosts, cube.state, cube.classic) == ((4, 8), 8, None, True)
    assert fleet.hosts[host_id("pool-1-host-03")].coordinates[0] == (2, 2)


def test_hosts_of_a_single_host_pool_are_cubes_one_by_one() -> None:
    fleet = (
        a_fleet(generation="tpu-v6e-slice")
        .with_pools("2x2", 3)
        .labelled({NAMES.node_pool: "p"}, *(f"pool-{n}-host-00" for n in range(3)))
        .build()
    )
    assert sorted(c.name for c in fleet.cubes) == [f"pool-{n}-host-00" for n in range(3)]
    assert all(host.index == 0 for host in fleet.hosts.values())


def test_two_nodes_of_one_name_are_a_problem_and_count_once() -> None:
    drawn = a_fleet().objects()
    fleet = read_fleet("c1", nodes=[*drawn.nodes, drawn.nodes[0]], pods=[], as_of=datetime(2026, 1, 1, tzinfo=UTC))
    assert problems(fleet) == {("DoubledNode", "c1/host/cube-0-host-00")}


def test_spares_are_labelled() -> None:
    fleet = a_fleet().spare("cube-3").build()
    assert [cube.spare for cube in fleet.cubes.values()] == [False, False, False, True]


def test_names_can_be_others() -> None:
    names = override({"partition_id": "example.org/cube"})
    drawn = a_fleet().labelled({"example.org/cube": "mine"}, *a_fleet().hosts_of("cube-0")).objects()
    fleet = read_fleet("c1", nodes=drawn.nodes[:16], pods=[], names=names, as_of=datetime(2026, 1, 1, tzinfo=UTC))
    assert list(fleet.cubes) == [cube_id("mine")]


class TestPositions:
    """What chips report wins over labels, if it makes sense."""

    def observed(
        self, fleet: Fleet, cube: str = "cube-0", *, swap: tuple[int, int] | None = None
    ) -> dict[HostId, tuple[tuple[int, ...], ...]]:
        hosts = list(fleet.cubes[cube_id(cube)].hosts)
        places = {host: fleet.hosts[host].coordinates for host in hosts}
        if swap:
            one, other = (host_id(f"{cube}-host-{n:02d}") for n in swap)
            places[one], places[other] = places[other], places[one]
        return places

    def test_the_same_places_change_nothing(self) -> None:
        fleet = a_fleet().build()
        assert a_fleet().build(positions=self.observed(fleet)) == fleet

    def test_other_places_than_labelled_are_used_and_told(self) -> None:
        fleet = a_fleet().build(positions=self.observed(a_fleet().build(), swap=(0, 5)))
        assert fleet.hosts[HOST].index == 0
        assert fleet.cubes[cube_id("cube-0")].hosts[0] == HOST
        assert problems(fleet) == {("ContradictoryPositions", "c1/cube/cube-0")}

    def test_places_replace_missing_labels(self) -> None:
        bare = a_fleet().labelled({NAMES.host_index: None}, *a_fleet().hosts_of("cube-0"))
        assert problems(bare.build()) == {("MissingIndex", "c1/cube/cube-0")}
        fleet = bare.build(positions=self.observed(a_fleet().build()))
        assert fleet.problems == ()
        assert fleet.hosts[HOST].index == 5

    @pytest.mark.parametrize(
        "bad",
        [
            ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)),
            ((0, 0, 0),),
            ((2, 0, -1), (3, 0, 1), (2, 1, 1), (3, 1, 1)),
            ((2, 0), (3, 0), (2, 1), (3, 1)),
            ((2, 0, 9), (3, 0, 9), (2, 1, 9), (3, 1, 9)),
        ],
    )
    def test_places_that_fill_no_cube_are_a_problem_and_not_used(self, bad: object) -> None:
        fleet = a_fleet().build()
        again = a_fleet().build(positions={**self.observed(fleet), HOST: bad})
        assert problems(again) == {("ContradictoryPositions", "c1/cube/cube-0")}
        assert again.hosts == fleet.hosts

    @pytest.mark.parametrize("bad", ["text", [1, 2], ["ab"], [[1.5, 0, 0]], [[True, 0, 0]], 7])
    def test_places_of_the_wrong_type_are_a_problem(self, bad: object) -> None:
        fleet = a_fleet().build(positions={HOST: bad})
        assert problems(fleet) == {("MalformedObject", str(HOST))}

    def test_places_of_other_clusters_are_not_ours(self) -> None:
        assert a_fleet().build(positions={host_id(NAME, "c2"): "bad"}).problems == ()
