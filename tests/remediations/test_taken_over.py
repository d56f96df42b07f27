"""A gang that somebody resumes in the middle of a move is theirs at once: nothing of it is waited for or ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.remediations.gang_end_dead import EndDead
from sliceward.remediations.gang_suspend import SuspendGang
from sliceward.remediations.gang_wait_gone import WaitGone
from sliceward.remediations.ports import JOBSET, POD
from sliceward.topology.names import NAMES
from tests.builders import NOW
from tests.fakes.cluster import stamp
from tests.remediations.scene import Scene, a_scene, default_fleet, done, failed, waiting

if TYPE_CHECKING:
    from sliceward.remediations.action import Action

DEAD = "cube-0-host-05"
BOTH = pytest.mark.parametrize("action", [EndDead(), WaitGone()], ids=lambda action: action.name)


async def _suspended() -> Scene:
    """Give a gang that this incident suspended, with its pods overdue, one of them on a dead host."""
    scene = a_scene(default_fleet().not_ready(DEAD).tainted(NAMES.unreachable, DEAD, effect="NoExecute"))
    waiting(await scene.act(SuspendGang()))
    for pod in scene.pods():
        deletion = {"metadata": {"deletionTimestamp": stamp(NOW - timedelta(minutes=1))}}
        scene.cluster.edit(POD, pod["metadata"]["name"], deletion, "default")
    scene.cluster.writes.clear()
    return scene


@BOTH
@pytest.mark.parametrize("note", ["kept", "taken off"])
async def test_a_gang_that_somebody_resumed_is_left_to_them_at_once(action: Action, note: str) -> None:
    scene = await _suspended()
    annotations = {} if note == "kept" else {"annotations": {"sliceward.dev/suspended-by": None}}
    scene.edit_owner({"spec": {"suspend": False}, "metadata": annotations})
    assert "resumed by somebody else" in failed(await scene.act(action)).why
    assert scene.cluster.writes == []


@BOTH
async def test_a_gang_that_somebody_else_suspended_anew_is_left_to_them_at_once(action: Action) -> None:
    scene = await _suspended()
    scene.edit_owner({"metadata": {"annotations": {"sliceward.dev/suspended-by": "inc-another"}}})
    assert "suspended by inc-another" in failed(await scene.act(action)).why
    assert scene.cluster.writes == []


@BOTH
async def test_while_the_suspension_is_ours_its_pods_are_seen_to(action: Action) -> None:
    scene = await _suspended()
    waiting(await scene.act(action))
    scene.drop_pods()
    done(await scene.act(action))


@BOTH
async def test_without_a_suspension_of_this_incident_nobody_took_anything_over(action: Action) -> None:
    scene = await _suspended()
    del scene.facts["suspended"]
    scene.edit_owner({"spec": {"suspend": False}, "metadata": {"annotations": {"sliceward.dev/suspended-by": None}}})
    waiting(await scene.act(action))


@BOTH
async def test_the_pods_of_a_gang_that_was_deleted_meanwhile_are_seen_to(action: Action) -> None:
    scene = await _suspended()
    scene.cluster.drop(JOBSET, "llm", "default")
    waiting(await scene.act(action))
