"""All kinds of gangs that sliceward can move. A new kind is one file here and one line below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations.gangs.job import JobGang
from sliceward.remediations.gangs.jobset import JobSetGang

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.gangs.kind import GangKind

_ALL: tuple[GangKind, ...] = (JobSetGang(), JobGang())

GANG_KINDS: Mapping[str, GangKind] = {kind.owner_kind: kind for kind in _ALL}
"""Kind of the owner object -> how to move a gang of it."""
