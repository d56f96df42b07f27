"""Placement labels: which of them a living gang still selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.gangs.kind import selector_of
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import GangId
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from sliceward.remediations.gangs.kind import GangKind
    from sliceward.remediations.ports import Cluster, Object


async def is_wanted(cluster: Cluster, key: str) -> bool:
    """Whether a gang that has not ended selects hosts labelled with ``key``, read fresh."""
    for kind in GANG_KINDS.values():
        for owner in await cluster.list(kind.kind):
            if _selects(cluster.name, kind, owner, key):
                return True
    return False


def _selects(cluster: str, kind: GangKind, owner: Object, key: str) -> bool:
    metadata = owner["metadata"]
    try:
        gang = GangId(cluster, metadata.get("namespace", "default"), kind.owner_kind, metadata["name"])
    except Misconfigured:
        return False
    if gang.key != key or kind.ended(owner):
        return False
    return any(selector_of(template).get(NAMES.gang) == key for template in kind.templates(owner))
