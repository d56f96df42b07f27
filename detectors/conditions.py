"""One condition over the panel: verdicts in the shape of its metric, and the numbers that decided about one entity."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import numpy as np

from sliceward.detectors.look import EPSILON, NO, UNKNOWN, YES, widened
from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.rules.schema import FRAME_AGE, Absent, Rate, Stalled, Threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sliceward.detectors.look import Look, Verdicts
    from sliceward.detectors.rules.schema import Condition


def verdicts_of(look: Look, condition: Condition, key: str) -> Verdicts:
    """Give the verdicts of one condition in the shape of its metric; ``key`` names what it remembers."""
    match condition:
        case Absent() if condition.metric == FRAME_AGE:
            # Of a host that is only expected nothing is known yet: a start of ours is no sign of life of its own.
            absent = look.silence >= _patience(look, condition) - EPSILON
            return np.where(absent, YES, np.where(look.heard, NO, UNKNOWN))
        case Absent():
            age = _age(look, condition.metric)
            verdicts = np.where(age >= widened(_patience(look, condition), age.ndim - 1), YES, NO)
            return np.where(np.isnan(age), UNKNOWN, verdicts)
        case Stalled():
            changed, fresh = look.panel.changed[condition.metric], _age(look, condition.metric)
            stands = look.panel.now - changed >= look.seconds(condition.after)
            # Its first value may have stood for long before we looked: only a change that was seen says that it moves.
            moves = changed > look.panel.began[condition.metric]
            unread = np.isnan(changed) | ~(fresh <= 3 * look.periods)
            return np.where(unread, UNKNOWN, np.where(stands, YES, np.where(moves, NO, UNKNOWN)))
        case Threshold():
            return _threshold(look, condition, key)
        case Rate():
            rose, unread = _rise(_window(look, condition.metric, look.seconds(condition.within)))
            return np.where(rose >= condition.increase, YES, np.where(unread, UNKNOWN, NO))
        case _:
            assert_never(condition)


def _rise(readings: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Give what was counted in a window, and of whom nothing was read in it; the window itself is used up."""
    missing = np.isnan(readings)
    np.copyto(readings, 0, where=missing)
    return np.asarray(readings.sum(axis=0)), np.asarray(missing.all(axis=0))


def _threshold(look: Look, condition: Threshold, key: str) -> Verdicts:
    readings = _window(look, condition.metric, condition.n * look.periods)
    bad = _beyond(readings, condition).sum(axis=0)
    good = (~np.isnan(readings)).sum(axis=0) - bad
    # Few readings and none of them good: not enough to say that all is well.
    verdicts = np.where(bad >= condition.k, YES, np.where(good > 0, NO, UNKNOWN))
    if condition.clear is None:
        return verdicts
    track = look.panel.memory.track(key, verdicts.shape, look.panel.now)
    # Of what was never judged here what was told decides: a start of ours clears nothing.
    was = (track.values > 0) | (np.isnan(track.values) & look.was_told(key.partition("/")[0], verdicts.shape))
    still = was & (_beyond(readings, condition, condition.clear).sum(axis=0) >= condition.k)
    verdicts = np.where(still, YES, verdicts)
    track.values = np.where(verdicts == YES, 1.0, np.where(verdicts == NO, 0.0, track.values))
    return verdicts


def _beyond(readings: NDArray[np.float32], condition: Threshold, limit: float | None = None) -> NDArray[np.bool_]:
    limit = condition.value if limit is None else limit
    match condition.op:
        case ">=":
            return np.asarray(readings >= limit)
        case ">":
            return np.asarray(readings > limit)
        case "<=":
            return np.asarray(readings <= limit)
        case "<":
            return np.asarray(readings < limit)
        case "==":
            return np.asarray(readings == limit)
        case _:
            assert_never(condition.op)


def _window(look: Look, name: str, seconds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Give the rows of the last ``seconds`` [hosts], newest first; what is older for a host of shorter memory is NaN."""
    ring = look.panel.ring
    column = ring.columns.get(name)
    if column is None:
        return np.full((1, *ring.entities(CATALOGUE[name].kind)), np.nan, dtype=np.float32)
    rows = ring.recent(float(seconds.max()))
    readings = column[rows]
    if seconds.min() < seconds.max():
        counts = np.ceil(seconds / ring.period - EPSILON) + 1
        outside = np.arange(len(rows))[:, None] >= counts
        readings[outside] = np.nan
    return np.asarray(readings)


def _age(look: Look, name: str) -> NDArray[np.float64]:
    """Give the seconds since the newest reading of each entity; NaN where the ring holds none."""
    ring = look.panel.ring
    column = ring.columns.get(name)
    if column is None:
        return np.full(ring.entities(CATALOGUE[name].kind), np.nan)
    ages = np.full(column.shape[1:], np.nan)
    # Row by row from the newest: most are read lately, and a copy of the whole window would be as large as the window.
    for turn, row in enumerate(ring.recent(ring.rows * ring.period)):
        unread = np.isnan(ages)
        if not unread.any():
            break
        ages[unread & ~np.isnan(column[row])] = turn * ring.period
    return ages


def _patience(look: Look, condition: Absent) -> NDArray[np.float64]:
    return np.maximum(look.seconds(condition.after), condition.periods * look.periods)


def numbers(look: Look, condition: Condition, place: tuple[int, ...]) -> tuple[float, float, float, tuple[int, ...]]:
    """Give value, limit, age in seconds and the cell that decided."""
    slot = place[0]
    match condition:
        case Absent():
            limit = float(_patience(look, condition)[slot])
            age = (
                look.silence[slot]
                if condition.metric == FRAME_AGE
                else float(np.atleast_1d(_age(look, condition.metric)[slot])[0])
            )
            return float(age), limit, 0.0, (slot,)
        case Stalled():
            stands = look.panel.now - look.panel.changed[condition.metric][slot]
            return float(stands), condition.after.at(float(look.periods[slot]), look.grace), 0.0, (slot,)
        case Rate():
            totals, _ = _rise(_window(look, condition.metric, look.seconds(condition.within)))
            cell = _worst_cell(totals, place)
            return float(totals[cell]), condition.increase, 0.0, cell
        case Threshold():
            readings = _window(look, condition.metric, condition.n * look.periods)
            beyond = _beyond(readings, condition).sum(axis=0)
            cell = _worst_cell(beyond, place)
            return *_newest(readings, cell, look.panel.ring.period, condition), cell
        case _:
            assert_never(condition)


def _newest(
    readings: NDArray[np.float32], cell: tuple[int, ...], period: float, condition: Threshold
) -> tuple[float, float, float]:
    series = np.moveaxis(readings, 0, -1)[cell]
    # What shows it still, though no longer as much as at first, is told with the limit that it must clear.
    for limit in (condition.value, condition.value if condition.clear is None else condition.clear):
        shown = np.flatnonzero(_beyond(series, condition, limit))
        if len(shown):
            return float(series[shown[0]]), limit, float(shown[0]) * period
    return float("nan"), condition.value, 0.0


def _worst_cell(scores: NDArray[np.generic], place: tuple[int, ...]) -> tuple[int, ...]:
    """Give the cell of a finer or coarser kind that stands for ``place``: the one with the highest score."""
    if scores.ndim <= len(place):
        return place[: scores.ndim]
    inner = np.asarray(scores[place])
    return (*place, *(int(step) for step in np.unravel_index(int(inner.argmax()), inner.shape)))
