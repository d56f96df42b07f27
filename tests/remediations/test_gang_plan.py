"""A plan is made for a whole gang that is ours to move, or refused with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.remediations import planning
from sliceward.remediations.gang_plan import PlanGang
from sliceward.remediations.ports import JOBSET, WORKLOAD, Progress
from sliceward.topology.names import NAMES
from tests.builders import NOW, a_fleet, gang_id, host_id
from tests.remediations.scene import LLM, Scene, a_scene, default_fleet, done, failed

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN = PlanGang()


async def test_the_sick_slice_moves_to_the_free_cube_and_the_healthy_one_stays() -> None:
    scene = a_scene()
    facts = done(await scene.act(PLAN)).facts
    assert {cube for piece in facts["planned_slices"] for cube in piece["cubes"]} == {"c1/cube/cube-1", "c1/cube/cube-3"}
    assert len(facts["planned_hosts"]) == 32
    assert (facts["gang"], facts["gang_key"]) == (str(LLM), LLM.key)
    assert facts["reporter"] is False
    assert scene.cluster.writes == []


async def test_the_rate_before_the_fault_is_noted() -> None:
    scene = a_scene()
    scene.progress = Progress(LLM, NOW, 120, 0.4, 1.0, 100, 20.0, 32)
    facts = done(await scene.act(PLAN)).facts
    assert (facts["reporter"], facts["rate_before"], facts["step_before"]) == (True, 1.0, 120)


async def test_of_a_gang_that_had_just_begun_nobody_knows_the_rate_before() -> None:
    scene = a_scene()
    scene.progress = Progress(LLM, NOW, 120, 9.0, None, 100, 20.0, 32)
    assert done(await scene.act(PLAN)).facts["rate_before"] is None, "what it had at that moment says nothing"


async def test_without_room_the_reasons_are_given() -> None:
    scene = a_scene(default_fleet().with_gang("third").on("cube-3"))
    assert "no room" in failed(await scene.act(PLAN)).why


async def test_hosts_that_are_labelled_for_another_living_gang_are_not_taken() -> None:
    other = gang_id("other")
    scene = a_scene(default_fleet().labelled({NAMES.gang: other.key}, "cube-3-host-00"))
    failed(await scene.act(PLAN))


async def test_hosts_labelled_for_a_gang_that_has_finished_are_free() -> None:
    other = gang_id("over")
    fleet = default_fleet().with_gang("over").waiting().labelled({NAMES.gang: other.key}, "cube-3-host-00")
    failed(await a_scene(fleet).act(PLAN))
    finished = {"status": {"terminalState": "Completed"}}
    done(await a_scene(fleet.gang_edited("over", lambda owner: owner.update(finished))).act(PLAN))


async def test_a_cube_with_an_open_incident_is_no_healthy_room() -> None:
    scene = a_scene(default_fleet().with_cubes(5))
    scene.sick = frozenset({host_id("cube-3-host-09")})
    facts = done(await scene.act(PLAN)).facts
    assert {cube for piece in facts["planned_slices"] for cube in piece["cubes"]} == {"c1/cube/cube-1", "c1/cube/cube-4"}
    only = a_scene()
    only.sick = scene.sick
    failed(await only.act(PLAN))


async def test_a_slice_may_stay_beside_an_incident_of_its_own_where_nothing_else_fits() -> None:
    scene = a_scene()
    scene.sick = frozenset({host_id("cube-1-host-09")})
    facts = done(await scene.act(PLAN)).facts
    assert {cube for piece in facts["planned_slices"] for cube in piece["cubes"]} == {"c1/cube/cube-1", "c1/cube/cube-3"}


async def test_hosts_promised_to_another_run_are_not_taken() -> None:
    scene = a_scene()
    fleet = scene.target().fleet
    scene.reserved = {host: gang_id("other") for host in fleet.hosts if host.name == "cube-3-host-00"}
    failed(await scene.act(PLAN))


@pytest.mark.parametrize("left", [-64, -1, 0, 64])
async def test_a_running_gang_moves_whatever_is_left_of_its_tenants_quota(left: int) -> None:
    scene = a_scene()
    scene.quota_left = {("default", "tpu7x"): left}
    done(await scene.act(PLAN))


async def test_a_gang_that_this_incident_suspended_is_still_healed_where_its_room_in_the_quota_was_taken() -> None:
    scene = a_scene()
    scene.suspended_by()
    scene.facts["suspended"] = True
    scene.quota_left = {("default", "tpu7x"): -64}
    done(await scene.act(PLAN))


@pytest.mark.parametrize(("left", "fits"), [(128, True), (127, False), (-64, False)], ids=str)
def test_a_gang_that_holds_nothing_needs_room_for_all_of_its_chips(left: int, fits: bool) -> None:  # noqa: FBT001 (a table)
    scene = a_scene()
    scene.suspended_by()
    scene.quota_left = {("default", "tpu7x"): left}
    gang = scene.target().fleet.gangs[LLM]
    why = planning.scene_of(scene.target()).short_of_quota(gang)
    assert why == ("" if fits else f"quota of default for tpu7x: {left} chips left, 128 needed")


def _queued(scene: Scene) -> None:
    scene.edit_owner({"metadata": {"labels": {NAMES.kueue_queue: "team-a"}}})


def _with_workload(scene: Scene) -> None:
    uid = scene.owner()["metadata"]["uid"]
    owner = {"kind": "JobSet", "name": "llm", "uid": uid, "apiVersion": "jobset.x-k8s.io/v1alpha2"}
    scene.cluster.put(WORKLOAD, {"metadata": {"name": "w", "namespace": "default", "ownerReferences": [owner]}})


def _in_slice(scene: Scene) -> None:
    annotation = {"alpha.jobset.sigs.k8s.io/exclusive-topology": NAMES.slice}
    scene.edit_owner({"metadata": {"annotations": annotation}})


def _suspended(scene: Scene) -> None:
    scene.edit_owner({"spec": {"suspend": True}})


def _without_exclusive_topology(scene: Scene) -> None:
    scene.edit_owner({"metadata": {"annotations": None}})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_queued, "Kueue"),
        (_with_workload, "kueue"),
        (_in_slice, "slice-controller"),
        (_suspended, "left to them"),
        (_without_exclusive_topology, "exclusive topology"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_gang_that_is_not_ours_to_move_is_held(change: Callable[[Scene], None], why: str) -> None:
    scene = a_scene()
    change(scene)
    assert why.lower() in failed(await scene.act(PLAN)).why.lower()


async def test_a_workload_of_kueue_that_the_snapshot_does_not_show_yet_is_seen() -> None:
    scene = a_scene()
    target = scene.target()
    _with_workload(scene)
    assert "workload w" in failed(await PLAN(target, scene.ports)).why


async def test_a_kind_that_we_cannot_move_is_held_for_a_human() -> None:
    scene = a_scene()
    scene.facts["gang"] = "c1/gang/default/LeaderWorkerSet/llm"
    assert "held for a human" in failed(await scene.act(PLAN)).why


async def test_no_gang_or_one_that_has_ended_needs_no_plan() -> None:
    scene = a_scene()
    scene.edit_owner({"status": {"terminalState": "Completed"}})
    assert done(await scene.act(PLAN)).facts["gang_ended"] is True
    scene.cluster.drop(JOBSET, "llm", "default")
    done(await scene.act(PLAN))
    nobody = a_scene(a_fleet())
    nobody.gang = None
    assert "no gang is hurt" in done(await nobody.act(PLAN)).text
