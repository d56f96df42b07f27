"""Counters as rates: increases with restart detection, own rate shrunk towards the peers', CUSUMs of counts, and flapping.

A rate is a gamma posterior: events over ticks, with the role's own spread of rates as prior (rates of healthy links lie two decades apart). The
CUSUMs ask whether events come faster by a fixed rate than what the member itself has shown so far, and the present counts as shown: so a member
of which little is known is not accused by its second event (prequential, as a negative-binomial predictive would have it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.passes.drift import CAP
from sliceward.detectors.passes.peers import SAMPLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sliceward.detectors.passes.layout import Groups, Index, Rows

RISES = np.array([0.05, 0.2, 0.8, 3.2], dtype=np.float32)
"""Rises that the bank is made for, in events a tick."""
MOST_A_TICK = np.float32(8.0)
"""Nats that one tick gives at most: one burst accuses nobody."""
MEMORY = 8640.0
"""Ticks that a rate remembers: a day at 10 s."""
MOST_FITTED = 20_000
"""Members by which a prior is fitted."""
SURPRISES = 512.0
"""Ticks that the measured burstiness of counts remembers."""
SHAPE_LOW, SHAPE_HIGH = 0.5, 5.0
"""Bounds of the gamma prior's shape: LANL's nodes have 0.5 to 0.75 (facts: failures of a node are over-dispersed), one class of links more."""


@dataclass(slots=True, eq=False)
class Rates:
    """What is known of counters, ``[rows, n]``: ``last`` total, ``gap`` ticks since, ``events`` and ``ticks`` behind the own rate.

    ``shape`` and ``spread``: gamma prior of each row and role, ``[rows, roles]``. ``squares`` and ``means``: squared surprises of a tick and what
    independent events would give, over `SURPRISES` ticks, ``[rows]``.
    """

    last: NDArray[np.float64]
    gap: Rows
    events: Rows
    ticks: Rows
    shape: NDArray[np.float64]
    spread: NDArray[np.float64]
    squares: NDArray[np.float64]
    means: NDArray[np.float64]
    age: int = 0

    @classmethod
    def new(cls, rows: int, members: int, roles: int) -> Rates:
        """Know nothing."""
        size = (rows, members)
        return cls(
            np.full(size, np.nan),
            np.zeros(size, dtype=np.float32),
            np.zeros(size, dtype=np.float32),
            np.zeros(size, dtype=np.float32),
            np.full((rows, roles), SHAPE_LOW),
            np.full((rows, roles), 1.0),
            np.ones(rows),
            np.ones(rows),
        )

    @property
    def excess(self) -> NDArray[np.float64]:
        """Give variance over mean, ``[rows]``: 1 for independent events, more where they come in bursts; all evidence is divided by it."""
        return np.asarray(np.maximum(1.0, self.squares / np.maximum(self.means, 1e-9)))


def increases(rates: Rates, totals: NDArray[np.floating], *, counts: NDArray[np.bool_]) -> Rows:
    """Give what was counted since the last reading; NaN where nothing was read, and once where a counter began anew.

    ``counts``: rows that are totals, ``[rows]``; of the others the readings are increases already.
    """
    there = np.isfinite(totals)
    with np.errstate(invalid="ignore"):
        more = np.where(counts[:, None], totals - rates.last, totals)
    more = np.where(there & (more >= 0), more, np.nan)
    rates.last = np.where(there, totals, rates.last)
    return more.astype(np.float32)


def expected(rates: Rates, role: Index) -> Rows:
    """Give each member's rate in events a tick, shrunk towards its role's, ``[rows, n]``."""
    shape, spread = rates.shape[:, role].astype(np.float32), rates.spread[:, role].astype(np.float32)
    return (rates.events + shape) / (rates.ticks + spread)


@dataclass(frozen=True, slots=True, eq=False)
class Ticked:
    """One tick of counters in nats: ``idle[rise]`` lost by a member without event (a tick), and by (row, member) what those with events gain.

    ``gains``: ``[rises, hits]``. ``exposed``: ticks that the reading covers, ``[rows, n]``; 0 where nothing was read.
    """

    idle: NDArray[np.float32]
    row: Index
    member: Index
    gains: NDArray[np.float32]
    exposed: Rows


def tick(rates: Rates, more: Rows, role: Index, *, calm: NDArray[np.bool_]) -> Ticked:
    """Weigh one tick of increases against the rates known before it, and learn from it."""
    there = np.isfinite(more)
    exposed = np.where(there, rates.gap + 1, 0).astype(np.float32)
    rates.gap = np.where(there, 0, rates.gap + 1).astype(np.float32)
    row, member = np.nonzero(there & (more > 0))
    events = more[row, member]
    level = (rates.events[row, member] + rates.shape[row, role[member]]) / (
        rates.ticks[row, member] + rates.spread[row, role[member]]
    )
    earned = events * np.log1p(RISES[:, None] / level) / rates.excess[row]
    gains: NDArray[np.float32] = np.minimum(earned, MOST_A_TICK).astype(np.float32)
    known = there & calm
    _measure_excess(rates, (more, exposed), role, known)
    rates.events += np.where(known, more, 0)
    rates.ticks += exposed * calm
    rates.age += 1
    idle = np.divide(RISES[:, None], rates.excess[None, :], dtype=np.float32, casting="same_kind")
    return Ticked(idle, row, member, gains, exposed)


def _measure_excess(rates: Rates, seen: tuple[Rows, Rows], role: Index, known: NDArray[np.bool_]) -> None:
    """Follow how much more counts vary than independent events would, by a sample of the calm."""
    some = slice(None, None, max(1, len(role) // SAMPLE))
    more, exposed = seen[0][:, some], seen[1][:, some]
    mean = (rates.events[:, some] + rates.shape[:, role[some]]) / (rates.ticks[:, some] + rates.spread[:, role[some]]) * exposed
    use = known[:, some]
    squares = np.where(use, (more - mean) ** 2, 0).sum(axis=1)
    means = np.where(use, mean, 0).sum(axis=1)
    weight = 1 / min(rates.age + 1, SURPRISES)
    rates.squares += weight * (squares - rates.squares)
    rates.means += weight * (means - rates.means)


def forget(rates: Rates) -> None:
    """Let rates remember a day: call now and then."""
    keep = np.minimum(1, MEMORY / np.maximum(rates.ticks, 1))
    rates.events *= keep
    rates.ticks *= keep


def learn_prior(rates: Rates, role: Index, calm: NDArray[np.bool_]) -> None:
    """Fit each role's gamma prior by its moments, with a floor that keeps a role of silent members from being sure of silence."""
    some = np.arange(0, len(role), max(1, len(role) // MOST_FITTED))
    for number in range(rates.shape.shape[1]):
        mine = some[role[some] == number]
        for row in range(len(rates.events)):
            use = mine[calm[row, mine] & (rates.ticks[row, mine] > 0)]
            if not len(use):
                continue
            n, t = rates.events[row, use].astype(float), rates.ticks[row, use].astype(float)
            # one event more than was seen: a role that never erred may err at its first
            mean = (n.sum() + 1) / (t.sum() + 1)
            rate = n / t
            between = max(rate.var() - mean * (1 / t).mean(), 0.0)
            shape = mean * mean / between if between > 0 else SHAPE_HIGH
            rates.shape[row, number] = np.clip(shape, SHAPE_LOW, SHAPE_HIGH)
            rates.spread[row, number] = rates.shape[row, number] / mean


def add(nats: Rows, one: Ticked) -> None:
    """Add a tick to CUSUMs ``[rises, rows, n]``."""
    np.maximum(nats, 0, out=nats)
    nats -= one.idle[:, :, None] * one.exposed
    for number in range(len(RISES)):
        nats[number, one.row, one.member] += one.gains[number]
    np.minimum(nats, CAP, out=nats)


def add_groups(nats: Rows, one: Ticked, groups: Groups, *, heard: NDArray[np.bool_]) -> None:
    """Add a tick to CUSUMs of groups, ``[rises, rows, groups]``: all members err more by the same rate. ``heard``: which members count."""
    rows = one.exposed.shape[0]
    row, member = np.nonzero((one.exposed != 1) | ~heard)
    exposed = groups.size + groups.totals_of(rows, (row, member), (one.exposed * heard)[row, member] - 1)
    np.maximum(nats, 0, out=nats)
    nats -= one.idle[:, :, None] * exposed.astype(np.float32)
    told = heard[one.row, one.member]
    where = one.row[told], one.member[told]
    for number in range(len(RISES)):
        nats[number] += groups.totals_of(rows, where, one.gains[number, told])
    np.minimum(nats, CAP, out=nats)


@dataclass(slots=True, eq=False)
class Flaps:
    """States that come and go: ``down_since`` and the times of the last returns, ``[n]`` and ``[returns, n]``, NaN where there is none."""

    down_since: NDArray[np.float64]
    returns: NDArray[np.float64]
    sticky: NDArray[np.bool_]

    @classmethod
    def new(cls, members: int) -> Flaps:
        """Know nothing."""
        return cls(np.full(members, np.nan), np.full((RETURNS, members), np.nan), np.zeros(members, dtype=bool))


RETURNS, LEAST_DOWN, FLAP_WINDOW = 3, 25.0, 12 * 3600.0
"""Three returns from more than 25 s down within 12 h are flapping (gpud, infiniband ``scan_flaps``)."""
FORGIVEN = 2 * FLAP_WINDOW
"""Seconds without another return after which it is forgiven; until then being well at the moment says nothing."""


def flap(flaps: Flaps, down: NDArray[np.floating], now: float) -> NDArray[np.bool_]:
    """Give who flaps. ``down``: 1 down, 0 up, NaN unknown, which is neither."""
    fell, rose = (down == 1) & np.isnan(flaps.down_since), (down == 0) & ~np.isnan(flaps.down_since)
    flaps.down_since[fell] = now
    back = rose & (now - flaps.down_since > LEAST_DOWN)
    flaps.returns[:, back] = np.roll(flaps.returns[:, back], 1, axis=0)
    flaps.returns[0, back] = now
    flaps.down_since[rose] = np.nan
    flaps.sticky |= back & (now - flaps.returns[-1] <= FLAP_WINDOW)
    flaps.sticky &= ~(now - flaps.returns[0] > FORGIVEN)
    return flaps.sticky
