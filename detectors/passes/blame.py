"""Who is to blame in a graph of parts that depend on one another: a complaint, everybody's readings before and since, and who calls whom.

A part that is sick shows it at the times of the complaint, and so do those that depend on it. So a candidate explains its own evidence and
that of all who call it, directly or not; of each no more than it shows itself allows (a leaf that trembles explains no earthquake). Evidence is
the contrast between the times of the complaint and the others, in robust deviations: what is always wrong is wrong for another reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.passes.peers import ROBUST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    Series = NDArray[np.float64]

GATE = 1.5
"""Deviations of the complaint below which there is nothing to explain (one deviation on the bad side is passed by at most 1 % of usual readings)."""
HEARSAY = 0.6
"""What the word of a part counts that calls nobody: such are often seen by their callers alone, and share their callers' troubles."""
OWN = 1.0
"""Deviations that a part must show at the times of the complaint to be a candidate."""
MOST = 8.0
"""Deviations that one part counts for at most: how many agree says more than how loud one is."""
REACH = 1.5
"""How many times its own evidence a part explains of each that depends on it."""
LEAST = 20
"""Readings of usual times below which nothing is known of a part."""
FLOOR = 1e-3


def blame(
    calls: Mapping[str, Collection[str]], complaint: str, usual: Mapping[str, Series], now: Mapping[str, Series]
) -> list[tuple[str, float]]:
    """Give the parts that may be the cause with what they explain, the best first; none where the complaint is nothing unusual.

    ``calls``: who depends on whom. ``usual`` and ``now``: readings by part, bad is high, NaN is missing; those of ``now`` are of the same times.
    """
    scores = {part: _scores(usual[part], now[part]) for part in now if part in usual}
    scores = {part: found for part, found in scores.items() if np.isfinite(found).any()}
    if complaint not in scores or np.nanmax(scores[complaint]) < GATE:
        return []
    when = np.clip(np.nan_to_num(scores[complaint]), 0, MOST)
    shown = {part: _contrast(found, when) for part, found in scores.items()}
    callers = _callers(calls)
    told = {part: found * (1.0 if calls.get(part) else HEARSAY) for part, found in shown.items()}
    explained = {
        part: own + sum(min(max(shown.get(one, 0.0), 0.0), REACH * own) for one in _above(part, callers))
        for part, own in told.items()
        if own >= OWN
    }
    return sorted(explained.items(), key=lambda one: (-one[1], one[0]))


def _scores(usual: Series, now: Series) -> Series:
    """Give robust deviations of ``now``; the scale is that of the bad side too, where most readings are the same."""
    known = usual[np.isfinite(usual)]
    if len(known) < LEAST:
        return np.full(len(now), np.nan)
    middle, high = np.quantile(known, (0.5, 0.99))
    spread = max(float(ROBUST) * float(np.median(np.abs(known - middle))), (high - middle) / 2.33)
    return np.asarray((now - middle) / (spread + FLOOR * abs(middle) + 1e-12))


def _contrast(scores: Series, when: Series) -> float:
    """Give the mean score at the times of the complaint less that at the others, bounded."""
    there = np.isfinite(scores)
    bounded = np.clip(np.where(there, scores, 0), -MOST, MOST)
    on, off = when * there, (when.max() - when) * there
    if on.sum() <= 0:
        return 0.0
    during = float((bounded * on).sum() / on.sum())
    # the other times weigh as much as there is of them: none, and the usual times alone are what it is compared with
    share = min(1.0, float(off.sum()) / float(when.max()))
    before = float((bounded * off).sum() / off.sum()) if off.sum() > 0 else 0.0
    return during - share * max(before, 0.0)


def _callers(calls: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    callers: dict[str, set[str]] = {}
    for one, others in calls.items():
        for other in others:
            callers.setdefault(other, set()).add(one)
    return callers


def _above(part: str, callers: Mapping[str, set[str]]) -> set[str]:
    """Give all that depend on a part, directly or not; not itself, also where they go round."""
    found: set[str] = set()
    open_ = [part]
    while open_:
        for one in callers.get(open_.pop(), ()):
            if one not in found and one != part:
                found.add(one)
                open_.append(one)
    return found
