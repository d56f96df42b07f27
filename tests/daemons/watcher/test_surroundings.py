"""What Kubernetes says of a host becomes readings; what it does not say becomes none."""

from __future__ import annotations

import math

import pytest

from sliceward.daemons.watcher.surroundings import write_readings
from sliceward.detectors.finding import Kind
from tests.builders import a_fleet
from tests.detectors.scene import H0, H1, Scene

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
