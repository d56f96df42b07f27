"""Which part explains what is seen: candidate causes of all kinds compete, the best one is named, what it explains is taken out, and again.

The evidence for a cause is the likelihood of all its members' readings if it were sick, in nats (a group's CUSUM is the sum over its members). One
sick chip gives its host a quarter of its own evidence; a sick host gives each chip a quarter of the host's: the larger number is the right name.
From it goes the cost of a cause by kind: how rarely it breaks (greedy inference as in Flock, arXiv 2305.03348).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_A_DAY = {"chip": 3.0e-4, "host": 8.0e-4, "link": 5.0e-5, "ocs": 4.0e-4, "cable": 5.0e-5, "cube": 1.0e-4}
"""Failures a part and day: Llama 3 per accelerator (arXiv 2407.21783), TPU v4 per host, cable and switch (NSDI'24); a cube's cooling is a guess."""
RAREST = 5.0e-5
"""What a kind breaks like of which nothing is published."""
MARGIN = 3.0
"""Nats by which the best cause must beat others that share members with it, or it is waited for; and a group its own worst member, or it is none."""

Key = tuple[str, int]
"""Kind and label of a part."""


def cost(kind: str) -> float:
    """Give the prior cost of a cause in nats: 0 for the kind that breaks most often."""
    return log(max(_A_DAY.values()) / _A_DAY.get(kind, RAREST))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A part that may be the cause of what one signal shows. ``members``: who shows it, by crowd; ``best``: which of the bank's shifts fits."""

    key: Key
    crowd: str
    signal: str
    meter: str
    nats: float
    members: frozenset[int]
    best: int

    @property
    def score(self) -> float:
        """Give the evidence less the cost."""
        return self.nats - cost(self.key[0])


@dataclass(frozen=True, slots=True)
class Named:
    """A cause, all candidates that speak for it, and the best rival that shares members with it."""

    key: Key
    by: tuple[Candidate, ...]
    rival: Candidate | None

    @property
    def sure(self) -> bool:
        """Whether no rival comes near."""
        return self.rival is None or self.by[0].score - self.rival.score >= MARGIN


def name(candidates: Iterable[Candidate], need: Callable[[Candidate, int], float]) -> tuple[Named, ...]:
    """Name causes, the best first. ``need``: nats that a candidate must have to be the n-th to be named (1, 2, …)."""
    left = sorted(candidates, key=lambda one: (-one.score, one.key, one.signal))
    by_key, by_member = defaultdict[Key, list[int]](list), defaultdict[tuple[str, int], list[int]](list)
    for number, one in enumerate(left):
        by_key[one.key].append(number)
        for member in one.members:
            by_member[one.crowd, member].append(number)
    named: list[Named] = []
    open_ = dict.fromkeys(range(len(left)))
    while (best := next((one for one in open_ if left[one].nats >= need(left[one], len(named) + 1)), None)) is not None:
        key = left[best].key
        mine = [one for one in by_key[key] if one in open_]
        shared = {other for one in mine for member in left[one].members for other in by_member[left[one].crowd, member]}
        met = sorted(one for one in shared if one in open_ and left[one].key != key)
        speak = (left[best], *(left[one] for one in mine if one != best))
        named.append(Named(key, speak, _rival(left[best], [left[one] for one in met])))
        for number in (*mine, *met):
            del open_[number]
    return tuple(named)


def _rival(best: Candidate, met: Sequence[Candidate]) -> Candidate | None:
    """Give the best other explanation of the same signal: parts of which each explains only a share are none when several are sick."""
    return next((one for one in met if one.signal == best.signal and one.crowd == best.crowd), None)
