"""A fleet file in, the fleet out; what is wrong with the file is told with the path of the key."""

from __future__ import annotations

import pytest

from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import HostId
from sliceward.topology.plan import fleet_from_yaml, nodes_of, objects_of
from sliceward.topology.planned import plans_from_yaml
from tests.builders import NOW, a_fleet, cube_id, gang_id

FILE = """
clusters:
  - name: c1
    generation: tpu7x
    cubes: 4
    spares: [cube-3]
    gangs:
      - {name: llm, slices: 2, cubes: [cube-0, cube-1]}
      - {name: small, namespace: ml, tenant: research, cubes: [cube-2]}
      - {name: later, kind: Job}
"""


def test_a_fleet_file_gives_the_fleet() -> None:
    fleet = fleet_from_yaml(FILE, NOW)
    assert fleet.problems == ()
    assert (len(fleet.hosts), len(fleet.cubes), len(fleet.gangs)) == (64, 4, 3)
    assert fleet.cubes[cube_id("cube-3")].spare
    assert fleet.gangs[gang_id("small", "ml")].tenant == "research"
    assert fleet.gangs[gang_id("later", kind="Job")].state == "suspended"


def test_the_file_and_the_builders_give_the_same_fleet() -> None:
    text = "clusters: [{name: c1, cubes: 4, gangs: [{name: llm, slices: 2, cubes: [cube-0, cube-1]}]}]"
    assert fleet_from_yaml(text, NOW) == a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").build()


def test_the_same_plan_draws_the_same_objects() -> None:
    plan = plans_from_yaml(FILE)[0]
    assert objects_of(plan) == objects_of(plan)
    uids = [node["metadata"]["uid"] for node in nodes_of(plan)]
    assert len(set(uids)) == 64


def test_named_cubes_pools_and_hosts_are_as_the_file_says() -> None:
    text = """
clusters:
  - {name: c1, cubes: [east, west], block: b7, hosts: "{cube}.{index:03d}"}
  - {name: c2, generation: v6e, chips_a_host: 8, pools: [{name: p, topology: 4x8}], gangs: [{name: g, cubes: [p]}]}
  - {name: c3, generation: v5p, pools: [{name: q, topology: 4x4x8}], gangs: [{name: g, topology: 4x4x8, cubes: [q], kind: Job}]}
"""
    fleet = fleet_from_yaml(text, NOW)
    assert fleet.problems == ()
    assert HostId("c1", "west.015") in fleet.hosts
    assert fleet.cubes[cube_id("east")].pod is not None
    assert fleet.gangs[gang_id("g", cluster="c2")].exclusive_key == "cloud.google.com/gke-nodepool"
    assert len(fleet.gangs[gang_id("g", kind="Job", cluster="c3")].members) == 32


def test_boxes_of_one_gang_fill_a_cube_one_after_the_other() -> None:
    text = """
clusters:
  - name: c1
    cubes: 1
    gangs: [{name: g, slices: 2, topology: 2x4x4, exclusive: false, cubes: [cube-0, cube-0]}]
"""
    fleet = fleet_from_yaml(text, NOW)
    gang = fleet.gangs[gang_id("g")]
    assert len(gang.hosts) == 16
    assert {m.host.name for m in gang.members if m.slice_index == 0 and m.host} == {
        f"cube-0-host-{n:02d}" for n in range(0, 16, 2)
    }


