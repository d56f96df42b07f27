"""All traps. A new one is a file beside this and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.traps.checkpoint_stalled import CHECKPOINT_STALLED
from sliceward.detectors.traps.chip_fatal import CHIP_FATAL
from sliceward.detectors.traps.chip_hung import CHIP_HUNG
from sliceward.detectors.traps.compile_stalled import COMPILE_STALLED
from sliceward.detectors.traps.gang_disagrees import GANG_DISAGREES
from sliceward.detectors.traps.gang_failed import GANG_FAILED
from sliceward.detectors.traps.hang_input import HANG_INPUT
from sliceward.detectors.traps.input_waits import INPUT_WAITS
from sliceward.detectors.traps.job_pauses import JOB_PAUSES
from sliceward.detectors.traps.machine_differs import MACHINE_DIFFERS
from sliceward.detectors.traps.no_first_step import NO_FIRST_STEP
from sliceward.detectors.traps.place_doubled import PLACE_DOUBLED
from sliceward.detectors.traps.port_held import PORT_HELD
from sliceward.detectors.traps.program_fatal import PROGRAM_FATAL
from sliceward.detectors.traps.programs_differ import PROGRAMS_DIFFER
from sliceward.detectors.traps.short_deaths import SHORT_DEATHS
from sliceward.detectors.traps.slice_failure import SLICE_FAILURE
from sliceward.detectors.traps.slice_mixed import SLICE_MIXED

if TYPE_CHECKING:
    from sliceward.detectors.traps.trap import Trap

_ALL = (
    SLICE_MIXED,
    GANG_DISAGREES,
    SHORT_DEATHS,
    SLICE_FAILURE,
    GANG_FAILED,
    CHIP_FATAL,
    PROGRAM_FATAL,
    PORT_HELD,
    MACHINE_DIFFERS,
    PLACE_DOUBLED,
    COMPILE_STALLED,
    CHECKPOINT_STALLED,
    INPUT_WAITS,
    NO_FIRST_STEP,
    JOB_PAUSES,
    PROGRAMS_DIFFER,
    HANG_INPUT,
    CHIP_HUNG,
)
TRAPS: dict[str, Trap] = {trap.name: trap for trap in _ALL}
