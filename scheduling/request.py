"""What a gang asks for: its slices, what they put up with, where they must not go, how many of them it can do with."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import LONGEST, checked_cost, checked_priority
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.ground import Want
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import GangId, HostId


class Over(StrEnum):
    """How several slices lie over blocks.

    Where each is cheapest; in as few blocks as can be; or in as many, so that a block that fails takes few slices with it.
    """

    CHEAPEST = "cheapest"
    PACKED = "packed"
    SPREAD = "spread"


def shapes_of(generation: str, chips: int) -> tuple[Shape, ...]:
    """Give the shapes of a slice for which only the chips are said, the most compact first.

    Raises:
        Misconfigured: the generation is unknown, or no slice of it has so many chips.
    """
    kind = GENERATIONS.get(generation)
    found = kind.shapes(chips) if kind is not None else []
    if kind is None or not found:
        what = f"slice of {chips} chips" if kind is not None else f"generation {generation!r}"
        raise Misconfigured(what, f"there is none of {kind.name if kind is not None else 'ours'}", "See its table of shapes")
    return tuple(sorted(found, key=lambda shape: (max(shape), shape)))


@dataclass(frozen=True, slots=True)
class SliceAsked:
    """One slice of a gang by role and index, and the place that it wants."""

    role: str
    index: int
    want: Want

    @property
    def key(self) -> tuple[str, int]:
        """Role and index."""
        return self.role, self.index


@dataclass(frozen=True, slots=True)
class Request:
    """A gang that wants its places, or better ones.

    ``slices``: the most that it can use, in the order of roles. ``fewest``: with so many of them it can do, the first ones (0: all).
    ``avoid``: hosts that must not be used. ``unsuited``: by role, hosts on which its pods could not run, and why. ``domains``: where each
    slice must have a domain of its own (exclusive topology), the domain of each host; hosts that it does not name have none.
    ``lasts``: seconds that it will run, None where nobody knows.
    """

    gang: GangId
    tenant: str
    slices: tuple[SliceAsked, ...]
    fewest: int = 0
    priority: int = 0
    over: Over = Over.CHEAPEST
    avoid: frozenset[HostId] = frozenset()
    unsuited: Mapping[str, Mapping[HostId, str]] = field(default_factory=dict)
    domains: Mapping[HostId, str] | None = None
    lasts: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no gang can ask for."""
        if not self.slices:
            raise Misconfigured(str(self.gang), "asks for no slice", "Ask for one at least")
        if len({asked.key for asked in self.slices}) < len(self.slices):
            raise Misconfigured(str(self.gang), "asks for one slice of a role twice", "Number the slices of a role")
        checked_priority(self.priority, str(self.gang))
        if not isinstance(self.fewest, int) or not 0 <= self.fewest <= len(self.slices):
            why = f"can do with {self.fewest} of {len(self.slices)} slices"
            raise Misconfigured(str(self.gang), why, "Fewest is at least 1 and at most all slices; 0 stands for all")
        if len({asked.want.generation for asked in self.slices}) > 1:
            raise Misconfigured(str(self.gang), "asks for two generations", "ICI joins chips of one; make it two gangs")
        if self.lasts is not None:
            checked_cost(self.lasts, f"{self.gang}: seconds that it lasts", most=LONGEST)

    @property
    def generation(self) -> str:
        """The accelerator label."""
        return self.slices[0].want.generation

    @property
    def chips(self) -> int:
        """Chips of all its slices."""
        return sum(asked.want.chips for asked in self.slices)

    @property
    def needed(self) -> int:
        """How many slices it cannot do without."""
        return self.fewest or len(self.slices)
