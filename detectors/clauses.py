"""Rules over the panel: which parts show a fault, which certainly do not, and of which nothing is known.

In: a panel and a clause. Out: one int8 array over all entities of the rule's kind, flattened: `NO`, `UNKNOWN` or `YES`, so that
"and" is the minimum and "or" the maximum (Kleene's three-valued logic). Python objects are made only for what fires.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.conditions import numbers, verdicts_of
from sliceward.detectors.finding import Evidence
from sliceward.detectors.look import EPSILON, NO, UNKNOWN, YES, widened
from sliceward.detectors.metrics import CATALOGUE, EntityKind
from sliceward.detectors.rules.schema import Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sliceward.detectors.look import Look, Verdicts
    from sliceward.detectors.panel import Panel
    from sliceward.detectors.rules.schema import Clause, Rule, Sequence
    from sliceward.detectors.rules.units import Span

_DEPTH = {EntityKind.HOST: 0, EntityKind.CHIP: 1, EntityKind.LINK: 2}
_OTHERS = frozenset({"kubernetes", "prometheus", "watcher"})


def judge(look: Look, rule: Rule) -> Verdicts:
    """Give the verdict of a rule on each entity of its kind, flattened; of what was never heard of nothing is known.

    What ``for``, ``sequence`` and ``clear`` remember is kept in the panel: a rule is judged once a round.
    """
    verdicts = _clause(look, rule.when, rule.entity, rule.name)
    depth = _DEPTH[rule.entity]
    for number, other, means in _overrides(look, rule):
        its = NO if other is None else _clause(look, other, rule.entity, f"{rule.name}/overrides/{number}")
        verdicts = np.where(widened(means, depth), its, verdicts)
    now = datetime.fromtimestamp(look.panel.now, UTC)
    for silence in rule.silences:
        if silence.holds(now):
            verdicts = np.where(widened(look.hosts.within(silence), depth), UNKNOWN, verdicts)
    return np.where(look.exists(rule.entity), verdicts, UNKNOWN).astype(np.int8).ravel()


def _overrides(look: Look, rule: Rule) -> Iterator[tuple[int, Clause | None, NDArray[np.bool_]]]:
    """Go through the overrides with the hosts [hosts] that each decides of: those that no earlier one fits."""
    left = np.ones(look.panel.ring.hosts, dtype=bool)
    for number, override in enumerate(rule.overrides):
        means = look.hosts.within(override) & left
        left &= ~means
        yield number, override.when, means


def _clause_on(look: Look, rule: Rule, slot: int) -> Clause:
    return next((other for _, other, means in _overrides(look, rule) if means[slot] and other is not None), rule.when)


def evidence(look: Look, rule: Rule, entity: int) -> Iterator[Evidence]:
    """Give the numbers that decided about one entity, one for each condition that speaks for the fault and is met."""
    place = tuple(int(step) for step in np.unravel_index(entity, look.panel.ring.entities(rule.entity)))
    for condition in _clause_on(look, rule, place[0]).conditions():
        value, limit, age, cell = numbers(look, condition, place)
        if np.isnan(value) or (not isinstance(condition, Threshold) and value < limit - EPSILON):
            continue
        metric = CATALOGUE[condition.metric]
        at = datetime.fromtimestamp(look.panel.now - age, UTC)
        yield Evidence(condition.metric, value, limit, metric.unit, at, _printed(look.panel, cell))


def _clause(look: Look, clause: Clause, kind: EntityKind, key: str) -> Verdicts:
    verdicts = _held(look, clause, kind, key)
    return verdicts if clause.lasting is None else _lasting(look, verdicts, clause.lasting, f"{key}/for")


def _held(look: Look, clause: Clause, kind: EntityKind, key: str) -> Verdicts:
    if clause.all is not None:
        inner = [_clause(look, one, kind, f"{key}/all/{number}") for number, one in enumerate(clause.all)]
        return np.asarray(np.minimum.reduce(inner), dtype=np.int8)
    if clause.any is not None:
        inner = [_clause(look, one, kind, f"{key}/any/{number}") for number, one in enumerate(clause.any)]
        return np.asarray(np.maximum.reduce(inner), dtype=np.int8)
    if clause.negated is not None:
        return np.asarray(YES - _clause(look, clause.negated, kind, f"{key}/not"), dtype=np.int8)
    if clause.sequence is not None:
        return _sequence(look, clause.sequence, kind, f"{key}/sequence")
    condition = clause.condition
    assert condition is not None  # noqa: S101 (a clause has exactly one; see its validator)
    metric = CATALOGUE[condition.metric]
    verdicts = verdicts_of(look, condition, key)
    if metric.source not in _OTHERS:
        verdicts = np.where(widened(look.silent, verdicts.ndim - 1), UNKNOWN, verdicts)
    return _as_kind(look, verdicts.astype(np.int8), (metric.kind, kind), over=condition.over)


def _lasting(look: Look, verdicts: Verdicts, span: Span, key: str) -> Verdicts:
    """Say yes where it was yes for so long without a no; a time in which nothing was known neither counts nor breaks it."""
    now = look.panel.now
    track = look.panel.memory.track(key, verdicts.shape, now)
    # A stall of our own is no time in which anything was seen to last.
    passed, track.at = min(max(0.0, now - track.at), 2 * look.panel.size.period), now
    held = np.where(np.isnan(track.values), 0.0, track.values + passed)
    track.values = np.where(verdicts == YES, held, np.where(verdicts == NO, np.nan, track.values))
    wanted = widened(look.seconds(span), verdicts.ndim - 1) - EPSILON
    # After a restart it may have held long before: no reason to take back what was told.
    not_yet = np.where(now - track.began >= wanted, NO, UNKNOWN)
    return np.where(verdicts == YES, np.where(track.values >= wanted, YES, not_yet), verdicts).astype(np.int8)


def _sequence(look: Look, sequence: Sequence, kind: EntityKind, key: str) -> Verdicts:
    first, then = _clause(look, sequence.first, kind, f"{key}/first"), _clause(look, sequence.then, kind, f"{key}/then")
    now, memory = look.panel.now, look.panel.memory
    onset, armed = memory.track(f"{key}/onset", then.shape, now), memory.track(f"{key}/armed", then.shape, now)
    began = (then == YES) & np.isnan(onset.values)
    onset.values = np.where(began, now, np.where(then == NO, np.nan, onset.values))
    armed.values = np.where((first == YES) & np.isnan(onset.values), now, armed.values)
    within = widened(look.seconds(sequence.within), then.ndim - 1) + EPSILON
    apart = onset.values - armed.values
    follows = (then == YES) & (apart > 0) & (apart <= within)
    # The first may have been before anybody looked, or cannot be seen.
    perhaps = (then == YES) & ((first == UNKNOWN) | (np.isnan(armed.values) & (onset.values - armed.began < within)))
    return np.where(follows, YES, np.where(perhaps | (then == UNKNOWN), UNKNOWN, NO)).astype(np.int8)


def _as_kind(look: Look, verdicts: Verdicts, kinds: tuple[EntityKind, EntityKind], *, over: str) -> Verdicts:
    """Spread verdicts on hosts over their chips, or gather those on chips for their host (any, or all that exist)."""
    have, want = kinds
    if _DEPTH[have] <= _DEPTH[want]:
        shape = look.panel.ring.entities(want)
        return np.broadcast_to(widened(verdicts, _DEPTH[want] - _DEPTH[have]), shape).astype(np.int8)
    axes = tuple(range(_DEPTH[want] + 1, _DEPTH[have] + 1))
    exists = look.exists(have)
    if over == "any":
        return np.asarray(np.where(exists, verdicts, NO).max(axis=axes), dtype=np.int8)
    gathered = np.where(exists, verdicts, YES).min(axis=axes)
    return np.where(exists.any(axis=axes), gathered, UNKNOWN).astype(np.int8)


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
