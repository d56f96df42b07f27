"""Verified means: whole, where it was planned, off the sick hosts, and stepping as before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sliceward.remediations.gang_place import PlaceGang
from sliceward.remediations.gang_plan import PlanGang
from sliceward.remediations.gang_resume import ResumeGang
from sliceward.remediations.gang_verify import VerifyGang
from sliceward.remediations.ports import JOBSET, POD, Progress
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
