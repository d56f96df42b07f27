"""A gang starts again only if this incident stopped it and nothing of it is left."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sliceward.remediations.gang_resume import ResumeGang
from sliceward.remediations.gangs.kind import RESUMED_BY, SUSPENDED_BY
from sliceward.remediations.ports import JOBSET, POD
from tests.builders import NOW
from tests.remediations.scene import a_scene, default_fleet, done, failed, waiting

RESUME = ResumeGang()


async def test_our_suspension_is_taken_back_with_its_note() -> None:
    scene = a_scene()
    scene.suspended_by()
    answer = done(await scene.act(RESUME))
    notes = scene.owner()["metadata"]["annotations"]
    assert scene.owner()["spec"]["suspend"] is False
    assert SUSPENDED_BY not in notes
    assert RESUMED_BY in notes
    assert answer.facts == {"resumed_at": NOW.isoformat()}


@pytest.mark.parametrize("by", ["", "inc-other"])
async def test_what_others_suspended_stays_suspended(by: str) -> None:
    scene = a_scene()
    scene.suspended_by(by)
    scene.facts["suspended"] = True
    failed(await scene.act(RESUME))
    assert scene.owner()["spec"]["suspend"] is True


@pytest.mark.parametrize("by", ["", "inc-other"])
async def test_where_only_others_suspended_there_is_nothing_to_take_back(by: str) -> None:
    scene = a_scene()
    scene.suspended_by(by)
    assert "never by this incident" in done(await scene.act(RESUME)).text
    assert scene.owner()["spec"]["suspend"] is True


async def test_it_waits_for_old_pods() -> None:
    scene = a_scene()
    scene.suspended_by()
    scene.cluster.put(POD, default_fleet().objects().pods[0])
    waiting(await scene.act(RESUME))
    assert scene.cluster.writes == []


async def test_a_lost_answer_is_found_out_and_the_time_of_the_resume_is_kept() -> None:
    scene = a_scene()
    scene.suspended_by()
    scene.cluster.fail("patch", JOBSET, after=True)
    waiting(await scene.act(RESUME))
    scene.elapsed = timedelta(seconds=40)
    assert done(await scene.act(RESUME)).facts == {"resumed_at": NOW.isoformat()}
    assert len(scene.cluster.writes) == 1


async def test_a_gang_that_somebody_else_resumed_is_running() -> None:
    scene = a_scene()
    assert "has not suspended" in done(await scene.act(RESUME)).text
    scene.facts["suspended"] = True
    assert "somebody else" in done(await scene.act(RESUME)).text
    scene.edit_owner({"metadata": {"annotations": {RESUMED_BY: "not json"}}})
    assert "somebody else" in done(await scene.act(RESUME)).text


async def test_a_gang_that_was_deleted_needs_no_resume() -> None:
    scene = a_scene()
    scene.facts["gang"] = str(scene.gang)
    scene.cluster.drop(JOBSET, "llm", "default")
    assert done(await scene.act(RESUME)).facts["gang_ended"] is True
