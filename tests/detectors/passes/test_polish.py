"""Cooling gradients, which are no fault, and failing fans, which are."""

from __future__ import annotations

import numpy as np
import pytest

from sliceward.detectors.passes import polish
from sliceward.detectors.passes.watch import Watch
from tests.detectors.passes.fleet import Fault, Readings, Torus, named, run, shift

TORUS = Torus((8, 8, 8))
ONSET = 70
Z = np.indices(TORUS.shape)[2].ravel()


def gradient(tick: int, readings: Readings) -> None:
    """Let one end of the machine grow warmer than the other, chips of one cube alike."""
    readings["chip"]["temp"] += 3.0 * (Z // 4) * min(1.0, max(0, tick - ONSET) / 30)


FAN = shift("temp", np.flatnonzero(TORUS.cube == 3), 2.0, since=ONSET + 5)


@pytest.mark.parametrize(
    ("faults", "parts"),
    [
        pytest.param([gradient], [], id="a gradient is none"),
        pytest.param([gradient, FAN], [("cube", 3)], id="a fan in a gradient"),
        pytest.param([FAN], [("cube", 3)], id="a fan alone"),
    ],
)
def test_a_cooling_gradient_is_no_fault_and_a_failing_fan_is(faults: list[Fault], parts: list[tuple[str, int]]) -> None:
    assert named(run(TORUS, ONSET + 45, *faults)) == parts


def test_a_cube_that_nobody_numbers_is_on_no_line_and_short_lines_explain_nothing() -> None:
    assert polish.lines_of(np.array([[0, 0, 0, 1, 1, -1], [-1] * 6]))[0].tolist() == [[0, 1, 2]]
    assert Watch(Torus((4, 4, 8)).layout()).layout.crowds["chip"].lines is not None


def test_lines_explain_what_all_of_their_cubes_show_and_not_what_half_of_them_do() -> None:
    lines = polish.lines_of(np.array([[0, 0, 0, 0, 1, 1, 1, 1]]))
    means = np.array([[2, 2, 2, 5, 0, 0, 0, 0], [3, 3, 0, 0, 0, 0, 0, 0], [0.3, 0.3, 0.3, 0.3, 0, 0, 0, 0]], dtype=np.float32)
    assert polish.tilt(means, lines).tolist() == [[2, 2, 2, 2, 0, 0, 0, 0], [0] * 8, [0] * 8]
    silent = np.array([[np.nan] * 4 + [1] * 4], dtype=np.float32)
    assert polish.tilt(silent, lines).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
