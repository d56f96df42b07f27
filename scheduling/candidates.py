"""What can be done for a running gang that is hurt: every way, with its price or with why it is closed; the cheapest first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sliceward.scheduling.harm import Harm
    from sliceward.scheduling.plan import PlannedSlice
    from sliceward.scheduling.prices import Bill
    from sliceward.topology.ids import GangId


class Way(StrEnum):
    """Ways out, the gentlest first: of ways that cost the same the first is taken."""

    STAY = "stay"
    LIMP = "limp"
    SWAP = "swap"
    RESTITCH = "re-stitch"
    MOVE = "move"
    SHRINK = "shrink"
    WAIT = "wait"
    EVICT = "evict"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way that is open.

    ``at``: when it begins to be carried out. ``then``: what a limp ends with. ``slices``: the new places, of hurt slices alone.
    ``left_out``: slices that the gang goes without, by role and index. ``victims``: gangs that have to go first.
    ``gap``: its places cost at most that share more than the best of this way; None: not known.
    """

    way: Way
    bill: Bill
    why: str
    at: datetime
    then: Way | None = None
    slices: tuple[PlannedSlice, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    victims: tuple[GangId, ...] = ()
    gap: float | None = 0.0

    @property
    def price(self) -> float:
        """Chip-seconds."""
        return self.bill.total


@dataclass(frozen=True, slots=True)
class Closed:
    """A way that is not open, and why."""

    way: Way
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """All ways for one gang. ``open`` is never empty, the cheapest first; ``closed`` from the gentlest on; ``harms``: what is hurt."""

    gang: GangId
    at: datetime
    open: tuple[Candidate, ...]
    closed: tuple[Closed, ...]
    harms: tuple[Harm, ...]

    @property
    def best(self) -> Candidate:
        """The cheapest way."""
        return self.open[0]

    def of(self, way: Way) -> Candidate | None:
        """Give a way, None where it is closed."""
        return next((each for each in self.open if each.way is way), None)


_ORDER = {way: number for number, way in enumerate(Way)}


def gentlest(way: Way) -> int:
    """Give where a way stands from the gentlest on."""
    return _ORDER[way]


def sorted_out(ways: Iterable[Candidate | Closed]) -> tuple[tuple[Candidate, ...], tuple[Closed, ...]]:
    """Give the open ways, each once as it is cheapest, the cheapest first and of equals the gentlest; and the closed ones."""
    all_of = [*ways]
    found: dict[Way, Candidate] = {}
    for each in sorted(
        (each for each in all_of if isinstance(each, Candidate)), key=lambda each: (each.price, gentlest(each.way))
    ):
        found.setdefault(each.way, each)
    shut: dict[Way, Closed] = {}
    for no in sorted((each for each in all_of if isinstance(each, Closed)), key=lambda each: gentlest(each.way)):
        if no.way not in found:
            shut.setdefault(no.way, no)
    return tuple(found.values()), tuple(shut.values())