def gang(text: str) -> str:
    return f"clusters: [{{name: c1, cubes: 4, gangs: [{text}]}}]"


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("clusters: [", "fleet:1:12", ""),
        ("\x00", "fleet:1:1", ""),
        ("[]", "fleet", ""),
        ("clusters: []", "fleet.clusters", "at least one"),
        ("cluster: []", "fleet.cluster", "'clusters'"),
        ("clusters: [{name: c1, cubes: 1}, {name: c1, cubes: 1}]", "fleet.clusters", "own name"),
        ("clusters: [{name: -c}]", "fleet.clusters[0].name", "letters"),
        ("clusters: [{cubes: 1}]", "fleet.clusters[0].name", ""),
        ("clusters: [{name: c1, generation: tpu7}]", "fleet.clusters[0].generation", "'tpu7x'"),
        ("clusters: [{name: c1, generation: gpu}]", "fleet.clusters[0].generation", "Known are"),
        ("clusters: [{name: c1, chips_a_host: 3}]", "fleet.clusters[0].chips_a_host", "1 or 4"),
        ("clusters: [{name: c1, cubes: many}]", "fleet.clusters[0].cubes", "whole number"),
        ("clusters: [{name: c1, cubes: 1000000}]", "fleet.clusters[0].cubes", "At most"),
        ("clusters: [{name: c1, cubes: [a, a]}]", "fleet.clusters[0].cubes", "own name"),
        ("clusters: [{name: c1, cubes: [a, 'b c']}]", "fleet.clusters[0].cubes[1]", "letters"),
        ("clusters: [{name: c1, generation: v5e, cubes: 2}]", "fleet.clusters[0].cubes", "pools"),
        ("clusters: [{name: c1, pools: [{name: p, topology: 4x5}]}]", "fleet.clusters[0].pools[0].topology", "4x8"),
        ("clusters: [{name: c1, cubes: 2, spares: [cube-9]}]", "fleet.clusters[0].spares[0]", "cube-"),
        ("clusters: [{name: c1, cubes: 2, spares: [zzz]}]", "fleet.clusters[0].spares[0]", "above"),
        ("clusters: [{name: c1, cubes: 1, hosts: '{node}'}]", "fleet.clusters[0].hosts", "{index:02d}"),
        ("clusters: [{name: c1, cubes: 1, hosts: 'h'}]", "fleet.clusters[0].hosts", "own name"),
        ("clusters: [{name: c1, cubes: 1, hosts: '{cube} {index}'}]", "fleet.clusters[0].hosts", "{cube}"),
        (gang("{name: g, slcies: 1}"), "fleet.clusters[0].gangs[0].slcies", "'slices'"),
        (gang("{name: g, kind: Ray}"), "fleet.clusters[0].gangs[0].kind", "JobSet or Job"),
        (gang("{name: g, slices: 0}"), "fleet.clusters[0].gangs[0].slices", "1 to"),
        (gang("{name: g, kind: Job, slices: 2}"), "fleet.clusters[0].gangs[0].slices", "a Job has one"),
        (gang("{name: g, topology: 4x4x5}"), "fleet.clusters[0].gangs[0].topology", "4x4x8"),
        (gang("{name: g, cubes: [cube-9]}"), "fleet.clusters[0].gangs[0].cubes[0]", "cube-"),
        (gang("{name: g, slices: 2, cubes: [cube-0]}"), "fleet.clusters[0].gangs[0].cubes", "slice by slice"),
        (gang("{name: g, cubes: [cube-0]}, {name: h, cubes: [cube-0]}"), "fleet.clusters[0].gangs[1].cubes", "Two gangs"),
        (gang("{name: g}, {name: g}"), "fleet.clusters[0].gangs", "own name"),
    ],
)
def test_what_is_wrong_with_a_fleet_file_is_told_with_its_path(text: str, where: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        plans_from_yaml(text)
    assert caught.value.where == where
    assert hint in caught.value.what_to_do


def test_a_gang_in_a_cluster_without_cubes_needs_its_shape() -> None:
    with pytest.raises(Misconfigured, match="topology"):
        plans_from_yaml("clusters: [{name: c1, gangs: [{name: g}]}]")
    (plan,) = plans_from_yaml("clusters: [{name: c1, gangs: [{name: g, topology: 4x4x4, queue: q}]}]")
    assert objects_of(plan).jobsets[0]["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "q"}
