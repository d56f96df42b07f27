"""One series without peers, reading by reading: how unusual is this one among what the series itself has shown so far.

Three questions, each answered by a rank among the series' own past, so that no unit and no distribution is assumed: is the level far from the usual
one; has the shape of the last readings not been seen; is it different from the same time of the days before. A surprise is given in decimal digits
(3: one reading in a thousand is as odd), and the three add up (Fisher's way to join independent tests). An oddity that goes on is told once: a
surprise no greater than one told lately is none.

A reading takes some ten microseconds, most of them for the shape, so what is done for each is plain arithmetic and few calls of numpy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from math import inf, isfinite, log10, sqrt

import numpy as np
from numpy import add, square, subtract

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
DAY, AROUND = 86_400.0, 2
"""The time after which life repeats itself, which is looked back once and twice, and how many readings around the same time."""
PACE = 11
"""Readings by which the time from one to the next is learnt."""
TINY = 1e-30
GRID = 2.0**23
"""Added and taken away again, it leaves what is below 2**23 as a multiple of two thousand-millionths: what is equal but for its rounding is equal."""


@dataclass(slots=True)
class Ranks:
    """The last `KEEP` values of one score, in order of size and of time."""

    in_order: list[float] = field(default_factory=list)
    by_age: deque[float] = field(default_factory=deque)

    def surprise(self, value: float) -> float:
        """Give minus log10 of the share of former values as large as this one, and take it in."""
        in_order, by_age = self.in_order, self.by_age
        count, place, digits = len(in_order), bisect_left(in_order, value), 0.0
        if count >= WARM:
            above = count - place
            digits = log10((1 + count) / (1 + above))
            if above == 0 and in_order[-1] > TINY:
                digits += min(BEYOND, BEYOND * log10(max(1.0, value / in_order[-1])))
        in_order.insert(place, value)
        by_age.append(value)
        if count >= KEEP:
            del in_order[bisect_left(in_order, by_age.popleft())]
        return digits


@dataclass(slots=True)
class Usual:
    """A slow mean and the spread around it."""

    mean: float = 0.0
    variance: float = 0.0
    count: int = 0

    def distance(self, value: float) -> float:
        """Give the distance from what is usual, in spreads, and learn from it."""
        self.count = count = self.count + 1
        weight, away = max(SLOW, 1 / count), value - self.mean
        spread = sqrt(self.variance)
        self.mean += weight * away
        self.variance = (1 - weight) * (self.variance + weight * away * away)
        return abs(away) / (spread + TINY) if count > LAGS else 0.0


class Shapes:
    """The last shapes of a series, by age: how far each is from the present one.

    The squared distance of two shapes is a sum over `LAGS` pairs of readings, and from one reading to the next all pairs but one stay. ``_line``: the
    readings, the newest first. ``_apart``: of each of the last `LAGS` readings its squared differences from those before it, by age. What leaves the
    sum is not taken away, which would leave its rounding behind: once in `LAGS` readings rows become the sums of what is younger, and the first
    row adds up what came since.
    """

    __slots__ = ("_apart", "_count", "_first", "_line", "_now", "_squares")

    def __init__(self) -> None:
        """Know of no reading."""
        self._line = np.zeros(4 * SHAPES)
        self._apart = list(np.zeros((LAGS, SHAPES)))
        self._squares, self._now = np.zeros(SHAPES), np.zeros(())
        self._first, self._count = len(self._line) - SHAPES, 0

    def distance(self, value: float) -> float:
        """Give the distance of the present shape from its near neighbours, and remember it."""
        count, first, apart, squares = self._count, self._first, self._apart, self._squares
        turn = count % LAGS
        row, since = apart[turn], apart[0]
        self._now.fill(value)
        subtract(self._line[first : first + SHAPES], self._now, row)
        square(row, row)
        if turn:
            add(since, row, since)
        if turn < LAGS - 1:
            add(since, apart[turn + 1], squares)
        else:
            squares[:] = since
            for older in range(LAGS - 2, 0, -1):
                add(apart[older], apart[older + 1], apart[older])
        if not first:
            self._line[-SHAPES:] = self._line[:SHAPES]
            first = len(self._line) - SHAPES
        self._first = first = first - 1
        self._line[first] = value
        self._count = count = count + 1
        if count < SHAPES + LAGS:
            squares[max(count - LAGS, 0) :] = inf
            if count <= 2 * LAGS + NEAREST:
                return 0.0
        squares.partition(NEAREST - 1)
        return sqrt(squares.item(NEAREST - 1))


@dataclass(slots=True)
class Season:
    """Readings by time, of the last days. ``pace``: seconds from one to the next, 0 while unknown; ``day``: readings in a day.

    ``near``: the readings around the same time of the days before as that of ``slot``, infinite where there is none.
    """

    values: dict[int, float] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    pace: float = 0.0
    day: int = 0
    slot: int = 0
    near: deque[float] = field(default_factory=lambda: deque(maxlen=2 * (2 * AROUND + 1)))

    def distance(self, at: float, value: float) -> float:
        """Give the distance from the nearest reading around the same time of the days before; 0 where there is none."""
        if not self.pace:
            self.times.append(at)
            if len(self.times) == PACE:
                self.pace = max(float(np.median(np.diff(self.times))), TINY)
                self.day = round(DAY / self.pace)
            return 0.0
        slot, day, near, known = int(at // self.pace), self.day, self.near, self.values.get
        if slot == self.slot + 1:
            near.append(known(slot + AROUND - day, inf))
            near.append(known(slot + AROUND - 2 * day, inf))
        elif slot != self.slot or not near:
            for one in range(slot - AROUND, slot + AROUND + 1):
                near.append(known(one - day, inf))
                near.append(known(one - 2 * day, inf))
        self.slot = slot
        self.values[slot] = value
        self.values.pop(slot - 2 * day - AROUND - 1, None)
        apart = min([abs(value - one) for one in near])
        return apart if apart < inf and day > 2 * AROUND else 0.0


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
        level, shape, season = self.ranks
        digits = (
            level.surprise(self.usual.distance(value) + GRID - GRID)
            + shape.surprise(self.shapes.distance(value) / spread + GRID - GRID)
            + season.surprise(self.season.distance(at, value) / spread + GRID - GRID)
        )
        return self._news(digits)

    def _news(self, digits: float) -> float:
        told, count = self.told, self.count
        while told and told[0][0] < count - QUIET:
            told.popleft()
        news = digits if not told or digits > told[0][1] else 0.0
        while told and told[-1][1] <= digits:
            told.pop()
        told.append((count, digits))
        return news
