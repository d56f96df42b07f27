"""Rules over the panel: which parts show a fault, which certainly do not, and of which nothing is known.

In: a panel and a clause. Out: one int8 array over all entities of the rule's kind, flattened: `NO`, `UNKNOWN` or `YES`, so that
"and" is the minimum and "or" the maximum (Kleene's three-valued logic). Python objects are made only for what fires.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, assert_never

import numpy as np

from sliceward.detectors.finding import Evidence
from sliceward.detectors.metrics import CATALOGUE, EntityKind
from sliceward.detectors.rules import FRAME_AGE, Absent, Rate, Stalled, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sliceward.detectors.panel import Panel
    from sliceward.detectors.rules import Clause, Rule, Span

    Verdicts = NDArray[np.int8]

NO, UNKNOWN, YES = np.int8(0), np.int8(1), np.int8(2)

_DEPTH = {EntityKind.HOST: 0, EntityKind.CHIP: 1, EntityKind.LINK: 2}
_OTHERS = frozenset({"kubernetes", "prometheus", "watcher"})
_EPSILON = 1e-6


@dataclass(frozen=True)
class Look:
    """A panel at one instant.

    ``periods`` [hosts]: seconds between frames; ``silent`` [hosts]: nothing its agent said is news; ``heard`` [hosts]: its agent
    spoke at all since the panel began, or it was scraped.
    """

    panel: Panel
    grace: float
    periods: NDArray[np.float64]
    silence: NDArray[np.float64]
    silent: NDArray[np.bool_]
    heard: NDArray[np.bool_]

    @classmethod
    def at(cls, panel: Panel, *, grace: float) -> Look:
        """Look now. A host is silent beyond ``grace`` seconds of attention and three of its periods."""
        periods = np.full(panel.ring.hosts, panel.size.period)
        silence = np.zeros(panel.ring.hosts)
        heard = np.zeros(panel.ring.hosts, dtype=bool)
        for slot, known in enumerate(panel.hosts):
            if known is not None:
                periods[slot] = max(known.period, panel.size.period)
                silence[slot] = panel.silence(slot)
                heard[slot] = known.speaker is not None or known.scraped
        return cls(panel, grace, periods, silence, silence >= np.maximum(grace, 3 * periods) - _EPSILON, heard)

    def exists(self, kind: EntityKind) -> NDArray[np.bool_]:
        """Give which entities there are, in the shape of one row."""
        chips = np.array([0 if known is None else known.chips for known in self.panel.hosts], dtype=int)
        ports = np.array([0 if known is None else known.ports for known in self.panel.hosts], dtype=int)
        there = np.zeros(self.panel.ring.entities(kind), dtype=bool)
        if kind is EntityKind.HOST:
            there[: len(chips)] = [known is not None for known in self.panel.hosts]
            return there
        has_chip = np.arange(self.panel.ring.chips) < chips[:, None]
        if kind is EntityKind.CHIP:
            there[: len(chips)] = has_chip
        else:
            there[: len(chips)] = has_chip[:, :, None] & (np.arange(self.panel.ring.ports) < ports[:, None, None])
        return there


def judge(look: Look, rule: Rule) -> Verdicts:
    """Give the verdict of a rule on each entity of its kind, flattened; of what was never heard of nothing is known."""
    verdicts = _clause(look, rule.when, rule.entity)
    return np.where(look.exists(rule.entity), verdicts, UNKNOWN).astype(np.int8).ravel()


def evidence(look: Look, rule: Rule, entity: int) -> Iterator[Evidence]:
    """Give the numbers that decided about one entity, one for each condition that speaks for the fault and is met."""
    place = np.unravel_index(entity, look.panel.ring.entities(rule.entity))
    for condition in rule.when.conditions():
        value, limit, age, cell = _numbers(look, condition, tuple(int(step) for step in place))
        if np.isnan(value) or (not isinstance(condition, Threshold) and value < limit - _EPSILON):
            continue
        metric = CATALOGUE[condition.metric]
        at = datetime.fromtimestamp(look.panel.now - age, UTC)
        yield Evidence(condition.metric, value, limit, metric.unit, at, _printed(look.panel, cell))


def _clause(look: Look, clause: Clause, kind: EntityKind) -> Verdicts:
    if clause.all is not None:
        return np.asarray(np.minimum.reduce([_clause(look, inner, kind) for inner in clause.all]), dtype=np.int8)
    if clause.any is not None:
        return np.asarray(np.maximum.reduce([_clause(look, inner, kind) for inner in clause.any]), dtype=np.int8)
    if clause.negated is not None:
        return np.asarray(YES - _clause(look, clause.negated, kind), dtype=np.int8)
    condition = clause.condition
    assert condition is not None  # noqa: S101 (a clause has exactly one; see its validator)
    metric = CATALOGUE[condition.metric]
    verdicts = _condition(look, condition)
    if metric.source not in _OTHERS:
        verdicts = np.where(_widened(look.silent, verdicts.ndim - 1), UNKNOWN, verdicts)
    return _as_kind(look, verdicts.astype(np.int8), (metric.kind, kind), over=condition.over)


def _condition(look: Look, condition: Threshold | Rate | Absent | Stalled) -> Verdicts:
    match condition:
        case Absent() if condition.metric == FRAME_AGE:
            # Of a host that is only expected nothing is known yet: a start of ours is no sign of life of its own.
            absent = look.silence >= _patience(look, condition) - _EPSILON
            return np.where(absent, YES, np.where(look.heard, NO, UNKNOWN))
        case Absent():
            age = _age(look, condition.metric)
            verdicts = np.where(age >= _widened(_patience(look, condition), age.ndim - 1), YES, NO)
            return np.where(np.isnan(age), UNKNOWN, verdicts)
        case Stalled():
            changed, fresh = look.panel.changed[condition.metric], _age(look, condition.metric)
            stands = look.panel.now - changed >= _seconds(look, condition.after)
            # Its first value may have stood for long before we looked: only a change that was seen says that it moves.
            moves = changed > look.panel.began[condition.metric]
            unread = np.isnan(changed) | ~(fresh <= 3 * look.periods)
            return np.where(unread, UNKNOWN, np.where(stands, YES, np.where(moves, NO, UNKNOWN)))
        case Threshold():
            return _threshold(look, condition)
        case Rate():
            readings = _window(look, condition.metric, _seconds(look, condition.within))
            rose = np.nansum(readings, axis=0) >= condition.increase
            return np.where(rose, YES, np.where(np.isnan(readings).all(axis=0), UNKNOWN, NO))
        case _:
            assert_never(condition)


def _threshold(look: Look, condition: Threshold) -> Verdicts:
    readings = _window(look, condition.metric, condition.n * look.periods)
    bad = _beyond(readings, condition).sum(axis=0)
    good = (~np.isnan(readings)).sum(axis=0) - bad
    # Few readings and none of them good: not enough to say that all is well.
    return np.where(bad >= condition.k, YES, np.where(good > 0, NO, UNKNOWN))


def _beyond(readings: NDArray[np.float32], condition: Threshold) -> NDArray[np.bool_]:
    match condition.op:
        case ">=":
            return np.asarray(readings >= condition.value)
        case ">":
            return np.asarray(readings > condition.value)
        case "<=":
            return np.asarray(readings <= condition.value)
        case "<":
            return np.asarray(readings < condition.value)
        case "==":
            return np.asarray(readings == condition.value)
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
        counts = np.ceil(seconds / ring.period - _EPSILON) + 1
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


def _seconds(look: Look, span: Span) -> NDArray[np.float64]:
    return np.full_like(look.periods, look.grace) if span.grace else span.seconds + span.periods * look.periods


def _patience(look: Look, condition: Absent) -> NDArray[np.float64]:
    return np.maximum(_seconds(look, condition.after), condition.periods * look.periods)


_Any = TypeVar("_Any", bound=np.generic)


def _widened(hosts: NDArray[_Any], more: int) -> NDArray[_Any]:
    return hosts.reshape(hosts.shape + (1,) * more)


def _as_kind(look: Look, verdicts: Verdicts, kinds: tuple[EntityKind, EntityKind], *, over: str) -> Verdicts:
    """Spread verdicts on hosts over their chips, or gather those on chips for their host (any, or all that exist)."""
    have, want = kinds
    if _DEPTH[have] <= _DEPTH[want]:
        shape = look.panel.ring.entities(want)
        return np.broadcast_to(_widened(verdicts, _DEPTH[want] - _DEPTH[have]), shape).astype(np.int8)
    axes = tuple(range(_DEPTH[want] + 1, _DEPTH[have] + 1))
    exists = look.exists(have)
    if over == "any":
        return np.asarray(np.where(exists, verdicts, NO).max(axis=axes), dtype=np.int8)
    gathered = np.where(exists, verdicts, YES).min(axis=axes)
    return np.where(exists.any(axis=axes), gathered, UNKNOWN).astype(np.int8)


def _numbers(
    look: Look, condition: Threshold | Rate | Absent | Stalled, place: tuple[int, ...]
) -> tuple[float, float, float, tuple[int, ...]]:
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
            readings = _window(look, condition.metric, _seconds(look, condition.within))
            totals = np.nansum(readings, axis=0)
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
    shown = np.flatnonzero(_beyond(series, condition))
    if not len(shown):
        return float("nan"), condition.value, 0.0
    return float(series[shown[0]]), condition.value, float(shown[0]) * period


def _worst_cell(scores: NDArray[np.generic], place: tuple[int, ...]) -> tuple[int, ...]:
    """Give the cell of a finer or coarser kind that stands for ``place``: the one with the highest score."""
    if scores.ndim <= len(place):
        return place[: scores.ndim]
    inner = np.asarray(scores[place])
    return (*place, *(int(step) for step in np.unravel_index(int(inner.argmax()), inner.shape)))


def _printed(panel: Panel, cell: tuple[int, ...]) -> str:
    known = panel.hosts[cell[0]]
    name = known.name if known is not None else "gone"
    match cell:
        case (_,):
            return f"{panel.cluster}/host/{name}"
        case (_, chip):
            return f"{panel.cluster}/chip/{name}/{chip}"
        case (_, chip, port):
            return f"{panel.cluster}/chip/{name}/{chip} port {port}"
        case _:
            raise AssertionError(cell)
