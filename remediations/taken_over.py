"""Whether the suspension that a run stands on is still its own: a human who resumes the gang in the middle takes it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations import hurt
from sliceward.remediations.gangs.kind import SUSPENDED_BY, Suspension, noted
from sliceward.remediations.outcome import Failed

if TYPE_CHECKING:
    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Cluster


async def taken_over(target: Target, cluster: Cluster) -> Failed | None:
    """Say who has the gang now, if this incident suspended it and somebody else resumed it or suspended it anew.

    Waiting for its pods to end would then be waiting for what nobody asked for, and ending them harm to a gang that runs.
    """
    if not target.facts.get("suspended"):
        return None
    found = await hurt.find(target, cluster)
    if not isinstance(found, hurt.Hurt):
        return None
    if found.kind.suspension(found.owner) is Suspension.NOT:
        return Failed(f"{found.id} was resumed by somebody else: left to them")
    by = noted(found.owner, SUSPENDED_BY)
    return None if by == target.incident else Failed(f"{found.id} was suspended by {by or 'somebody else'}: left to them")
