"""What a tenant's quota leaves to one gang: for how many of its slices there is enough, and what is lacking. The one place that counts it.

What counts for the gang already is not asked for again: what it holds, and what is kept for it while its pods come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.snapshot import Snapshot


def affordable(snapshot: Snapshot, request: Request) -> int:
    """Count the slices, from the first, for which the tenant has quota."""
    left = snapshot.quota_left((request.tenant, request.generation))
    if left is None:
        return len(request.slices)
    chips, count = max(0, left) + snapshot.counted(request.gang), 0
    for asked in request.slices:
        chips -= asked.want.chips
        if chips < 0:
            return count
        count += 1
    return count


def lacking(snapshot: Snapshot, request: Request) -> int:
    """Count the chips that the tenant would have to be lent, or to give back, for as much as the gang cannot do without."""
    left = snapshot.quota_left((request.tenant, request.generation))
    more = sum(asked.want.chips for asked in request.slices[: request.needed]) - snapshot.counted(request.gang)
    return max(0, more - left) if left is not None and more > 0 else 0
