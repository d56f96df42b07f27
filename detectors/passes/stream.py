"""One series without peers, reading by reading: how unusual is this one among what the series itself has shown so far.

Three questions, each answered by a rank among the series' own past, so that no unit and no distribution is assumed: is the level far from the usual
one; has the shape of the last readings not been seen; is it different from the same time of the days before. A surprise is given in decimal digits
(3: one reading in a thousand is as odd), and the three add up (Fisher's way to join independent tests). An oddity that goes on is told once: a
surprise no greater than one told lately is none.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from math import isfinite, log10, sqrt

import numpy as np

WARM = 100
"""Readings before which nothing is odd."""
KEEP = 4000
"""Readings that a rank is taken among."""
QUIET = 200
"""Readings for which a told oddity keeps lesser ones quiet."""
SLOW = 0.01
"""Weight of a reading in what is usual."""
BEYOND = 2.0
"""Digits that are granted at most for how far a record lies beyond all before."""
LAGS, SHAPES, NEAREST = 10, 2000, 5
"""Readings in a shape, shapes that are remembered, and the neighbour whose distance tells how new a shape is."""
DAY, DAYS, AROUND = 86_400.0, 2, 2
"""The time after which life repeats itself; how many such are looked back, and how many readings around the same time."""
PACE = 11
"""Readings by which the time from one to the next is learnt."""
TINY = 1e-30


@dataclass(slots=True)
class Ranks:
    """The last `KEEP` values of one score, in order of size and of time."""

    in_order: list[float] = field(default_factory=list)
    by_age: deque[float] = field(default_factory=deque)

    def surprise(self, value: float) -> float:
        """Give minus log10 of the share of former values as large as this one, and take it in."""
        count, digits = len(self.in_order), 0.0
        if count >= WARM:
            above = count - bisect_left(self.in_order, value)
            digits = log10((1 + count) / (1 + above))
            if above == 0 and self.in_order[-1] > TINY:
                digits += min(BEYOND, BEYOND * log10(max(1.0, value / self.in_order[-1])))
        insort(self.in_order, value)
        self.by_age.append(value)
        if count >= KEEP:
            del self.in_order[bisect_left(self.in_order, self.by_age.popleft())]
        return digits


@dataclass(slots=True)
class Usual:
    """A slow mean and the spread around it."""

    mean: float = 0.0
    variance: float = 0.0
    count: int = 0

    def distance(self, value: float) -> float:
        """Give the distance from what is usual, in spreads, and learn from it."""
        self.count += 1
        weight, away = max(SLOW, 1 / self.count), value - self.mean
        spread = sqrt(self.variance)
        self.mean += weight * away
        self.variance = (1 - weight) * (self.variance + weight * away * away)
        return abs(away) / (spread + TINY) if self.count > LAGS else 0.0


@dataclass(slots=True)
class Shapes:
    """The last shapes of a series, as rows of a ring."""

    ring: np.ndarray[tuple[int, int], np.dtype[np.float64]] = field(default_factory=lambda: np.zeros((SHAPES, LAGS)))
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=LAGS))
    count: int = 0

    def distance(self, value: float) -> float:
        """Give the distance of the present shape from its near neighbours, and remember it."""
        self.recent.append(value)
        if len(self.recent) < LAGS:
            return 0.0
        shape = np.array(self.recent)
        known = self.ring[: min(self.count, SHAPES)]
        far = 0.0
        if len(known) > LAGS + NEAREST:
            squares = np.square(known - shape).sum(axis=1)
            far = sqrt(float(np.partition(squares, NEAREST - 1)[NEAREST - 1]))
        self.ring[self.count % SHAPES] = shape
        self.count += 1
        return far


@dataclass(slots=True)
class Season:
    """Readings by time, of the last days. ``pace``: seconds from one to the next, 0 while unknown."""

    values: dict[int, float] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    pace: float = 0.0

    def distance(self, at: float, value: float) -> float:
        """Give the distance from the nearest reading around the same time of the days before; 0 where there is none."""
        if not self.pace:
            self.times.append(at)
            if len(self.times) == PACE:
                self.pace = max(float(np.median(np.diff(self.times))), TINY)
            return 0.0
        slot, day = int(at // self.pace), round(DAY / self.pace)
        around = range(-AROUND, AROUND + 1)
        before = [self.values.get(slot - days * day + by) for days in range(1, DAYS + 1) for by in around]
        known = [abs(value - one) for one in before if one is not None]
        self.values[slot] = value
        self.values.pop(slot - DAYS * day - AROUND - 1, None)
        return min(known) if known and day > 2 * AROUND else 0.0


@dataclass(slots=True)
class Stream:
    """What is known of one series. ``told``: oddities of the last `QUIET` readings, (number, digits), the greatest first."""

    count: int = 0
    usual: Usual = field(default_factory=Usual)
    shapes: Shapes = field(default_factory=Shapes)
    season: Season = field(default_factory=Season)
    ranks: tuple[Ranks, Ranks, Ranks] = field(default_factory=lambda: (Ranks(), Ranks(), Ranks()))
    told: deque[tuple[int, float]] = field(default_factory=deque)

    def step(self, at: float, value: float) -> float:
        """Take one reading, at unix seconds; give its surprise in decimal digits, 0 where it is none, was told already, or was not read."""
        if not isfinite(value):
            return 0.0
        self.count += 1
        spread = sqrt(self.usual.variance) + TINY
        distances = self.usual.distance(value), self.shapes.distance(value) / spread, self.season.distance(at, value) / spread
        return self._news(sum(ranks.surprise(round(one, 9)) for ranks, one in zip(self.ranks, distances, strict=True)))

    def _news(self, digits: float) -> float:
        while self.told and self.told[0][0] < self.count - QUIET:
            self.told.popleft()
        news = digits if not self.told or digits > self.told[0][1] else 0.0
        while self.told and self.told[-1][1] <= digits:
            self.told.pop()
        self.told.append((self.count, digits))
        return news
