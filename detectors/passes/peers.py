"""How far each part is from its peers, in its own deviations: the one number that the later passes add up.

A reading minus the median of its role, minus the part's own slow offset, over the part's own scale, over how much longer than one tick the
noise remembers. Peers share the role (pipeline stage, optical or copper), never only the job: the last stage of a pipeline is slower by
design. Missing readings are NaN in and NaN out: they move nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sliceward.detectors.passes.layout import Index, Rows

ROBUST = np.float32(1.4826)
"""Deviations in a median absolute deviation of a normal distribution."""
CLIP = np.float32(4.0)
"""Deviations that one tick counts for at most: no single reading accuses anybody (Huber's bounded score)."""
MEMORY = 720.0
"""Ticks that the slow offset and the own scale remember: two hours at 10 s."""
PRIOR = 60.0
"""Ticks that the role's scale weighs against the part's own."""
SLOW = np.float32(1 / 24)
"""Weight of the short average by which the noise is asked how long it remembers."""
BETTER, QUICK = -2.0, np.float32(1 / 12)
"""A part that is better than it used to be for longer (its short average below so many deviations) is learnt anew at this weight: what it
was like before was a glitch, or has been repaired."""
SETTLED, JUMP = 60, np.float32(2)
"""Ticks after which what is common to a row has settled, and is believed to have grown no more than so many times at once: where the peers
are few, one fault is half of them."""
SAMPLE = 4096
"""Members by which what is common to a role's noise is measured."""
FLOOR = np.float32(1e-6)


@dataclass(slots=True, eq=False)
class Baseline:
    """What is known of ``rows`` signals of ``n`` members, each ``[rows, n]`` unless said otherwise.

    ``offset``: own distance from the role's median, in the unit of the signal. ``own``: own variance over the role's. ``seen``: readings behind
    both. ``short``: short average of the deviations. ``scale``: deviation common to the row, ``[rows]``; ``length``: how many ticks the noise
    remembers (variance of a long sum over that of independent ticks, at least 1), ``[rows]``. ``ticks``: ticks so far.
    """

    offset: Rows
    own: Rows
    seen: Rows
    short: Rows
    scale: NDArray[np.float32]
    length: NDArray[np.float32]
    ticks: int = 0

    @classmethod
    def new(cls, rows: int, members: int) -> Baseline:
        """Know nothing."""
        size = (rows, members)
        offset, own, seen, short = (np.full(size, value, dtype=np.float32) for value in (0, 1, 0, 0))
        return cls(offset, own, seen, short, np.zeros(rows, dtype=np.float32), np.ones(rows, dtype=np.float32))


class Roles:
    """Medians over roles. ``role``: number of the role of each member."""

    def __init__(self, role: Index) -> None:
        """Sort the members by role once."""
        names, self._of = np.unique(role, return_inverse=True)
        self._order = np.argsort(self._of, kind="stable")
        self._sorted = bool((self._order == np.arange(len(role))).all())
        self._bounds = np.searchsorted(self._of[self._order], np.arange(len(names) + 1))
        sizes = np.diff(self._bounds)
        self._even = len(sizes) > 0 and bool((sizes == sizes[0]).all())
        self.sample = np.arange(0, len(role), max(1, len(role) // SAMPLE))

    def distances(self, rows: Rows) -> Rows:
        """Give each reading of ``[rows, n]`` minus the median of its role; NaN where it is missing or has no peer to compare with."""
        held = rows if self._sorted else rows[:, self._order]
        held = _balanced(held)
        if self._even:
            blocks = held.reshape(len(rows), len(self._bounds) - 1, -1)
            middle = _middle(blocks)
        else:
            pairs = zip(self._bounds[:-1], self._bounds[1:], strict=True)
            middle = np.stack([_middle(held[:, start:end]) for start, end in pairs], axis=1)
        middle[~np.isfinite(middle)] = np.nan
        if middle.shape[1] == 1:
            return rows - middle
        return rows - middle[:, self._of]


def _balanced(rows: Rows) -> Rows:
    """Put as many infinities below as above for what is missing: medians stay those of what is there, to half a rank where one is left over."""
    missing = np.flatnonzero(np.isnan(rows))
    if not len(missing):
        return rows
    filled = rows.copy()
    flat = filled.ravel()
    flat[missing[::2]], flat[missing[1::2]] = np.inf, -np.inf
    return filled


def _middle(rows: Rows) -> Rows:
    """Give the median along the last axis (the mean of the two middle ones where they are two)."""
    length = rows.shape[-1]
    high = length // 2
    if length % 2:
        return np.asarray(np.partition(rows, high, axis=-1)[..., high])
    parted = np.partition(rows, (high - 1, high), axis=-1)
    low, top = parted[..., high - 1], parted[..., high]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isinf(low), top, np.where(np.isinf(top), low, (low + top) / 2)))


@dataclass(frozen=True, slots=True)
class Care:
    """``clip``: deviations that one tick counts for at most. ``least``: the smallest deviation that is believed, in the signal's unit, or ``[rows]`` of them.

    ``centred``: what comes in has no offset to learn.
    """

    clip: float = float(CLIP)
    least: float | Rows = 0.0
    centred: bool = False


ONE = Care()


def deviations(base: Baseline, distances: Rows, *, calm: NDArray[np.bool_], sample: Index, care: Care = ONE) -> Rows:
    """Give how far from its usual place each part is, in its own deviations of a tick, bounded; and learn from it.

    ``distances``: bad is positive, NaN is missing. ``calm``: where the baseline may learn; a part under suspicion teaches nothing. The
    deviation of the offset itself is counted in (a recursive residual: after n readings its variance is 1 + 1/n), and one of the scale.
    """
    there = np.isfinite(distances)
    rest = np.where(there, distances - base.offset, np.float32(0))
    _measure_scale(base, rest[:, sample], (there & calm)[:, sample])
    least = np.asarray(care.least, dtype=np.float32)
    np.maximum(base.scale, least, out=base.scale)
    doubt = np.sqrt(2 / (np.minimum(base.seen, MEMORY) + np.float32(PRIOR)))  # one deviation of a variance from so many readings
    spread = base.scale[:, None] * np.sqrt(base.own * (1 + base.length[:, None] / np.maximum(base.seen, 1) + doubt)) + FLOOR
    np.maximum(
        spread, least if least.ndim == 0 else least[:, None], out=spread
    )  # who was always the same is no steadier than that
    score = rest / spread
    _learn(base, (rest, score, doubt), there & calm)
    if care.centred:
        base.offset[:] = 0
    with np.errstate(invalid="ignore"):
        remembered = score / np.sqrt(base.length)[:, None]
    base.short += np.where(there, SLOW * (np.clip(score, -CLIP, CLIP) - base.short), 0)
    _measure_length(base, sample)
    base.ticks += 1
    return np.where(there, np.clip(remembered, -care.clip, care.clip), np.float32(np.nan)).astype(np.float32)


def _measure_scale(base: Baseline, rest: Rows, there: NDArray[np.bool_]) -> None:
    """Follow the deviation that is common to a row: fast at first, then over `MEMORY`."""
    known = np.where(there, np.abs(rest), np.float32(np.nan))
    now = ROBUST * _middle(_balanced(known))
    now = now if base.ticks < SETTLED else np.minimum(now, JUMP * base.scale)
    good = np.isfinite(now) & (now > 0)
    weight = 1 / max(1, min(base.ticks, MEMORY))  # the first tick knows no offsets yet: the second one takes its place
    base.scale[good] += np.float32(weight) * (now[good] - base.scale[good])


def _learn(base: Baseline, now: tuple[Rows, Rows, Rows], calm: NDArray[np.bool_]) -> None:
    """Move offset and own scale of the calm; one reading moves them by no more than three deviations."""
    rest, score, doubt = now
    base.seen += calm
    weight = np.where(calm, 1 / np.clip(base.seen, 1, MEMORY), 0).astype(np.float32)
    limit = 3 * base.scale[:, None] * np.sqrt(base.own)
    step = weight * np.where(base.seen <= 1, rest, np.clip(rest, -limit, limit))
    better = calm & (base.short < BETTER)
    base.offset += np.where(better, QUICK * rest, step)
    known = calm & (base.seen > 1)
    square = np.minimum(score * score * (1 + doubt), 9)
    gain = np.where(known, 1 / np.clip(base.seen + PRIOR, 1, MEMORY), 0)
    base.own += gain.astype(np.float32) * base.own * (square - 1)


def _measure_length(base: Baseline, sample: Index) -> None:
    """Compare the short average's spread with what independent ticks would give it."""
    if base.ticks < 1 / SLOW:
        return
    spread = (ROBUST * _middle(np.abs(base.short[:, sample]))) ** 2 * (2 - SLOW) / SLOW
    weight = np.float32(max(1 / (base.ticks - float(1 / SLOW) + 1), 1 / MEMORY))
    spread = spread if base.ticks < SETTLED else np.minimum(spread, JUMP * base.length)
    base.length += weight * (np.maximum(spread, 1) - base.length)
