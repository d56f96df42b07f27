"""The host itself: CPU, memory, DRAM errors (EDAC), PCIe errors of the chips (AER), and whether each chip's device file exists.

Everything is read under one root folder, so that a pod can read its host's and a test can make its own. The kernel's files
are read directly: psutil keeps the place of ``/proc`` in one variable for the whole process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.daemons.sources.devices import Devices, number_in, text_in
from sliceward.daemons.sources.source import Held, Layout, Reading
from sliceward.daemons.sources.threads import OneAtATime
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from pathlib import Path

_IDLE = (3, 4)  # places of idle and iowait in the first line of /proc/stat, proc(5)
_AER = (
    ("chip_pcie_aer_correctable_total", "aer_dev_correctable", "TOTAL_ERR_COR"),
    ("chip_pcie_aer_nonfatal_total", "aer_dev_nonfatal", "TOTAL_ERR_NONFATAL"),
    ("chip_pcie_aer_fatal_total", "aer_dev_fatal", "TOTAL_ERR_FATAL"),
)
_EDAC = (("host_edac_correctable_total", "ce_count"), ("host_edac_uncorrectable_total", "ue_count"))


@dataclass(slots=True)
class Host(Held):
    """The source."""

    layout: Layout
    devices: Devices
    floor: float = 1.0
    timeout: float = 5.0
    name: str = "host"
    age_metric: str = "host_source_age_host_seconds"
    _thread: OneAtATime = field(default_factory=OneAtATime)
    _cpu: tuple[float, float] | None = None

    async def read(self, now: float) -> Reading:  # noqa: ARG002 (counters carry no time)
        """Read all files, on a thread: a file of a sick host may hang."""
        return await self._thread.run(self._read)

    def _read(self) -> Reading:
        root, chips = self.devices.root, range(self.layout.chips)
        if not (root / "proc").is_dir():
            raise Retry(f"{root}/proc is not there: is the host's root folder mounted?")
        self.devices.look()
        columns = {"chip_present": [float(self.devices.is_present(chip)) for chip in chips]}
        columns |= {metric: [self._aer(chip, file, total) for chip in chips] for metric, file, total in _AER}
        columns |= {metric: [_edac(root, file)] for metric, file in _EDAC}
        columns["host_cpu_percent"] = [self._cpu_percent(root)]
        columns["host_memory_percent"] = [_memory_percent(root)]
        return Reading(columns)

    def _aer(self, chip: int, file: str, total: str) -> float:
        """Add up one AER counter over the chip's functions; NaN where no function tells it."""
        found = [_line_of(text_in(folder / file), total) for folder in self.devices.function_folders(chip)]
        told = [count for count in found if not math.isnan(count)]
        return sum(told) if told else math.nan

    def _cpu_percent(self, root: Path) -> float:
        """Give the CPU in use since the read before."""
        first, _, _ = text_in(root / "proc/stat").partition("\n")
        try:
            parts = [float(part) for part in first.split()[1:9]]
        except ValueError:
            return math.nan
        if len(parts) <= max(_IDLE):
            return math.nan
        now = (sum(parts), sum(parts[place] for place in _IDLE))
        before, self._cpu = self._cpu, now
        if before is None or now[0] <= before[0]:
            return math.nan
        return min(100.0, max(0.0, 100.0 * (1.0 - (now[1] - before[1]) / (now[0] - before[0]))))


def _line_of(text: str, name: str) -> float:
    """Give the count of the line ``name`` (``TOTAL_ERR_COR 3``), NaN where there is none."""
    for line in text.splitlines():
        key, _, count = line.strip().rpartition(" ")
        if key == name and count.isdecimal():
            return float(count)
    return math.nan


def _edac(root: Path, file: str) -> float:
    counts = [number_in(one) for one in (root / "sys/devices/system/edac/mc").glob(f"mc*/{file}")]
    told = [count for count in counts if count is not None]
    return sum(told) if told else math.nan


def _memory_percent(root: Path) -> float:
    numbers = {}
    for line in text_in(root / "proc/meminfo").splitlines():
        key, _, rest = line.partition(":")
        if key in ("MemTotal", "MemAvailable") and rest.split()[:1] and rest.split()[0].isdecimal():
            numbers[key] = float(rest.split()[0])
    total, left = numbers.get("MemTotal", 0.0), numbers.get("MemAvailable", math.nan)
    return 100.0 * (1.0 - left / total) if total else math.nan
