"""A cordon of ours remembers what it found."""

from __future__ import annotations

from sliceward.remediations.node_cordon import CordonNode
from tests.remediations.scene import a_scene, default_fleet, done, failed

CORDON = CordonNode()


async def test_every_host_of_the_domain_is_cordoned_once() -> None:
    scene = a_scene()
    done(await scene.act(CORDON))
    assert all(scene.node(host.name)["spec"]["unschedulable"] for host in scene.domain)
    writes = len(scene.cluster.writes)
    done(await scene.act(CORDON))
    assert len(scene.cluster.writes) == writes


async def test_a_host_that_another_incident_cordoned_stops_everything() -> None:
    scene = a_scene()
    scene.incident = "inc-other"
    await scene.act(CORDON)
    scene.incident = "inc-late"
    assert "inc-other" in failed(await scene.act(CORDON)).why


async def test_a_part_without_a_known_domain_is_refused() -> None:
    scene = a_scene(default_fleet())
    scene.domain = ()
    failed(await scene.act(CORDON))
