"""Fair parts of what tenants may borrow: what each would get of all, and how much of it each has now.

A tenant's share is what it borrows over what could be lent, as Kueue counts it (dominant resource share, KEP-1714; chips are the
one resource here). Parts are weighted max-min: first everyone gets what it is guaranteed and wants (KAI: before any priority), then
the rest goes to all who want more in proportion to their weights, until they want no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import checked_cost
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.quota import Account
    from sliceward.scheduling.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Claim:
    """What a tenant wants, or a cohort of tenants, which wants what its members do."""

    name: str
    wants: float = 0.0
    weight: float = 1.0
    guaranteed: float = 0.0
    members: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no share can be made of."""
        for value, what in ((self.wants, "wants"), (self.weight, "weight"), (self.guaranteed, "guaranteed")):
            checked_cost(value, f"claim of {self.name}: {what}")
        if not self.weight:
            raise Misconfigured(f"claim of {self.name}", "has no weight", "Give a weight above 0")

    @property
    def total(self) -> float:
        """What it wants with all its members."""
        return self.wants + math.fsum(member.total for member in self.members)

    @property
    def kept(self) -> float:
        """What is surely its own of that."""
        return min(self.total, self.guaranteed + math.fsum(member.kept for member in self.members))


def fair_parts(amount: float, claims: Sequence[Claim]) -> dict[str, float]:
    """Give the part of each claim and of each member in an amount. A cohort divides its part as if that were all there is."""
    parts = _divided(amount, claims)
    found = dict(zip((claim.name for claim in claims), parts, strict=True))
    for claim, part in zip(claims, parts, strict=True):
        if claim.members:
            found |= fair_parts(part, claim.members)
    return found


def _divided(amount: float, claims: Sequence[Claim]) -> list[float]:
    kept = math.fsum(claim.kept for claim in claims)
    scale = min(1.0, amount / kept) if kept else 1.0
    parts = [claim.kept * scale for claim in claims]
    left = amount - math.fsum(parts)
    hungry = [number for number, claim in enumerate(claims) if claim.total > parts[number]]
    while hungry and left > 0:
        weights = math.fsum(claims[number].weight for number in hungry)
        step = min(left / weights, *((claims[number].total - parts[number]) / claims[number].weight for number in hungry))
        for number in hungry:
            parts[number] += step * claims[number].weight
        left -= step * weights
        hungry = [number for number in hungry if claims[number].total - parts[number] > amount * 1e-12]
        left = left if left > amount * 1e-12 else 0.0
    return parts


def own(snapshot: Snapshot, account: Account) -> int | None:
    """Give the chips that are a tenant's own: its quota, 0 where only others have one, None where nobody has (all is everybody's)."""
    if account in snapshot.quota:
        return snapshot.quota[account]
    return 0 if any(generation == account[1] for _, generation in snapshot.quota) else None


def borrowed(snapshot: Snapshot, account: Account, *, more: int = 0) -> int | None:
    """Count the chips that a tenant holds beyond its own, had it so many ``more``; None where nobody has any of his own."""
    nominal = own(snapshot, account)
    return None if nominal is None else max(0, snapshot.usage.get(account, 0) + more - nominal)


def lendable(snapshot: Snapshot, generation: str) -> int:
    """Count the chips of a generation, which is what could be lent if nobody used his own."""
    return sum(sum(ground.hosts.values()) for ground in snapshot.grounds.values() if ground.generation == generation)


def fair_part(snapshot: Snapshot, account: Account, *, more: int = 0) -> float:
    """Give a tenant's fair part of all chips of a generation, if it wants ``more`` than it holds and the others what they hold."""
    tenants = sorted({tenant for tenant, generation in snapshot.usage if generation == account[1]} | {account[0]})
    claims = []
    for tenant in tenants:
        wants = snapshot.usage.get((tenant, account[1]), 0) + (more if tenant == account[0] else 0)
        claims.append(Claim(tenant, wants, guaranteed=own(snapshot, (tenant, account[1])) or 0))
    return fair_parts(lendable(snapshot, account[1]), claims)[account[0]]
