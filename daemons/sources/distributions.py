"""Cumulative distributions with exponential buckets into mean, median and 99th percentile of an interval.

libtpu counts since its process started (``tpu.monitoring.runtime.Distribution``): what is new since the last reading is the
difference of the bucket counts. Bucket 0 lies below ``scale``, bucket i between scale * growth**(i-1) and scale * growth**i,
the last above all (OpenCensus exponential buckets).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, assert_never

from sliceward.detectors.metrics import Statistic

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Distribution:
    """Counts since the process started. ``total`` is the sum of all values, which is mean times count."""

    count: int
    total: float
    buckets: tuple[int, ...]
    growth: float
    scale: float


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two readings; NaN where nothing did."""

    count: int
    mean: float
    p50: float
    p99: float

    def value(self, statistic: Statistic) -> float:
        """Give one of its numbers."""
        match statistic:
            case Statistic.MEAN:
                return self.mean
            case Statistic.P50:
                return self.p50
            case Statistic.P99:
                return self.p99
            case _:
                assert_never(statistic)


NOTHING = Interval(0, math.nan, math.nan, math.nan)


def merged(parts: Iterable[Distribution]) -> Distribution | None:
    """Add up the distributions of several cores or sizes of buffers; None for none.

    Other bucket bounds than the first one's are left out. Buckets left off at the end are empty.
    """
    given = list(parts)
    if not given:
        return None
    first = given[0]
    everyone = [part for part in given if _bounds(part) == _bounds(first)]
    columns = zip_longest(*(part.buckets for part in everyone), fillvalue=0)
    return Distribution(
        sum(p.count for p in everyone), sum(p.total for p in everyone), tuple(map(sum, columns)), first.growth, first.scale
    )


def since(before: Distribution | None, now: Distribution | None) -> Interval:
    """Give what is new in ``now``; all of it where the process has restarted, nothing where there is no earlier reading.

    Where bucket bounds changed and no count fell, nobody knows which part of it is new: nothing is told.
    """
    if before is None or now is None:
        return NOTHING
    counts = tuple(b - a for a, b in zip_longest(before.buckets, now.buckets, fillvalue=0))
    count, total = now.count - before.count, now.total - before.total
    if _bounds(before) != _bounds(now) and count >= 0:
        return NOTHING
    if count < 0 or min(counts, default=0) < 0:
        counts, count, total = now.buckets, now.count, now.total
    if count <= 0:
        return NOTHING
    return Interval(count, total / count, _quantile(counts, 0.5, now), _quantile(counts, 0.99, now))


def _bounds(distribution: Distribution) -> tuple[float, float]:
    return distribution.growth, distribution.scale


def _quantile(counts: tuple[int, ...], share: float, shape: Distribution) -> float:
    """Interpolate inside the bucket that holds the quantile, as Prometheus' ``histogram_quantile`` does."""
    wanted, seen = share * sum(counts), 0
    for place, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = 0.0 if place == 0 else _edge(shape, place - 1)
            # The last bucket has no upper bound; its lower one is all that is known.
            return low if place == len(counts) - 1 else low + (_edge(shape, place) - low) * (wanted - seen) / count
        seen += count
    return math.nan


def _edge(shape: Distribution, place: int) -> float:
    """Give the upper bound of a bucket; NaN beyond all numbers, which only a distribution that is none has."""
    try:
        return shape.scale * shape.growth**place
    except OverflowError:
        return math.nan
