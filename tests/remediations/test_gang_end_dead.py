"""Only what a dead host holds beyond its grace is ended by force."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.remediations.gang_end_dead import EndDead
from sliceward.remediations.gang_suspend import SuspendGang
from sliceward.remediations.ports import NODE, POD
from sliceward.topology.names import NAMES
from tests.builders import NOW, host_id
from tests.fakes.cluster import stamp
from tests.remediations.scene import Scene, a_scene, default_fleet, done, waiting

if TYPE_CHECKING:
    from sliceward.remediations.ports import Object

END = EndDead()
SICK = "cube-0-host-05"


def _pod_on(scene: Scene, host: str) -> Object:
    return next(pod for pod in scene.pods() if pod["spec"]["nodeName"] == host)


def _terminating(scene: Scene, ends: timedelta) -> None:
    for pod in scene.pods():
        deletion = {"metadata": {"deletionTimestamp": stamp(NOW + ends), "deletionGracePeriodSeconds": 30}}
        scene.cluster.edit(POD, pod["metadata"]["name"], deletion, "default")


def _dead() -> Scene:
    return a_scene(default_fleet().not_ready(SICK).tainted(NAMES.unreachable, SICK, effect="NoExecute"))


async def test_a_pod_beyond_its_grace_on_a_dead_host_is_ended_by_uid_and_no_other() -> None:
    scene = _dead()
    _terminating(scene, -timedelta(seconds=3))
    pod = _pod_on(scene, SICK)
    waiting(await scene.act(END))
    (write,) = scene.cluster.writes
    assert (write.verb, write.name) == ("delete", pod["metadata"]["name"])
    assert write.body == {"uid": pod["metadata"]["uid"], "grace": timedelta(0)}
    done(await scene.act(END))
    assert len(scene.pods()) == 31


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_lost_answer_ends_it_once(after: bool) -> None:  # noqa: FBT001 (a table)
    scene = _dead()
    _terminating(scene, -timedelta(seconds=3))
    scene.cluster.fail("delete", POD, after=after)
    waiting(await scene.act(END))
    done(await scene.see(END))
    assert len(scene.cluster.writes) == 1


@pytest.mark.parametrize("ends", [timedelta(seconds=30), timedelta(seconds=-1)], ids=["within grace", "within the margin"])
async def test_grace_is_waited_for(ends: timedelta) -> None:
    scene = _dead()
    _terminating(scene, ends)
    assert "grace" in waiting(await scene.act(END)).why
    assert scene.cluster.writes == []


async def test_a_pod_that_nobody_told_to_end_is_not_ended() -> None:
    scene = _dead()
    waiting(await scene.act(END))
    assert scene.cluster.writes == []


async def test_a_host_that_is_only_not_ready_is_not_proven_dead() -> None:
    scene = a_scene(default_fleet().not_ready(SICK))
    _terminating(scene, -timedelta(minutes=5))
    assert "not proven dead" in waiting(await scene.act(END)).why
    assert scene.cluster.writes == []


@pytest.mark.parametrize(("lost", "ended"), [(SICK, True), ("cube-0-host-06", False)])
async def test_our_own_finding_proves_the_host_that_it_names_and_no_other(lost: str, ended: bool) -> None:  # noqa: FBT001 (a table)
    scene = a_scene(default_fleet().not_ready(SICK))
    _terminating(scene, -timedelta(minutes=5))
    scene.lost = frozenset({host_id(lost)})
    waiting(await scene.act(END))
    assert bool(scene.cluster.writes) is ended


async def test_a_host_that_dies_while_the_pods_of_a_suspended_gang_end_is_seen_too() -> None:
    scene = a_scene()
    waiting(await scene.act(SuspendGang()))
    scene.cluster.writes.clear()
    _terminating(scene, timedelta(seconds=30))
    assert "still end" in waiting(await scene.act(END)).why
    scene.cluster.drop(NODE, SICK)
    scene.elapsed = timedelta(minutes=1)
    waiting(await scene.act(END))
    (write,) = scene.cluster.writes
    assert write.name.startswith("llm-slice-0-5-")
    scene.drop_pods()
    done(await scene.act(END))


async def test_a_ready_host_is_never_dead_whatever_its_taints() -> None:
    scene = a_scene(default_fleet().tainted(NAMES.unreachable, SICK))
    _terminating(scene, -timedelta(minutes=5))
    scene.lost = frozenset({host_id(SICK)})
    done(await scene.act(END))
    assert scene.cluster.writes == []


async def test_a_deleted_node_is_a_dead_host() -> None:
    scene = a_scene()
    _terminating(scene, -timedelta(minutes=5))
    scene.cluster.drop(NODE, SICK)
    waiting(await scene.act(END))
    assert len(scene.cluster.writes) == 1


async def test_pods_of_other_gangs_are_left_alone() -> None:
    scene = a_scene(default_fleet().not_ready("cube-2-host-00").tainted(NAMES.unreachable, "cube-2-host-00"))
    _terminating(scene, -timedelta(minutes=5))
    done(await scene.act(END))
    assert len(scene.pods("other")) == 16


async def test_without_a_gang_there_is_nothing_to_end() -> None:
    scene = _dead()
    scene.gang = None
    done(await scene.act(END))
