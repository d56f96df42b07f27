"""Evidence that adds up over time: for each row of deviations a small bank of one-sided CUSUMs, in nats.

Each tick adds ``theta * z - c(theta)`` where ``c`` is the logarithm of ``E[exp(theta * z)]`` among the calm peers, never below
``theta**2 / 2``. So ``exp`` of one CUSUM is below a Shiryaev-Roberts e-detector, and the average run length to a false alarm at ``h`` nats
is at least ``exp(h)`` ticks, whatever the noise looks like (Shin, Ramdas and Rinaldo 2022, arXiv 2203.03532). A shift of ``d`` deviations earns
about ``d**2 / 2`` nats a tick where ``theta`` is near ``d``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.passes.peers import CLIP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sliceward.detectors.passes.layout import Index, Rows

SHIFTS = np.array([0.5, 1.0, 2.0, 4.0], dtype=np.float32)
"""Shifts that the bank is made for, in deviations; between two of them at most 11 % of the evidence is lost."""
CAP = np.float32(60.0)
"""Nats beyond which nothing is added: what was sick for long must be able to recover."""
LEARNT = 512.0
"""Ticks that the measured ``c(theta)`` remembers."""
CALM = np.float32(15.0)
"""Nats of evidence above which a part teaches nobody what is normal."""


@dataclass(slots=True, eq=False)
class Bank:
    """CUSUMs ``[shifts, rows, n]`` in nats, and ``cost``: c(theta) of each row, ``[shifts, rows]``. ``ticks``: how many the cost was learnt from."""

    nats: Rows
    moment: NDArray[np.float64]
    ticks: int = 0

    @classmethod
    def new(cls, rows: int, members: int) -> Bank:
        """Know nothing."""
        nats = np.zeros((len(SHIFTS), rows, members), dtype=np.float32)
        return cls(nats, np.ones((len(SHIFTS), rows)))

    @property
    def most(self) -> Rows:
        """Give the largest evidence of the bank, ``[rows, n]``; negative or zero where there is none."""
        return np.asarray(self.nats.max(axis=0))

    def cost(self) -> NDArray[np.float32]:
        """Give c(theta), ``[shifts, rows]``."""
        normal = SHIFTS[:, None] ** 2 / 2
        return np.maximum(normal, np.log(np.maximum(self.moment, 1))).astype(np.float32)


def step(bank: Bank, scores: Rows, *, sample: Index, learn: NDArray[np.bool_] | None = None) -> None:
    """Add one tick of ``[rows, n]`` deviations, NaN where missing: what is missing neither accuses nor acquits.

    ``sample``: members by which c(theta) is measured, those of them that are calm in ``learn``.
    """
    there = np.isfinite(scores)
    whole = bool(there.all())
    filled = scores if whole else np.where(there, scores, np.float32(0))
    cost = bank.cost()
    for number, shift in enumerate(SHIFTS):
        nats = bank.nats[number]
        np.maximum(nats, 0, out=nats)
        if whole:
            nats += shift * filled
            nats -= cost[number][:, None]
        else:
            nats += shift * filled - cost[number][:, None] * there
        np.minimum(nats, CAP, out=nats)
    if learn is not None:
        _learn(bank, filled[:, sample], (there & learn)[:, sample])


def take_back(bank: Bank, scores: Rows, where: tuple[Index, Index]) -> None:
    """Take back what the last tick, ``scores`` of it, gave at (rows, members); what it took stays taken."""
    rows, members = where
    place = np.ix_(rows, members)
    some, cost = scores[place], bank.cost()
    there = np.isfinite(some)
    for number, shift in enumerate(SHIFTS):
        gained = np.where(there, shift * some - cost[number][rows, None], np.float32(0))
        bank.nats[number][place] -= np.maximum(gained, 0)


def _learn(bank: Bank, scores: Rows, calm: NDArray[np.bool_]) -> None:
    bank.ticks += 1
    weight = 1 / min(bank.ticks, LEARNT)
    count = np.maximum(calm.sum(axis=1), 1)
    bounded = np.minimum(scores, CLIP)  # the first tick of a fault of few groups must not become what is normal
    for number, shift in enumerate(SHIFTS):
        now = (np.exp(shift * bounded) * calm).sum(axis=1, dtype=np.float64) / count
        bank.moment[number] += weight * (now - bank.moment[number])
