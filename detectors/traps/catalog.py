"""All traps. A new one is a file beside this and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.traps.gang_disagrees import GANG_DISAGREES
from sliceward.detectors.traps.short_deaths import SHORT_DEATHS
from sliceward.detectors.traps.slice_mixed import SLICE_MIXED

if TYPE_CHECKING:
    from sliceward.detectors.traps.trap import Trap

TRAPS: dict[str, Trap] = {trap.name: trap for trap in (SLICE_MIXED, GANG_DISAGREES, SHORT_DEATHS)}
