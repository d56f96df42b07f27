"""From named causes to verdicts: *suspect* (watch, place around) and *condemned* (may be drained), each with its budget of false alarms.

A budget is false verdicts per 10,000 chip-days. With s series a chip tested at each tick it asks for ``log(RATE * s * ticks a day * 1e4 / budget)``
nats; the k-th part named in one tick may have ``log k`` less (Benjamini and Hochberg's step-up for e-values, Wang and Ramdas 2022, arXiv 2009.02824).
Over time, what was found before and was borne out counts as if it had been named in the same tick, fading (e-LOND: Xu and Ramdas 2023, arXiv 2311.06412,
with decaying memory); and a part that was found before needs less by its frailty. The need rises when suspects are cleared without corroboration faster than the budget allows (as adaptive conformal inference does,
arXiv 2106.00170). Nothing is condemned by statistics alone unless a second meter, or most members with meters of their own, say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 0.5
"""False alarms of a bank of CUSUMs at h nats: about RATE * exp(-h) a tick (Siegmund 1985, section 2: sum of d**2/2 * nu(d)**2 over the shifts)."""
DAY = 86_400.0
SECOND = 8.0
"""Nats beyond chance at which a second signal corroborates: by chance within an hour for one suspected part in a hundred."""
CHANCE = 2.0
"""Nats that the bank of a healthy member shows every now and then."""
WITNESS = 4.0
"""Nats at which a member bears witness against its group."""
MOST = 0.5
"""Share of a part's members that must say the same."""
QUIET = 30
"""Ticks without evidence after which a verdict is cleared."""
STAND = 12
"""Ticks for which a suspect stands before it may be condemned: two minutes at 10 s."""
PERSIST = 3
"""Ticks for which evidence lasts before it names anything."""
PATIENCE = 6
"""Ticks for which a name is held back while a rival is near."""
FORGIVE = 8640.0
"""Ticks after which an offence counts for 1/e."""
MOST_FOUND = 3.0
"""Discoveries that lower what the next one needs at most: on the worst of days false suspects stay within four times the budget."""
FRAILTY = 0.5
"""Shape of the gamma distribution of how easily nodes break (LANL): with n failures in short a node breaks (FRAILTY + n) / FRAILTY times as often."""
MOST_REPEAT = 2.5
"""Nats that a repeat may need less at most: five failures of late."""
STRICTER, MOST_STRICTER = 0.5, 7.0
"""Nats that suspects which were cleared uncorroborated add to what the next ones need; and the most that they may: a thousandth of the false alarms."""
TOGETHER = 60
"""Ticks within which suspects are named by one event."""
EASE = DAY
"""Seconds in which what was made stricter falls to 1/e by itself: what made it so (a job, a release) does not last."""


class Level(StrEnum):
    """How sure: enough to watch, or enough to act."""

    SUSPECT = "suspect"
    CONDEMNED = "condemned"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Budget:
    """False verdicts per 10,000 chip-days that the operator accepts."""

    suspects: float = 0.5
    condemned: float = 0.1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a part. ``signals``: who says so, with nats, the strongest first; ``rival``: the next best name and its nats."""

    kind: str
    label: int
    level: Level
    at: float
    nats: float
    signals: tuple[tuple[str, float], ...]
    rival: tuple[str, int, float] | None = None
    offences: float = 0.0


@dataclass(slots=True)
class Standing:
    """A part that stands accused. ``quiet``: ticks since its own evidence was gone; ``unheard``: since anything was heard of it that is evidence.

    ``corroborated``: a second witness spoke at some time, so that it was no false alarm; to condemn it one must speak now.
    ``sticky``: it flapped, so that being well at the moment clears it of nothing. ``learned``: the learned pass alone says so, which condemns nobody.
    ``outright``: it was always so, which condemns nobody either.
    """

    since: int
    crowd: str
    signal: str
    best: int
    nats: float
    quiet: int = 0
    level: Level = Level.SUSPECT
    corroborated: bool = False
    sticky: bool = False
    learned: bool = False
    unheard: int = 0
    outright: bool = False

    @property
    def faint(self) -> bool:
        """Whether nothing of its own says so that a tick adds to."""
        return self.learned or self.outright


@dataclass(slots=True)
class Docket:
    """All parts that stand accused, who waits to be named, and how often whom before.

    ``paid``: when the false alarm was raised that was paid for last; ``found``: what was borne out, in all, and ``proven`` by part, as (sum, tick).
    """

    standing: dict[tuple[str, int], Standing] = field(default_factory=dict)
    waiting: dict[tuple[str, int], int] = field(default_factory=dict)
    offences: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)
    stricter: float = 0.0
    paid: int | None = None
    found: tuple[float, int] = (0.0, 0)
    proven: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)


def need(budget: float, series_a_chip: float, period: float) -> float:
    """Give the nats that hold a budget of false verdicts per 10,000 chip-days."""
    return log(RATE * series_a_chip * (DAY / period) * 1e4 / budget)


def second(nats: NDArray[np.floating]) -> bool:
    """Whether a signal, given by member, speaks against a part."""
    return bool((nats >= CHANCE).mean() >= MOST and np.maximum(nats - CHANCE, 0).sum() >= SECOND)


def witnessed(nats: NDArray[np.floating]) -> bool:
    """Whether several members, and most of them, bear witness each by its own sensor."""
    witnesses = int((nats >= WITNESS).sum())
    return witnesses > 1 and witnesses >= MOST * len(nats)


def offence(docket: Docket, key: tuple[str, int], tick: int) -> float:
    """Count an offence, older ones for less; give the sum."""
    total = 1.0 + _faded(docket.offences.get(key, (0.0, tick)), tick)
    docket.offences[key] = (total, tick)
    return total


def bear_out(docket: Docket, key: tuple[str, int], tick: int) -> None:
    """Count a suspect that a second witness has borne out."""
    docket.found = _faded(docket.found, tick) + 1.0, tick
    docket.proven[key] = _faded(docket.proven.get(key, (0.0, tick)), tick) + 1.0, tick


def less(docket: Docket, key: tuple[str, int], place: int, tick: int) -> float:
    """Give the nats that a part needs less which is the n-th to be named in a tick."""
    found = min(MOST_FOUND, _faded(docket.found, tick))
    times = _faded(docket.proven.get(key, (0.0, tick)), tick)
    return log(place + found) + min(MOST_REPEAT, log(1 + times / FRAILTY))


def most_less(docket: Docket, tick: int) -> float:
    """Give the most that any part needs less that is the first to be named."""
    return log(1 + min(MOST_FOUND, _faded(docket.found, tick))) + MOST_REPEAT * bool(docket.proven)


def _faded(count: tuple[float, int], tick: int) -> float:
    return count[0] * exp(-max(0, tick - count[1]) / FORGIVE)


def relax(docket: Docket, *, chips: int, budget: Budget, period: float) -> None:
    """Let what was made stricter ease as time passes: as much as the budget allows false suspects meanwhile, and to 1/e in `EASE`."""
    allowed = budget.suspects * chips * period / DAY / 1e4
    docket.stricter = max(0.0, docket.stricter * (1 - period / EASE) - STRICTER * allowed)


def tighten(docket: Docket, standing: Standing) -> None:
    """Ask for more after a suspect that came to nothing: once for all that were named together, for they have one cause."""
    if standing.corroborated or (docket.paid is not None and abs(standing.since - docket.paid) < TOGETHER):
        return
    docket.paid = standing.since
    docket.stricter = min(MOST_STRICTER, docket.stricter + STRICTER)
