"""The answers: a place for every slice of a gang, or why there is none and what would help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.scheduling.ground import GroundId
    from sliceward.scheduling.occupancy import Cause
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import CubeId, GangId, HostId, LinkId


@dataclass(frozen=True, slots=True)
class PlannedSlice:
    """Where one slice of a gang goes. ``stays``: it sits there already. ``price``: what it costs by name, in chip-seconds."""

    role: str
    index: int
    shape: Shape
    ground: GroundId
    cubes: tuple[CubeId, ...]
    hosts: tuple[HostId, ...]
    stays: bool
    price: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A place for every slice of a gang, in the order of its roles. ``reasons``: one line a slice.

    ``left_out``: slices that an elastic gang goes without. ``gap``: the plan costs at most that share more than the best; None: not
    known, because not all combinations were looked at.
    """

    gang: GangId
    at: datetime
    slices: tuple[PlannedSlice, ...]
    reasons: tuple[str, ...]
    left_out: tuple[tuple[str, int], ...] = ()
    gap: float | None = 0.0

    @property
    def hosts(self) -> frozenset[HostId]:
        """All hosts of the plan: they get the gang's label."""
        return frozenset(host for planned in self.slices for host in planned.hosts)

    @property
    def cubes(self) -> frozenset[CubeId]:
        """All cubes of the plan."""
        return frozenset(cube for planned in self.slices for cube in planned.cubes)

    @property
    def moved(self) -> tuple[PlannedSlice, ...]:
        """The slices that change their place."""
        return tuple(planned for planned in self.slices if not planned.stays)

    @property
    def cost(self) -> float:
        """All that it costs, in chip-seconds."""
        return sum(amount for planned in self.slices for _, amount in planned.price)


@dataclass(frozen=True, slots=True)
class Repair:
    """These hosts, links and optical switches would have to be healthy."""

    hosts: tuple[HostId, ...] = ()
    links: tuple[LinkId, ...] = ()
    switches: tuple[tuple[GroundId, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """These gangs would have to go."""

    gangs: tuple[GangId, ...]


@dataclass(frozen=True, slots=True)
class Open:
    """These hosts would have to be given free by whoever keeps them: promises, cordons, strangers' pods."""

    hosts: tuple[HostId, ...]


@dataclass(frozen=True, slots=True)
class Borrow:
    """The tenant would have to have so many more chips."""

    tenant: str
    generation: str
    chips: int


Change = Repair | Release | Open | Borrow
"""One thing that would help; proven by placing on the snapshot that is changed so."""


def told(change: Change) -> str:
    """Say a change in words."""
    match change:
        case Repair(hosts, links, switches):
            named = [*(host.name for host in hosts), *map(str, links), *(f"switch {name} of {g.name}" for g, name in switches)]
            return f"repair {listed(named)}"
        case Release(gangs):
            return f"wait for {listed([gang.name for gang in gangs])} to end, or displace it"
        case Open(hosts):
            return f"give free {listed([host.name for host in hosts])}"
        case Borrow(tenant, generation, chips):
            return f"give {tenant} {chips} more chips of {generation}"
        case _:
            assert_never(change)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A cube, pool or pod that is not used, and why."""

    part: GroundId
    why: str


@dataclass(frozen=True, slots=True)
class NoFit:
    """There is no place for the gang as a whole.

    ``cause``: the one that weighs most; ``why`` in one line; ``chips``: those that cannot be used, by cause; ``free``: those that can,
    though not together. ``helps``: a change that would make it fit, all of it together; empty where none was found. ``rejected``: part by
    part. ``surely``: there is none, not only none that was found in the time that a decision may take. ``smallest``: no change that
    touches fewer chips would help.
    """

    gang: GangId
    at: datetime
    cause: Cause
    why: str
    chips: Mapping[Cause, int] = field(default_factory=dict)
    free: int = 0
    helps: tuple[Change, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    surely: bool = True
    smallest: bool = True


def listed(names: list[str], most: int = 4) -> str:
    """Name the first few, and say how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
