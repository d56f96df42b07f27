"""Cumulative distributions with exponential buckets into mean, median and 99th percentile of an interval.

libtpu counts since its process started (``tpu.monitoring.runtime.Distribution``): what is new since the last reading is the
difference of the bucket counts. Bucket 0 lies below ``scale``, bucket i between scale * growth**(i-1) and scale * growth**i,
the last above all (OpenCensus exponential buckets).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


NOTHING = Interval(0, math.nan, math.nan, math.nan)


def merged(parts: Iterable[Distribution]) -> Distribution | None:
    """Add up the distributions of several cores; None for none. Other bucket bounds than the first one's are left out."""
    given = list(parts)
    if not given:
        return None
    first = given[0]
    everyone = [part for part in given if _bounds(part) == _bounds(first)]
    columns = zip(*(part.buckets for part in everyone), strict=True)
    return Distribution(
        sum(p.count for p in everyone), sum(p.total for p in everyone), tuple(map(sum, columns)), first.growth, first.scale
    )


def since(before: Distribution | None, now: Distribution | None) -> Interval:
    """Give what is new in ``now``; all of it where the process has restarted, nothing where there is no earlier reading."""
    if before is None or now is None:
        return NOTHING
    counts = tuple(b - a for a, b in zip(before.buckets, now.buckets, strict=False))
    count, total = now.count - before.count, now.total - before.total
    if _bounds(before) != _bounds(now) or count < 0 or min(counts, default=0) < 0:
        counts, count, total = now.buckets, now.count, now.total
    if count <= 0:
        return NOTHING
    return Interval(count, total / count, _quantile(counts, 0.5, now), _quantile(counts, 0.99, now))


def _bounds(distribution: Distribution) -> tuple[float, float, int]:
    return distribution.growth, distribution.scale, len(distribution.buckets)


def _quantile(counts: tuple[int, ...], share: float, shape: Distribution) -> float:
    """Interpolate inside the bucket that holds the quantile, as Prometheus' ``histogram_quantile`` does."""
    wanted, seen = share * sum(counts), 0
    for place, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = 0.0 if place == 0 else shape.scale * shape.growth ** (place - 1)
            high = shape.scale * shape.growth**place
            # The last bucket has no upper bound; its lower one is all that is known.
            return low if place == len(counts) - 1 else low + (high - low) * (wanted - seen) / count
        seen += count
    return math.nan
