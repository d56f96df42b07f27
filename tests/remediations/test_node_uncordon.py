"""Uncordoning restores what was found, and only that."""

from __future__ import annotations

from sliceward.remediations.marks import CORDON as NOTE
from sliceward.remediations.node_cordon import CordonNode
from sliceward.remediations.node_uncordon import UncordonNode
from sliceward.remediations.ports import NODE
from tests.remediations.scene import a_scene, default_fleet, done

CORDON = CordonNode()
UNCORDON = UncordonNode()


async def test_a_cordon_that_was_there_before_us_stays() -> None:
    scene = a_scene(default_fleet().cordoned("cube-0-host-06"))
    await scene.act(CORDON)
    done(await scene.act(UNCORDON))
    assert scene.node("cube-0-host-06")["spec"]["unschedulable"] is True
    assert "unschedulable" not in scene.node("cube-0-host-05")["spec"]
    assert all(NOTE not in scene.node(host.name)["metadata"]["annotations"] for host in scene.domain)


async def test_a_host_that_this_incident_never_cordoned_is_not_touched() -> None:
    scene = a_scene(default_fleet().cordoned("cube-0-host-06"))
    assert done(await scene.act(UNCORDON)).text == "0 hosts restored"
    assert scene.cluster.writes == []


async def test_a_human_who_uncordoned_meanwhile_is_right() -> None:
    scene = a_scene()
    await scene.act(CORDON)
    scene.cluster.edit(NODE, "cube-0-host-05", {"spec": {"unschedulable": None}})
    done(await scene.act(UNCORDON))
    assert "unschedulable" not in scene.node("cube-0-host-05")["spec"]
