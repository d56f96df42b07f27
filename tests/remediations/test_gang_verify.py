"""Verified means: whole, where it was planned, off the sick hosts, and stepping as before."""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest

from sliceward.remediations.gang_place import PlaceGang
from sliceward.remediations.gang_plan import PlanGang
from sliceward.remediations.gang_resume import ResumeGang
from sliceward.remediations.gang_verify import VerifyGang
from sliceward.remediations.ports import JOBSET, POD, Progress
from sliceward.topology.names import NAMES
from tests.builders import NOW, a_fleet
from tests.remediations.scene import LLM, Scene, a_scene, default_fleet, done, failed, waiting

VERIFY = VerifyGang()


async def _moved() -> Scene:
    """Give the scene after a move, with the pods that the controllers then made."""
    scene = a_scene()
    done(await scene.act(PlanGang()))
    scene.facts["suspended"] = True
    scene.suspended_by()
    done(await scene.act(PlaceGang()))
    done(await scene.act(ResumeGang()))
    moved = a_fleet().with_gang("llm", slices=2).on("cube-3", "cube-1").objects()
    scene.cluster.put_all(POD, (pod for pod in moved.pods if pod["metadata"]["name"].startswith("llm-")))
    return scene


def _progress(rate: float | None, after: float = 10.0) -> Progress:
    return Progress(LLM, NOW + timedelta(seconds=after), 500, rate, None, 480, 3.0, 32)


def _move_pod(scene: Scene, here: str, there: str) -> None:
    pod = next(pod for pod in scene.pods() if pod["spec"]["nodeName"] == here)
    scene.cluster.edit(POD, pod["metadata"]["name"], {"spec": {"nodeName": there}}, "default")


async def test_without_a_reporter_readiness_is_what_is_verified_and_said() -> None:
    scene = await _moved()
    assert "no reporter" in done(await scene.act(VERIFY)).text


@pytest.mark.parametrize(
    ("progress", "good"),
    [
        (_progress(0.95), True),
        (_progress(0.5), False),
        (_progress(None), False),
        (_progress(2.0, after=-1), False),
        (None, False),
    ],
    ids=["former rate", "too slow", "no rate yet", "older than the resume", "nothing reported"],
)
async def test_with_a_reporter_the_gang_must_step_as_before(progress: Progress | None, good: bool) -> None:  # noqa: FBT001 (a table)
    scene = await _moved()
    scene.facts |= {"reporter": True, "rate_before": 1.0}
    scene.progress = progress
    outcome = await scene.act(VERIFY)
    if good:
        assert done(outcome).facts["rate"] == 0.95
    else:
        waiting(outcome)


async def test_the_share_of_the_rate_is_a_parameter() -> None:
    scene = await _moved()
    scene.facts |= {"reporter": True, "rate_before": 1.0}
    scene.progress = _progress(0.5)
    done(await scene.act(VERIFY, rate=0.4))
    failed(await scene.act(VERIFY, rate="fast"))


async def test_it_waits_for_every_pod() -> None:
    scene = await _moved()
    pod = scene.pods()[3]["metadata"]["name"]
    scene.cluster.edit(POD, pod, {"status": {"phase": "Pending"}}, "default")
    assert "15 of 16" in waiting(await scene.act(VERIFY)).why
    scene.cluster.drop(POD, pod, "default")
    waiting(await scene.act(VERIFY))


async def test_slices_that_mix_are_found() -> None:
    scene = await _moved()
    _move_pod(scene, "cube-3-host-00", "swap")
    _move_pod(scene, "cube-1-host-00", "cube-3-host-00")
    _move_pod(scene, "swap", "cube-1-host-00")
    assert "mixed" in failed(await scene.act(VERIFY)).why


async def test_two_slices_in_one_are_found() -> None:
    scene = await _moved()
    for index in range(16):
        _move_pod(scene, f"cube-1-host-{index:02}", f"cube-3-host-{index:02}")
    assert "shares" in failed(await scene.act(VERIFY)).why


async def test_two_pods_of_a_slice_on_one_host_are_found() -> None:
    scene = await _moved()
    _move_pod(scene, "cube-3-host-00", "cube-3-host-01")
    assert "15 hosts" in failed(await scene.act(VERIFY)).why


