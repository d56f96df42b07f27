"""Who sits on the hosts of a ground, what is known of each, and what keeps it closed: one persistent value.

A change copies one small mapping and shares the others. Unknown is not used for a new place, and is not alone a reason to leave
one; what another gang holds, and what is closed, is never used.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from sliceward.scheduling.costs import checked_cost
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sliceward.topology.ids import GangId, HostId, LinkId


_T = TypeVar("_T")


class Grade(StrEnum):
    """What is known of a host, best first."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    SICK = "sick"


class Cause(StrEnum):
    """Why something is not used, or why a request does not fit."""

    QUOTA = "quota"
    SHAPE = "shape"
    SICK = "sick"
    UNKNOWN = "unknown"
    RESERVED = "reserved"
    HELD = "held"
    FRAGMENTATION = "fragmentation"
    FAIRNESS = "fairness"


@dataclass(frozen=True, slots=True)
class Window:
    """Announced maintenance."""

    begins: datetime
    ends: datetime

    def __post_init__(self) -> None:
        """Refuse a window that ends before it begins, or that has no time zone."""
        if self.begins.tzinfo is None or self.ends.tzinfo is None or self.ends <= self.begins:
            raise Misconfigured(f"window {self.begins} to {self.ends}", "is no span of time", "Give two times with their zone")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one host. ``why`` in words where it is not healthy; ``risk``: failures expected per day."""

    grade: Grade = Grade.HEALTHY
    why: str = ""
    risk: float = 0.0
    window: Window | None = None

    def __post_init__(self) -> None:
        """Refuse a risk that is no number."""
        checked_cost(self.risk, "risk of a host")


PLAIN = Standing()
"""Healthy, without risk: what is said of a host that nothing is said of."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What closes a host to everybody but the one that it is kept for: avoided, promised, cordoned, held by a stranger."""

    cause: Cause
    why: str
    kept_for: GangId | None = None


@dataclass(frozen=True, slots=True)
class Occupancy:
    """The hosts of one ground. ``standings`` holds those that are not plain; ``links``: condemned; ``switches``: lost, by name."""

    holders: Mapping[HostId, GangId] = field(default_factory=dict)
    standings: Mapping[HostId, Standing] = field(default_factory=dict)
    bars: Mapping[HostId, Bar] = field(default_factory=dict)
    links: frozenset[LinkId] = frozenset()
    switches: frozenset[str] = frozenset()

    def standing(self, host: HostId) -> Standing:
        """Say what is known of a host."""
        return self.standings.get(host, PLAIN)

    def is_usable(self, host: HostId, worst: Grade = Grade.HEALTHY) -> bool:
        """Whether a new place may contain a host. ``worst``: HEALTHY, or DEGRADED where that is accepted."""
        if host in self.holders or host in self.bars:
            return False
        grade = self.standing(host).grade
        return grade is Grade.HEALTHY or (grade is Grade.DEGRADED and worst is Grade.DEGRADED)

    def why_not(self, host: HostId, worst: Grade = Grade.HEALTHY) -> tuple[Cause, str] | None:
        """Say why a new place must not contain a host; None where it may. Sick goes before closed, closed before held."""
        standing = self.standing(host)
        if standing.grade is Grade.SICK or (standing.grade is Grade.DEGRADED and worst is not Grade.DEGRADED):
            return Cause.SICK, standing.why or str(standing.grade)
        if standing.grade is Grade.UNKNOWN:
            return Cause.UNKNOWN, standing.why or "health unknown"
        if host in self.bars:
            return self.bars[host].cause, self.bars[host].why
        return (Cause.HELD, f"held by {self.holders[host].name}") if host in self.holders else None

    def crews(self, hosts: Iterable[HostId]) -> dict[GangId, list[HostId]]:
        """Give who sits on some hosts, and on which of them."""
        crews: dict[
            int, tuple[GangId, list[HostId]]
        ] = {}  # by which object it is: to hash the name of each host's gang takes longer
        for host in hosts:
            gang = self.holders.get(host)
            if gang is not None:
                crews.setdefault(id(gang), (gang, []))[1].append(host)
        found: dict[GangId, list[HostId]] = {}
        for gang, mine in crews.values():
            found.setdefault(gang, []).extend(mine)
        return found

    def taken(self, hosts: Iterable[HostId], gang: GangId) -> Occupancy:
        """Let a gang hold hosts."""
        return replace(self, holders={**self.holders, **dict.fromkeys(hosts, gang)})

    def freed(self, hosts: Iterable[HostId]) -> Occupancy:
        """Let nobody hold hosts."""
        return replace(self, holders=_without(self.holders, hosts))

    def barred(self, bars: Mapping[HostId, Bar]) -> Occupancy:
        """Close hosts; what closed one before goes on where it is not named."""
        return replace(self, bars={**self.bars, **bars})

    def opened(self, hosts: Iterable[HostId]) -> Occupancy:
        """Take away what closes hosts."""
        gone = set(hosts)
        return replace(self, bars={host: bar for host, bar in self.bars.items() if host not in gone}) if self.bars else self

    def marked(self, host: HostId, standing: Standing) -> Occupancy:
        """Know something else of a host."""
        return replace(self, standings={**self.standings, host: standing})

    def with_links(self, condemned: Iterable[LinkId]) -> Occupancy:
        """Have exactly these links condemned."""
        return replace(self, links=frozenset(condemned))

    def with_switches(self, lost: Iterable[str]) -> Occupancy:
        """Have exactly these optical switches lost."""
        return replace(self, switches=frozenset(lost))


def _without(told: Mapping[HostId, _T], hosts: Iterable[HostId]) -> dict[HostId, _T]:
    """Give a mapping without some hosts; what stays is copied as it is, which is faster than looking at each."""
    left = dict(told)
    for host in hosts:
        left.pop(host, None)
    return left
