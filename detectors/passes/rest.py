"""Whether the jobs of the members work or stand still, role by role: a checkpoint, a compilation, starved input, a start anew.

What members of a role that stands still read is no evidence, neither against them nor for them: each has its own place under load, and all are alike
without. So such readings are missing, from the tick in which the activity of the whole role leaves its usual level until it is steady again. One
member that stops alone is another matter: its peers go on, and it is compared with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sliceward.detectors.passes.layout import Index, Rows

IDLE = 0.2
"""Share of its usual activity below which a role, or a member, stands still."""
SWING = 0.25
"""Share of its usual activity by which a role that works does not change from one tick to the next: a change of the whole role is the job's."""
STEADY = 0.1
"""Share by which the activity of a role that has settled changes from tick to tick."""
SETTLE, MOST = 6, 30
"""Ticks for which it is steady before the start is over: a minute at 10 s; and those after which it is over anyway, for it is never steady."""
USUAL = np.float32(1 / 60)
"""Weight of a tick in what is usual."""


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """One tick. ``still``: members whose role stands still or has not settled yet; ``idle``: members that do nothing themselves, ``[n]``.

    ``stopped``: members whose role left its usual level in this tick. ``begun``: those whose role has settled in its first work.
    """

    still: NDArray[np.bool_]
    idle: NDArray[np.bool_]
    stopped: Index
    begun: Index


class Pulse:
    """The state of each role: for how many ticks it has been ``restless`` since it last stood still (0: it works) and how many of those were steady."""

    def __init__(self, role: Index) -> None:
        """Know of nobody who rests."""
        self.names, self.role = np.unique(role, return_inverse=True)
        count = len(self.names)
        self.restless, self.steady = np.zeros(count, dtype=int), np.zeros(count, dtype=int)
        self.first = np.zeros(count, dtype=bool)
        self.before = np.full(count, np.nan)

    def step(self, activity: Rows, usual: Rows, least: NDArray[np.float32]) -> Rest:
        """Take one tick of ``activity`` ``[rows, n]``, NaN where missing; ``usual`` ``[rows, n]`` is what each member shows at work, and learns here.

        ``least``: activity that is none, ``[rows]``.
        """
        there = np.isfinite(activity)
        filled = np.where(there, activity, np.float32(0))
        known = there & (usual > least[:, None])
        now, now_known, at_work = (
            self._means(*one) for one in ((filled, there), (filled * known, known), (usual * known, known))
        )
        level = _mean(now_known / at_work)
        never = np.isnan(level)
        floor = np.fmax(least[:, None], IDLE * at_work)
        works = np.asarray((now > floor).any(axis=0))
        # one that is heard for the first time was always so; one that was heard to rest, and works now, begins
        level = np.where(never & works & np.isfinite(self.before), np.inf, level)
        stopped, over = self._turn(level, works, never, _mean(now))
        still = (self.restless > 0)[self.role]
        working = there & (~still & works[self.role])
        gain = np.where(usual > 0, USUAL, np.float32(1))
        usual += np.where(working, gain * (filled - usual), np.float32(0))
        settled = there & over[self.role]
        usual[settled] = activity[settled]
        low = ~there | (activity <= np.maximum(least[:, None], np.float32(IDLE) * usual))
        idle = low.all(axis=0) & there.any(axis=0)
        begun = over & self.first
        self.first &= ~over
        return Rest(still, idle, np.flatnonzero(stopped[self.role]), np.flatnonzero(begun[self.role]))

    def _turn(
        self, level: NDArray[np.floating], works: NDArray[np.bool_], never: NDArray[np.bool_], now: NDArray[np.floating]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Move each role on; give who stopped, and who has settled."""
        heard = np.isfinite(now)
        with np.errstate(invalid="ignore"):
            off = heard & ~np.isnan(level) & (np.abs(level - 1) > SWING)
            even = heard & works & (np.abs(now - self.before) <= STEADY * np.maximum(now, self.before))
        was = self.restless > 0
        stopped = ~was & off
        self.first |= stopped & never
        self.steady = np.where(was & even, self.steady + 1, np.where(heard, 0, self.steady))
        moved = np.where(works, self.restless + 1, 1)
        self.restless = np.where(stopped, 1, np.where(was & heard, moved, self.restless))
        over = was & ((self.steady >= SETTLE) | (self.restless > MOST))
        self.restless[over], self.steady[over] = 0, 0
        self.before = np.where(heard, now, self.before)
        return stopped, over

    def _means(self, rows: Rows, there: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Give the mean of each role, ``[rows, roles]``; NaN where nothing was read."""
        size = len(self.names)
        found = np.full((len(rows), size), np.nan)
        for row, one, heard in zip(found, rows, there, strict=True):
            count = np.bincount(self.role, heard, size)
            np.divide(np.bincount(self.role, one, size), count, out=row, where=count > 0)
        return found


def _mean(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give the mean of what is there in each column; NaN where nothing is."""
    there = np.isfinite(rows)
    count = there.sum(axis=0)
    total = np.where(there, rows, 0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0), dtype=float)
