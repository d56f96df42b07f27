"""Whom a gang may displace, by whose right, and which walls stand before the others.

The rights have Kueue's names for the reason of a preemption; what they ask for is Kueue's (KEP-1337, KEP-1714) or stricter:

- ``InClusterQueue``: a gang of the same tenant, of lower priority (`withinClusterQueue: LowerPriority`).
- ``InCohortReclamation``: chips that another tenant borrows, of any priority, by a tenant that stays within its own quota with what
  it asks for (`reclaimWithinCohort: Any`).
- ``InCohortReclaimWhileBorrowing``: a gang of another tenant, of lower priority (`borrowWithinCohort: LowerPriority`).
- ``InCohortFairSharing``: a gang of the same priority of a tenant that borrows, if that tenant then still borrows as much as the
  one that takes (`LessThanOrEqualToFinalShare`; two can never take from each other in turn by it).

Where nobody has a quota, nobody borrows, and priorities alone decide; where some have, those without one borrow all that they hold.

Chips within the quota of a protected tenant are a wall for all others, as KAI's in-quota work is. Kueue looks whether a queue
borrows at all; here what stays must still be the whole quota, for a gang that is half borrowed is half guaranteed.

A gang never displaces one that displaced it, nor one that displaced that one, and so on; and who was displaced a short while ago
waits for room that is free, for a victim that comes back must not make victims (preemption stability in Armada's words).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sliceward.scheduling.fairness import borrowed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from sliceward.scheduling.request import Request
    from sliceward.scheduling.snapshot import Running, Snapshot
    from sliceward.topology.ids import GangId

REMEMBERED = timedelta(days=1)
"""For so long who displaced whom counts; as long as an earlier displacement makes the next one dearer (`Costs.again`)."""

RESTS = timedelta(hours=1)
"""For so long a displaced gang displaces nobody."""


class Right(StrEnum):
    """Why one may be displaced."""

    IN_QUEUE = "InClusterQueue"
    RECLAIM = "InCohortReclamation"
    PRIORITY = "InCohortReclaimWhileBorrowing"
    FAIR = "InCohortFairSharing"


class Wall(StrEnum):
    """Why one may not."""

    GUARANTEED = "within a guaranteed quota"
    PRIORITY = "not of lower priority"
    BEFORE = "displaced it before"


@dataclass(frozen=True, slots=True)
class Displaced:
    """One gang had to go for another. ``by`` holds, or held, its place."""

    gang: GangId
    by: GangId
    at: datetime


@dataclass(frozen=True, slots=True)
class Rights:
    """For one request: the right to each gang that may be displaced, and the wall before each other one of its generation.

    ``limits``: by tenant and right, the most chips that the tenant may lose in all where that right is used; absent: no limit.
    ``holds``: whose each gang is, and the chips that count for it.
    """

    right: Mapping[GangId, Right]
    wall: Mapping[GangId, Wall]
    limits: Mapping[tuple[str, Right], int]
    holds: Mapping[GangId, tuple[str, int]]

    def over(self, victims: Collection[GangId]) -> tuple[GangId, ...]:
        """Give the victims of the first tenant that would lose too much together; none where each keeps what is its own."""
        by_tenant: dict[str, list[GangId]] = {}
        for gang in sorted(victims):
            by_tenant.setdefault(self.holds[gang][0], []).append(gang)
        for tenant, gangs in sorted(by_tenant.items()):
            lost = sum(self.holds[gang][1] for gang in gangs)
            if any(lost > self.limits.get((tenant, self.right[gang]), lost) for gang in gangs):
                return tuple(gangs)
        return ()


def rights_of(snapshot: Snapshot, request: Request, past: Iterable[Displaced] = (), *, keeps: int = 0) -> Rights:
    """Say whom the gang of a request may displace, each by itself; `Rights.over` says who is too much together.

    ``keeps``: chips that the gang holds beside what it asks for and beside what the snapshot says.
    """
    told = tuple(past)
    chips = sum(asked.want.chips for asked in request.slices[: request.needed])
    more = keeps + chips - snapshot.counted(request.gang)
    others = [
        gang
        for key, gang in sorted(snapshot.gangs.items())
        if key != request.gang and gang.generation == request.generation and key.cluster == request.gang.cluster
    ]
    limits = _limits(snapshot, request, sorted({gang.tenant for gang in others}), more)
    forbidden = displacers(request.gang, told, now=snapshot.now)
    holds = {gang.id: (gang.tenant, snapshot.counted(gang.id)) for gang in others}
    right: dict[GangId, Right] = {}
    wall: dict[GangId, Wall] = {}
    for gang in others:
        found = Wall.BEFORE if gang.id in forbidden else _right(request, gang, holds[gang.id][1], limits)
        if isinstance(found, Right):
            right[gang.id] = found
        else:
            wall[gang.id] = found
    return Rights(right, wall, limits, holds)


def displacers(gang: GangId, past: Iterable[Displaced], *, now: datetime) -> frozenset[GangId]:
    """Give all that displaced a gang, or one that did, and so on, as far as that is remembered."""
    by: dict[GangId, set[GangId]] = {}
    for each in past:
        if each.at > now - REMEMBERED:
            by.setdefault(each.gang, set()).add(each.by)
    found: set[GangId] = set()
    ends = {gang}
    while ends:
        ends = {other for end in ends for other in by.get(end, ())} - found
        found |= ends
    return frozenset(found)


def rests(gang: GangId, past: Iterable[Displaced], *, now: datetime) -> bool:
    """Whether a gang was displaced so short a while ago that it only waits."""
    return any(each.gang == gang and each.at > now - RESTS for each in past)


def _limits(snapshot: Snapshot, request: Request, tenants: list[str], more: int) -> dict[tuple[str, Right], int]:
    """Give the most chips that each other tenant may lose, by right; 0 or less where the right is none."""
    takes = borrowed(snapshot, (request.tenant, request.generation), more=more)
    found: dict[tuple[str, Right], int] = {}
    for tenant in tenants:
        theirs = (tenant, request.generation)
        lent = borrowed(snapshot, theirs)
        if tenant != request.tenant:
            found[tenant, Right.RECLAIM] = lent if lent is not None and takes == 0 else 0
            found[tenant, Right.FAIR] = lent - takes if lent is not None and takes else 0
            if tenant in snapshot.protected and lent is not None and theirs in snapshot.quota:
                found[tenant, Right.PRIORITY] = lent
    return found


def _right(request: Request, gang: Running, chips: int, limits: Mapping[tuple[str, Right], int]) -> Right | Wall:
    """Give the right to one gang: of several that which limits least."""
    if gang.tenant == request.tenant:
        return Right.IN_QUEUE if gang.priority < request.priority else Wall.PRIORITY

    def holds(right: Right) -> bool:
        return chips <= limits.get((gang.tenant, right), chips)

    if gang.priority < request.priority:
        return Right.PRIORITY if holds(Right.PRIORITY) else Wall.GUARANTEED
    if holds(Right.RECLAIM):
        return Right.RECLAIM
    if gang.priority == request.priority and holds(Right.FAIR):
        return Right.FAIR
    return Wall.PRIORITY if holds(Right.PRIORITY) else Wall.GUARANTEED
