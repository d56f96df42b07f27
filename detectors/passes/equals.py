"""A small group of equals that serve the same load (the disks of a host, the workers of a stage), seen window by window.

Two questions to each: is it slower than it used to be beside its peers (own offset, own scale, how long the noise remembers), and does it stand out
among them outright, by more than equals do? The first finds small new slowness, the second what was slow before anybody looked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.passes import peers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sliceward.detectors.passes.layout import Rows

SPREAD = 0.05
"""Relative spread that equals have at least: SuperBench's rule for a benchmark of equal nodes (5 % below its peers is defective)."""
OUTRIGHT, WEIGHT = 1.5, 2.0
"""Spreads beyond which a part stands out, and what each more counts."""
MOST = 6.0
"""Deviations that one window counts for at most."""
WINDOW = peers.Care(clip=8.0)
"""A window is the median of many readings: it needs less of a bound than a single one."""
NOTHING = 1.0
"""Deviations of a window that are no evidence: many windows of a little are less than a few of much, as of a part that is slow now and then."""
SLOW = 2.0
"""Evidence that a part's windows show in the mean where it is slow by itself: equals that differ by chance stay below a half."""
ILL = 1.0
"""Deviations of the short average above which a part teaches nothing."""
TINY = 1e-9


@dataclass(slots=True, eq=False)
class Equals:
    """``count`` equals; ``base``: what is known of them."""

    roles: peers.Roles
    base: peers.Baseline

    @classmethod
    def new(cls, role: NDArray[np.intp]) -> Equals:
        """Know nothing; peers are those of one role."""
        return cls(peers.Roles(role), peers.Baseline.new(1, len(role)))

    def step(self, readings: NDArray[np.floating]) -> NDArray[np.float64]:
        """Take one window of times ``[ticks, n]`` (positive, NaN where missing); give evidence ``[n]`` in deviations, NaN where nothing was read."""
        distances = self._distances(readings)
        outright = distances[0] / _spread(distances[0])
        calm = (self.base.short < ILL) & (outright[None] < OUTRIGHT)
        own = peers.deviations(self.base, distances, calm=calm, sample=self.roles.sample, care=WINDOW)[0]
        shown = np.minimum(own + WEIGHT * np.maximum(outright - OUTRIGHT, 0), MOST)
        return np.asarray(np.maximum(shown - NOTHING, 0), dtype=float)

    def _distances(self, readings: NDArray[np.floating]) -> Rows:
        """Give how far each is from its peers, ``[1, n]``: the median of what each tick says, for the load of a tick is the same for all.

        Times are compared as ratios, by their logarithms.
        """
        with np.errstate(invalid="ignore"):
            each = self.roles.distances(np.log(np.maximum(readings, TINY)).astype(np.float32))
        there = np.isfinite(each).any(axis=0)
        window = np.full((1, readings.shape[1]), np.nan, dtype=np.float32)
        window[0, there] = np.nanmedian(each[:, there], axis=0)
        return window


def _spread(distances: NDArray[np.floating]) -> float:
    there = distances[np.isfinite(distances)]
    usual = float(peers.ROBUST) * float(np.median(np.abs(there))) if len(there) else 0.0
    return float(np.hypot(usual, SPREAD))


def slow(evidence: NDArray[np.floating]) -> NDArray[np.intp]:
    """Give who is slow by itself, the slowest first, from the evidence of some windows ``[windows, n]``; NaN says nothing."""
    there = np.isfinite(evidence)
    mean = np.where(there, evidence, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    found = np.flatnonzero(mean >= SLOW)
    return found[np.argsort(-mean[found], kind="stable")]
