from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.detectors.passes import counts
from sliceward.detectors.passes.layout import Groups

ROLE = np.zeros(3, dtype=np.intp)
TOTALS = np.array([True])


def told(*totals: float) -> list[float]:
    rates = counts.Rates.new(1, 1, 1)
    return [float(counts.increases(rates, np.array([[one]]), counts=TOTALS)[0, 0]) for one in totals]


@pytest.mark.parametrize(
    ("totals", "more"),
    [
        pytest.param((5, 7, 7, 10), (np.nan, 2, 0, 3), id="what was counted since"),
        pytest.param((5, 7, 1, 4), (np.nan, 2, np.nan, 3), id="a restart drops one tick"),
        pytest.param((2**32 - 1, 3, 5), (np.nan, np.nan, 2), id="a wrap is a restart"),
        pytest.param((5, np.nan, 9), (np.nan, np.nan, 4), id="a gap is counted when it ends"),
        pytest.param((5, np.inf, 6), (np.nan, np.nan, 1), id="infinity is not a count"),
    ],
)
def test_increases_of_a_counter(totals: tuple[float, ...], more: tuple[float, ...]) -> None:
    np.testing.assert_array_equal(told(*totals), more)


def test_a_gap_weighs_as_many_ticks_as_it_covers() -> None:
    rates, calm = counts.Rates.new(1, 3, 1), np.ones((1, 3), dtype=bool)
    for more in ([0, 0, 0], [0, np.nan, 0], [0, np.nan, 0], [0, 6, np.nan]):
        one = counts.tick(rates, np.array([more], dtype=np.float32), ROLE, calm=calm)
    assert one.exposed.tolist() == [[1, 3, 0]]
    assert rates.ticks.tolist() == [[4, 4, 3]]
    assert rates.events.tolist() == [[0, 6, 0]]


def test_a_member_of_which_little_is_known_is_taken_for_its_role() -> None:
    rates = counts.Rates.new(1, 400, 1)
    rates.ticks[:], rates.events[:] = 1000, 20
    rates.ticks[0, 0], rates.events[0, 0] = 1, 1
    role = np.zeros(400, dtype=np.intp)
    counts.learn_prior(rates, role, np.ones((1, 400), dtype=bool))
    shrunk = counts.expected(rates, role)[0]
    assert shrunk[0] < 0.1
    assert shrunk[1] == pytest.approx(0.02, rel=0.05)


@given(st.integers(0, 2**32 - 1))
def test_steady_events_at_the_known_rate_earn_nothing(seed: int) -> None:
    dice, role = np.random.default_rng(seed), np.zeros(50, dtype=np.intp)
    rates, nats, calm = counts.Rates.new(1, 50, 1), np.zeros((4, 1, 50), dtype=np.float32), np.ones((1, 50), dtype=bool)
    rates.ticks[:], rates.events[:] = 5000, 500
    for _ in range(100):
        counts.add(nats, counts.tick(rates, dice.poisson(0.1, (1, 50)).astype(np.float32), role, calm=calm))
    assert nats.max() < 14


def test_one_burst_is_no_rise_and_a_rise_of_all_is_the_groups() -> None:
    rates, calm = counts.Rates.new(1, 8, 1), np.ones((1, 8), dtype=bool)
    rates.ticks[:], rates.events[:] = 5000, 50
    groups, role = Groups.by("ocs", [0, 0, 0, 0, 1, 1, 1, 1]), np.zeros(8, dtype=np.intp)
    nats, held = np.zeros((4, 1, 8), dtype=np.float32), np.zeros((4, 1, 2), dtype=np.float32)
    burst = np.array([[0, 0, 0, 0, 0, 0, 0, 1000]], dtype=np.float32)
    counts.add(nats, counts.tick(rates, burst, role, calm=calm))
    assert nats.max() <= counts.MOST_A_TICK
    rates.events[:], nats[:] = 50, 0
    rise = np.array([[1, 1, 1, 1, 0, 0, 0, 0]], dtype=np.float32)
    for _ in range(3):
        one = counts.tick(rates, rise, role, calm=calm)
        counts.add(nats, one)
        counts.add_groups(held, one, groups, heard=calm)
    most = held.max(axis=0)[0]
    assert most[0] > 2.5 * nats.max()
    assert most[1] <= 0


def test_three_returns_from_down_are_flapping_and_stay_so() -> None:
    flaps, said = counts.Flaps.new(2), []
    for tick in range(40):
        down = np.array([tick % 10 < 4, tick % 10 < 2], dtype=float)
        said.append(counts.flap(flaps, np.where(tick == 35, np.nan, down), tick * 10.0).tolist())
    assert said[23] == [False, False]
    assert said[24] == [True, False]  # the other one is never down for more than 25 s
    assert said[39] == [True, False]


def test_returns_long_apart_are_no_flapping() -> None:
    flaps = counts.Flaps.new(1)
    for hour in range(0, 60, 7):
        counts.flap(flaps, np.array([1.0]), hour * 3600.0)
        assert not counts.flap(flaps, np.array([0.0]), hour * 3600.0 + 60)[0]
