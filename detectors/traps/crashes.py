"""Programs that an error on a chip ended, remembered over jobs: by the place where it was and the program that ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.memory import Crash
from sliceward.detectors.sightings import Line
from sliceward.detectors.traps.heard import heard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.detectors.panel import Panel

WITHIN = 24 * 3600.0
"""Seconds for which a crash counts."""
MOST = 1000


def crashes(panel: Panel) -> Mapping[Crash, float]:
    """Give when each program was ended on each place within a day; what is told now is remembered."""
    known = panel.memory.crashes
    for one in heard(panel):
        if one.said.line is Line.CHIP_FATAL and one.gang is not None:
            crash = Crash(one.host, one.machine, one.said.what, str(one.gang), one.said.pod)
            known.setdefault(crash, one.first)
    for crash in [crash for crash, at in known.items() if panel.now - at > WITHIN]:
        del known[crash]
    for crash in sorted(known, key=lambda crash: known[crash])[: max(0, len(known) - MOST)]:
        del known[crash]
    return known
