"""What was slow before anybody watched."""

from __future__ import annotations

import numpy as np
import pytest

from sliceward.detectors.passes import outright
from sliceward.detectors.passes.layout import Crowd, Layout, torus
from sliceward.detectors.passes.verdicts import Level
from sliceward.detectors.passes.watch import Watch
from tests.detectors.passes.fleet import PERIOD, Torus, healthy, named, run, shift, slow

TORUS = Torus()
LATER = 2 * outright.EVERY + 61
HOST, CUBE = np.flatnonzero(TORUS.host == 5), np.flatnonzero(TORUS.cube == 1)


def test_a_part_that_was_slow_before_the_watch_began_is_suspected_and_never_condemned_for_that() -> None:
    told = run(TORUS, LATER + 60, slow([17], 0.1, since=0))
    assert named(told) == [("chip", 17)]
    assert named(told, Level.CONDEMNED) == []


def test_a_host_that_always_fed_late_is_the_host() -> None:
    assert named(run(TORUS, LATER, shift("infeed", HOST, 0.05, since=0))) == [("host", 5)]


@pytest.mark.parametrize(
    ("chips", "by"),
    [
        pytest.param([17], 0.012, id="a legal offset"),
        pytest.param([17], 0.045, id="less than matters"),
        pytest.param(range(30, 42), 0.1, id="several alike"),
        pytest.param([17], -0.1, id="better than its peers"),
    ],
)
def test_who_is_not_far_out_alone_to_the_worse_is_let_be(chips: list[int], by: float) -> None:
    assert run(TORUS, LATER, shift("busy", list(chips), by, since=0)) == []


def test_a_cooling_gradient_that_always_was_is_no_fault() -> None:
    def warm(_: int, readings: dict[str, dict[str, np.ndarray]]) -> None:
        readings["chip"]["temp"] += np.linspace(0, 9, TORUS.chips)

    assert run(TORUS, LATER, warm) == []


def test_who_was_slow_and_is_well_now_is_cleared_and_who_does_nothing_is_not() -> None:
    def mended(tick: int, readings: dict[str, dict[str, np.ndarray]]) -> None:
        slow([17], 0.1 if tick < LATER else 0.0, since=0)(tick, readings)

    assert named(run(TORUS, LATER + 60, mended), Level.CLEARED) == [("chip", 17)]

    def stopped(tick: int, readings: dict[str, dict[str, np.ndarray]]) -> None:
        slow([17], 0.1, since=0)(tick, readings)
        for name in ("busy", "wait", "infeed", "temp"):
            readings["chip"][name][17] *= tick < LATER or name == "temp"

    assert named(run(TORUS, LATER + 60, stopped), Level.CLEARED) == []


def test_what_gets_worse_still_is_judged_by_its_change() -> None:
    told = run(TORUS, LATER + 60, slow([17], 0.1, since=0), slow([17], 0.06, since=LATER + 5))
    assert named(told) == [("chip", 17), ("chip", 17)]
    assert named(told, Level.CONDEMNED) == [("chip", 17)]


def test_among_few_nobody_stands_out_and_a_role_that_lies_further_apart_than_others_is_judged_by_itself() -> None:
    few = Watch(Layout({"disk": Crowd("disk", np.zeros(5, dtype=np.intp))}))
    dice = np.random.default_rng(1)
    for tick in range(LATER):
        assert few.step(tick * PERIOD, {"disk": {"latency": dice.normal([10, 10, 10, 10, 30], 0.1)}}) == []
    wide = np.arange(TORUS.chips) >= 112
    watch, read = Watch(torus(TORUS.host, TORUS.cube, TORUS.cabling, wide.astype(int))), healthy(TORUS, 1)
    away = np.random.default_rng(2).normal(0, 0.08, TORUS.chips) * wide
    for tick in range(LATER):
        readings = read(tick)
        readings["chip"]["busy"] += away
        assert watch.step(tick * PERIOD, readings) == []
