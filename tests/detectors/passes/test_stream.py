from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.detectors.passes.blame import blame
from sliceward.detectors.passes.equals import Equals
from sliceward.detectors.passes.stream import DAY, KEEP, LAGS, NEAREST, SHAPES, Ranks, Season, Shapes, Stream

N = 700


def surprises(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    stream = Stream()
    return [stream.step(300.0 * number, float(value)) for number, value in enumerate(values)]


def wave(seed: int = 1) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.sin(np.arange(N) / 288 * 2 * np.pi) + np.random.default_rng(seed).normal(0, 0.05, N)


def test_what_was_never_seen_surprises_most_and_is_told_once() -> None:
    values = wave()
    values[600:610] += 1.5
    found = surprises(values)
    assert 600 <= int(np.argmax(found)) <= 603
    assert sum(one > 4 for one in found[600:650]) <= 2


def test_a_calm_hour_at_a_busy_time_of_day_is_a_surprise() -> None:
    values = wave()
    values[640:660] = 0.0  # the level is common, the time is not: the wave is at its top there
    assert int(np.argmax(surprises(values)[300:])) + 300 in range(640, 660)


@settings(max_examples=3, deadline=None)
@given(unit=st.sampled_from([1e-6, 1.0, 1e6]), seed=st.integers(0, 1000))
def test_surprise_knows_no_unit_and_no_future(unit: float, seed: int) -> None:
    values = wave(seed)
    whole = surprises(values * unit)
    np.testing.assert_allclose(whole[:400], surprises(values[:400] * unit), atol=1e-9)
    np.testing.assert_allclose(whole, surprises(values), atol=0.35)


def test_what_is_missing_is_no_surprise_and_leaves_no_trace() -> None:
    values = wave()
    holes = np.insert(values, 400, [np.nan, np.inf])
    found, stream = [], Stream()
    times = np.insert(300.0 * np.arange(N), 400, [300.0 * 399 + 1, 300.0 * 399 + 2])
    for at, value in zip(times, holes, strict=True):
        found.append(stream.step(float(at), float(value)))
    assert found[400:402] == [0.0, 0.0]
    assert np.delete(found, [400, 401]).tolist() == surprises(values)


# ── equals ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def evidence(slow: float, *, since: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    dice, equals = np.random.default_rng(2), Equals.new(np.zeros(12, dtype=np.intp))
    usual, found = dice.normal(1, 0.02, 12), []
    for window in range(120):
        times = usual * (1 + 0.3 * np.sin(window / 9)) * np.exp(dice.normal(0, 0.05, (20, 12)))
        if window >= since:
            times[:, 4] *= slow
        found.append(equals.step(times))
    return np.array(found)


def test_one_that_gets_a_tenth_slower_than_it_was_stands_out() -> None:
    later = evidence(1.1, since=90)[95:].mean(axis=0)
    assert later[4] > 2 + np.delete(later, 4).max()


def test_one_that_was_slow_before_anybody_looked_stands_out_and_goes_on_to() -> None:
    found = evidence(1.4, since=0)
    for part in (found[5:30], found[90:]):
        assert part[:, 4].mean() > 2 + np.delete(part.mean(axis=0), 4).max()


def test_a_disk_that_says_nothing_is_unknown() -> None:
    equals = Equals.new(np.zeros(3, dtype=np.intp))
    told = equals.step(np.array([[1.0, 1.1, np.nan], [1.0, 1.2, np.nan]]))
    assert np.isnan(told).tolist() == [False, False, True]


# ── blame ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

CALLS = {
    "shop": {"search", "pay"},
    "search": {"store"},
    "pay": {"bank"},
    "app": {"search"},
    "store": set[str](),
    "bank": set[str](),
}


def readings(rise: dict[str, float], *, always: str = "") -> list[tuple[str, float]]:
    dice = np.random.default_rng(8)
    usual = {part: dice.normal(1, 0.05, 200) for part in CALLS}
    now = {part: dice.normal(1, 0.05, 6) for part in CALLS}
    for part, by in rise.items():
        now[part][2:4] += by
    if always:
        now[always] += 5
    return blame(CALLS, "shop", usual, now)


def test_the_part_that_its_callers_suffer_from_is_blamed_not_the_callers() -> None:
    assert readings({"search": 0.5, "shop": 0.5, "app": 0.5})[0][0] == "search"
    assert readings({"bank": 0.9, "pay": 0.9, "shop": 0.5})[0][0] in {"bank", "pay"}


def test_what_is_always_wrong_is_not_the_cause_of_what_is_wrong_now() -> None:
    found = dict(readings({"search": 0.5, "shop": 0.5}, always="bank"))
    assert max(found, key=lambda part: found[part]) == "search"
    assert "bank" not in found


def test_nobody_is_blamed_where_nothing_is_wrong_and_rings_end() -> None:
    assert readings({}) == []
    ring = {"a": {"b"}, "b": {"a"}}
    usual = {part: np.random.default_rng(1).normal(1, 0.05, 50) for part in "ab"}
    assert {part for part, _ in blame(ring, "a", usual, {"a": np.array([1.0, 2.0]), "b": np.array([1.0, 2.0])})} == {"a", "b"}


def test_where_too_little_is_known_nobody_is_blamed_and_a_complaint_of_all_times_is_none() -> None:
    dice, calls = np.random.default_rng(4), {"shop": {"stock"}}
    usual = {name: dice.normal(1, 0.1, 200) for name in ("shop", "stock")}
    now = {name: dice.normal(1, 0.1, 30) for name in usual}
    now["shop"][:] = now["stock"][:] = 2.0
    assert next(one for one, _ in blame(calls, "shop", usual, now)) == "stock"
    short = {**usual, "stock": usual["stock"][:10]}
    assert [one for one, _ in blame(calls, "shop", short, now)] == ["shop"]
    assert blame(calls, "shop", usual, {**now, "shop": np.full(30, 1.0)}) == []
    now["stock"] = np.where(np.arange(30) < 5, np.nan, 2.0)
    now["shop"][5:] = np.nan  # complained only when the stock was not read: nothing speaks against the stock
    assert [one for one, _ in blame(calls, "shop", usual, now)] == ["shop"]


def test_a_reading_that_is_none_surprises_nobody() -> None:
    stream = Stream()
    assert [stream.step(0.0, value) for value in (float("nan"), float("inf"), float("-inf"))] == [0.0, 0.0, 0.0]
    assert stream.count == 0


def test_a_rank_is_taken_among_the_last_readings_only() -> None:
    ranks = Ranks()
    for value in [9.0] * 100 + [1.0] * KEEP:
        ranks.surprise(value)
    assert len(ranks.in_order) == len(ranks.by_age) == KEEP
    assert ranks.surprise(5.0) > 3.5  # what was higher is long ago


def test_a_shape_is_as_far_from_its_neighbours_as_a_look_at_all_of_them_says() -> None:
    values = np.random.default_rng(5).normal(0, 1, 3 * SHAPES + 50)
    values[40] = 1e9  # what was large and is gone leaves no rounding behind
    shapes = Shapes()
    found = np.array([shapes.distance(value) for value in values.tolist()])
    rows = np.lib.stride_tricks.sliding_window_view(values, LAGS)
    assert not found[: 2 * LAGS + NEAREST].any()
    for last in (
        2 * LAGS + NEAREST,
        60,
        100,
        SHAPES - 1,
        SHAPES + LAGS,
        2 * SHAPES + 7,
        3 * SHAPES - 1,
        3 * SHAPES,
        len(values) - 1,
    ):
        present = last - LAGS + 1
        known = rows[max(0, present - SHAPES) : present]
        wanted = np.sort(np.square(known - rows[present]).sum(axis=1))[NEAREST - 1]
        np.testing.assert_allclose(found[last], np.sqrt(wanted), rtol=1e-12)


def test_the_same_time_of_the_days_before_is_found_however_readings_come() -> None:
    pace, season = 3600.0, Season()
    values: dict[int, float] = {}
    dice = np.random.default_rng(6)
    order = [*range(80), 80, 80, 79, 81, 82, 90, 91, 60, 61, 92, 93]  # doubled, out of order, with a gap
    for number, slot in enumerate(order):
        value = float(dice.normal())
        found = season.distance(pace * slot, value)
        day = round(DAY / pace)
        around = [values[one] for days in (1, 2) for by in range(-2, 3) if (one := slot - days * day + by) in values]
        if number >= 11:  # the pace is known
            assert found == (min(abs(value - one) for one in around) if around else 0.0)
            values[slot] = value
            values.pop(slot - 2 * day - 3, None)