async def test_a_pod_on_a_host_that_is_out_of_service_is_found() -> None:
    scene = await _moved()
    _move_pod(scene, "cube-3-host-00", "cube-0-host-05")
    assert "cube-0-host-05" in failed(await scene.act(VERIFY)).why


async def test_without_a_plan_each_slice_must_be_in_one_cube() -> None:
    scene = await _moved()
    del scene.facts["planned_slices"]
    done(await scene.act(VERIFY))
    _move_pod(scene, "cube-3-host-00", "cube-2-host-00")
    failed(await scene.act(VERIFY))


async def test_a_gang_that_finished_after_the_move_is_well_and_one_that_failed_is_not() -> None:
    scene = await _moved()
    scene.edit_owner({"status": {"terminalState": "Completed"}})
    assert "finished" in done(await scene.act(VERIFY)).text
    scene = await _moved()
    scene.edit_owner({"status": {"terminalState": "Failed"}})
    assert "failed by itself" in failed(await scene.act(VERIFY)).why


async def test_a_gang_that_had_ended_before_needs_no_verifying() -> None:
    scene = await _moved()
    scene.facts["gang_ended"] = True
    scene.cluster.drop(JOBSET, "llm", "default")
    done(await scene.act(VERIFY))
    scene = a_scene(default_fleet())
    scene.gang = None
    done(await scene.act(VERIFY))


async def test_a_gang_that_somebody_suspended_again_is_theirs() -> None:
    scene = await _moved()
    scene.edit_owner({"spec": {"suspend": True}})
    failed(await scene.act(VERIFY))


def _with_helper(scene: Scene, *phases: str, completions: int = 1) -> None:
    """Give the gang a role without TPUs beside its slices, with one pod in each of these phases."""
    owner = scene.owner()
    role = copy.deepcopy(owner["spec"]["replicatedJobs"][0])
    role |= {"name": "warm-up", "replicas": 1}
    role["template"]["spec"] |= {"parallelism": 1, "completions": completions}
    for container in role["template"]["spec"]["template"]["spec"]["containers"]:
        container["resources"] = {}
    scene.edit_owner({"spec": {"replicatedJobs": [*owner["spec"]["replicatedJobs"], role]}})
    for number, phase in enumerate(phases):
        pod = copy.deepcopy(scene.pods()[0])
        pod["metadata"] |= {"name": f"llm-warm-up-0-{number}", "uid": f"warm-up-{number}"}
        pod["metadata"]["labels"] |= {NAMES.replicated_job: "warm-up", NAMES.job_index: "0"}
        pod["spec"]["nodeName"] = "some-cpu-host"
        pod["status"] = {"phase": phase, "conditions": [{"type": "Ready", "status": str(phase == "Running")}]}
        scene.cluster.put(POD, pod)


@pytest.mark.parametrize(
    ("phases", "completions", "there"),
    [
        (["Running"], 1, True),
        (["Succeeded"], 1, True),
        (["Failed", "Succeeded"], 1, True),
        (["Succeeded", "Succeeded", "Running"], 3, True),
        ([], 1, False),
        (["Pending"], 1, False),
        (["Failed"], 1, False),
        (["Succeeded", "Pending"], 2, False),
    ],
    ids=lambda value: "+".join(value) or "none" if isinstance(value, list) else "",
)
async def test_a_role_without_tpus_may_have_finished(phases: list[str], completions: int, there: bool) -> None:  # noqa: FBT001 (a table)
    scene = await _moved()
    _with_helper(scene, *phases, completions=completions)
    outcome = await scene.act(VERIFY)
    if there:
        done(outcome)
    else:
        assert "slice warm-up/0" in waiting(outcome).why


async def test_a_pod_of_a_slice_that_succeeded_alone_is_not_there() -> None:
    scene = await _moved()
    pod = scene.pods()[3]["metadata"]["name"]
    scene.cluster.edit(POD, pod, {"status": {"phase": "Succeeded"}}, "default")
    assert "15 of 16" in waiting(await scene.act(VERIFY)).why


async def test_a_pod_of_no_slice_of_the_gang_is_waited_out() -> None:
    scene = await _moved()
    stray = copy.deepcopy(scene.pods()[0])
    stray["metadata"] |= {"name": "llm-slice-7-0", "uid": "stray"}
    stray["metadata"]["labels"][NAMES.job_index] = "7"
    scene.cluster.put(POD, stray)
    assert "1 pods" in waiting(await scene.act(VERIFY)).why
