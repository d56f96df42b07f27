"""A gang is suspended once, by us, with our name on it; what is not ours is left alone."""

from __future__ import annotations

import pytest

from sliceward.remediations.gang_suspend import SuspendGang
from sliceward.remediations.gangs.kind import SUSPENDED_BY
from sliceward.remediations.ports import JOB, JOBSET, WORKLOAD
from sliceward.topology.errors import Retry
from sliceward.topology.names import NAMES
from tests.builders import a_fleet
from tests.remediations.scene import INCIDENT, Scene, a_scene, done, failed, waiting

SUSPEND = SuspendGang()


def _controller_says_suspended(scene: Scene) -> None:
    scene.edit_owner({"status": {"conditions": [{"type": "Suspended", "status": "True"}]}})


async def test_the_patch_suspends_and_signs_in_one_write() -> None:
    scene = a_scene()
    waiting(await scene.act(SUSPEND))
    (write,) = scene.cluster.writes
    assert write.kind == "jobsets"
    assert scene.owner()["spec"]["suspend"] is True
    assert scene.owner()["metadata"]["annotations"][SUSPENDED_BY] == INCIDENT


async def test_it_is_done_when_the_owner_says_so_and_writes_no_more() -> None:
    scene = a_scene()
    await scene.act(SUSPEND)
    waiting(await scene.act(SUSPEND))
    _controller_says_suspended(scene)
    done(await scene.act(SUSPEND))
    assert len(scene.cluster.writes) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_webhook_that_is_down_or_a_lost_answer_is_waited_for(after: bool) -> None:  # noqa: FBT001 (a table)
    scene = a_scene()
    scene.cluster.fail("patch", JOBSET, after=after, error=Retry("500 failed calling webhook"))
    assert "webhook" in waiting(await scene.act(SUSPEND)).why
    await scene.act(SUSPEND)
    _controller_says_suspended(scene)
    done(await scene.act(SUSPEND))
    assert len(scene.cluster.writes) == 1


@pytest.mark.parametrize(("by", "told"), [("inc-other", "inc-other"), ("", "somebody else")])
async def test_a_gang_that_others_suspended_is_left_to_them(by: str, told: str) -> None:
    scene = a_scene()
    scene.suspended_by(by)
    assert told in failed(await scene.act(SUSPEND)).why
    assert scene.cluster.writes == []


async def test_an_indexed_job_is_suspended_by_itself() -> None:
    scene = a_scene(a_fleet().with_gang("llm", kind="Job").on("cube-0"), kind="Job")
    await scene.act(SUSPEND)
    assert scene.owner(JOB)["spec"]["suspend"] is True


async def test_gangs_of_kueue_are_never_suspended() -> None:
    scene = a_scene()
    owner = {"kind": "JobSet", "name": "llm", "uid": scene.owner()["metadata"]["uid"], "apiVersion": "x"}
    scene.cluster.put(WORKLOAD, {"metadata": {"name": "w", "ownerReferences": [owner]}})
    failed(await scene.act(SUSPEND))
    labelled = a_scene()
    labelled.edit_owner({"metadata": {"labels": {NAMES.kueue_queue: "q"}}})
    failed(await labelled.act(SUSPEND))
    assert scene.cluster.writes + labelled.cluster.writes == []


async def test_a_gang_of_the_same_name_with_another_uid_is_not_touched() -> None:
    scene = a_scene()
    scene.facts |= {"gang": str(scene.gang), "gang_uid": "the-old-one"}
    assert "created again" in done(await scene.act(SUSPEND)).text
    assert scene.cluster.writes == []


async def test_a_gang_that_ended_or_was_deleted_needs_no_suspension() -> None:
    scene = a_scene()
    scene.edit_owner({"status": {"terminalState": "Failed"}})
    assert "failed by itself" in done(await scene.act(SUSPEND)).text
    scene.cluster.drop(JOBSET, "llm", "default")
    scene.facts |= {"gang": str(scene.gang)}
    assert "no longer exists" in done(await scene.act(SUSPEND)).text


async def test_a_workload_of_kueue_that_the_snapshot_does_not_show_yet_is_seen_before_the_write() -> None:
    scene = a_scene()
    target = scene.target()
    owner = {"kind": "JobSet", "name": "llm", "uid": scene.owner()["metadata"]["uid"], "apiVersion": "x"}
    scene.cluster.put(WORKLOAD, {"metadata": {"name": "w", "ownerReferences": [owner]}})
    assert "workload w" in failed(await SUSPEND(target, scene.ports)).why
    assert scene.cluster.writes == []
