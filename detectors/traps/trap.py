"""What a trap is: fleet and panel in, parts with a reason out. Nothing is ever drained for a trap, and few accuse hardware at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sliceward.detectors.finding import Evidence, Kind
    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.health import Severity
    from sliceward.topology.ids import PartId


@dataclass(frozen=True, slots=True)
class Trapped:
    """A part that shows it. ``seen`` False: what would tell is silent, so what was known stays known as unknown."""

    part: PartId
    text: str
    evidence: tuple[Evidence, ...] = ()
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Trap:
    """One detector. ``find`` gives every part that shows it now; the other words are its page, as those of a rule.

    ``instead_of``: what is not said of the same part any more, as this knows its cause. ``accuses``: it speaks against hardware, which a person or a burn-in then judges.
    """

    name: str
    kind: Kind
    part: str
    severity: Severity
    says: str
    about: str
    limits: str
    sources: tuple[str, ...]
    advice: str
    find: Callable[[Panel, Fleet], Iterable[Trapped]]
    accuses: bool = False
    instead_of: frozenset[Kind] = frozenset()
    score: float = 0.9
    version: str = "1"
