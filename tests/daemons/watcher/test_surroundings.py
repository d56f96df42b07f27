"""What Kubernetes says of a host becomes readings; what it does not say becomes none."""

from __future__ import annotations

import asyncio
import json
import math

import pytest

from sliceward.daemons.watcher.surroundings import Surroundings, write_readings
from sliceward.detectors.finding import Kind
from sliceward.remediations.ports import NODE
from sliceward.topology.ids import HostId
from tests.builders import NOW, a_fleet
from tests.daemons.watcher.stage import settle
from tests.detectors.scene import H0, H1, Scene
from tests.fakes.beside import at_once
from tests.fakes.cluster import FakeCluster

ONE = a_fleet().with_cubes(1)


def ready(scene: Scene, host: str) -> float:
    write_readings(scene.panel, scene.fleet)
    row = scene.panel.ring.row_at(scene.panel.now)
    assert row is not None
    return float(scene.panel.ring.columns["host_ready"][row, scene.panel.slots[host]])


@pytest.mark.parametrize(("status", "reading"), [("True", 1), ("False", 0), ("Unknown", 0)])
def test_a_word_on_readiness_is_a_reading(status: str, reading: float) -> None:
    scene = Scene(ONE.not_ready(H0, status=status).build())
    assert (ready(scene, H0), ready(scene, H1)) == (reading, 1)


@pytest.mark.parametrize("status", [None, "", "Maybe"])
def test_no_word_on_readiness_is_no_reading(status: str | None) -> None:
    conditions = [] if status is None else [{"type": "Ready", "status": status}]
    scene = Scene(ONE.edited(H0, lambda node: node["status"].update(conditions=conditions)).build())
    assert math.isnan(ready(scene, H0))
    scene.go(3).silent.add(H0)
    assert [finding.kind for finding in scene.go(9).of().values()] == [Kind.TELEMETRY_LOST], "no second witness"


async def test_a_machine_that_takes_the_name_of_one_that_is_gone_has_places_of_its_own() -> None:
    truth = ONE.build()
    objects = ONE.labelled({"sliceward.dev/host-index": None}, *ONE.hosts_of("cube-0")).objects()
    notes = {host.name: {"coordinates": json.dumps(truth.hosts[host].coordinates)} for host in truth.hosts}
    cluster = FakeCluster("c1")
    cluster.put_all(NODE, objects.nodes)
    around = Surroundings("c1", cluster, beside=at_once)
    running = asyncio.create_task(around.run())
    await settle()
    id_ = HostId("c1", H1)
    assert (await around.read(notes, NOW)).hosts[id_].coordinates == truth.hosts[id_].coordinates
    await cluster.delete(NODE, H1)
    await settle()
    others = {name: said for name, said in notes.items() if name != H1}
    assert id_ not in (await around.read(others, NOW)).hosts
    await around.read(others, NOW)
    cluster.put_all(NODE, [node for node in objects.nodes if node["metadata"]["name"] == H1])
    await settle()
    assert not (await around.read(others, NOW)).hosts[id_].coordinates
    assert (await around.read(notes, NOW)).hosts[id_].coordinates == truth.hosts[id_].coordinates
    running.cancel()
    await asyncio.wait([running])
