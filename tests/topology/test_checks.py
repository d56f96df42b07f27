"""The pods of one child job sit in one slice, or that is told."""

from __future__ import annotations

from typing import Any

from sliceward.topology.checks import mixed_slices
from tests.builders import FleetBuilder, a_fleet, cube_id, gang_id

Object = dict[str, Any]
LLM = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1")


def moved(builder: FleetBuilder, pod: str, host: str) -> FleetBuilder:
    return builder.pod_edited(pod, lambda found: found["spec"].update(nodeName=host))


def test_whole_slices_are_not_mixed() -> None:
    assert mixed_slices(LLM.build()) == ()


def test_a_pod_in_another_cube_mixes_its_slice_under_exclusive_topology() -> None:
    (mixed,) = mixed_slices(moved(LLM, "llm-slice-1-3-", "cube-2-host-03").build())
    assert (mixed.gang, mixed.role, mixed.index) == (gang_id("llm"), "slice", 1)
    assert mixed.cubes == (cube_id("cube-1"), cube_id("cube-2"))
    assert "2 domains" in mixed.why


def test_a_slice_of_known_shape_is_mixed_without_exclusive_topology_too() -> None:
    one = a_fleet().with_gang("one", kind="Job").on("cube-0")
    (mixed,) = mixed_slices(moved(one, "one-3-", "cube-2-host-03").build())
    assert "the slice has 1" in mixed.why


def test_a_slice_of_two_cubes_may_sit_in_two() -> None:
    builder = a_fleet().with_gang("big", kind="Job", topology="4x4x8").on("cube-0", "cube-1")
    assert mixed_slices(builder.build()) == ()


def test_a_classic_pool_is_one_domain() -> None:
    builder = a_fleet(generation="tpu-v6e-slice").with_pools("4x4", 2).with_gang("g", kind="Job", topology="4x4").on("pool-0")
    assert mixed_slices(builder.build()) == ()
    (mixed,) = mixed_slices(moved(builder, "g-3-", "pool-1-host-03").build())
    assert len(mixed.cubes) == 2


def test_pods_that_ended_or_sit_nowhere_known_mix_nothing() -> None:
    ended = moved(LLM, "llm-slice-1-3-", "cube-2-host-03").pod_edited("llm-", lambda pod: pod["status"].update(phase="Failed"))
    assert mixed_slices(ended.build()) == ()
    gone = moved(a_fleet().with_gang("one", kind="Job").on("cube-0"), "one-", "elsewhere")
    assert mixed_slices(gone.build()) == ()


def test_pods_of_a_role_that_is_gone_are_not_judged() -> None:
    def rename(pod: Object) -> None:
        pod["metadata"]["labels"]["jobset.sigs.k8s.io/replicatedjob-name"] = "renamed"

    assert mixed_slices(LLM.pod_edited("llm-", rename).build()) == ()
