"""Which hosts carry a part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.topology.ids import ChipId, HostId, LinkId

if TYPE_CHECKING:
    from sliceward.topology.ids import PartId


def hosts_of(part: PartId) -> tuple[HostId, ...]:
    """Give the hosts that carry a part: one, two for a link between hosts, none for what is no host's."""
    match part:
        case HostId():
            return (part,)
        case ChipId():
            return (part.host_id,)
        case LinkId():
            return tuple(sorted({end.host_id for end in part.ends}))
        case _:
            return ()
