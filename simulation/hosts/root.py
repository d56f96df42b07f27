"""The files of a simulated host, under a folder of its own: devices, processes, PCI, EDAC, kernel log."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from sliceward.topology.generations import PCI_VENDOR

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.simulation.hosts.state import Holder, HostState

_FIRST_SLOT = 4


class RootFolder:
    """Writes the truth of a host as the kernel would show it."""

    def __init__(self, root: Path, state: HostState) -> None:
        """Nothing is written before `create`."""
        self.root, self._state = root, state
        self._pids: set[int] = set()
        self._records = 0

    def create(self) -> None:
        """Write everything that a booted host has."""
        for folder in (
            "proc/sys/kernel/random",
            "dev",
            "run/sliceward",
            "var/log/pods",
            "sys/devices/system/edac/mc/mc0",
            "sys/kernel/iommu_groups",
        ):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for name in ("stat", "meminfo", "uptime"):
            link = self.root / "proc" / name
            if not link.is_symlink():
                link.symlink_to(f"/proc/{name}")  # the machine's own: alive, and true for the agent's cost
        self._write("proc/sys/kernel/random/boot_id", self._state.boot_id)
        self._write("sys/devices/system/edac/mc/mc0/ce_count", "0")
        self._write("sys/devices/system/edac/mc/mc0/ue_count", "0")
        (self.root / "dev/kmsg").touch()
        for chip in range(self._state.chips):
            self._write_function(chip)
        self.update()

    def update(self) -> None:
        """Write what may have changed: device files, error counters, holders."""
        state = self._state
        for chip in range(state.chips):
            device = self.root / self.device(chip).lstrip("/")
            if chip in state.missing:
                device.unlink(missing_ok=True)
            else:
                device.parent.mkdir(parents=True, exist_ok=True)
                device.touch()
            self._write_aer(chip)
        self._write_holders()

    def device(self, chip: int) -> str:
        """Give the device file of a chip, as the host names it."""
        return self._state.generation.device_node.format(n=chip)

    def log(self, text: str) -> None:
        """Add a record to the kernel log."""
        self._records += 1
        with (self.root / "dev/kmsg").open("a", encoding="utf-8") as log:
            log.write(f"3,{self._records},{time.monotonic_ns() // 1000},-;{text}\n")

    def clear_log(self) -> None:
        """Begin the kernel log anew, as a boot does."""
        (self.root / "dev/kmsg").unlink(missing_ok=True)
        (self.root / "dev/kmsg").touch()
        self._records = 0
        self._write("proc/sys/kernel/random/boot_id", self._state.boot_id)

    def _write_holders(self) -> None:
        held: dict[int, tuple[Holder, list[int]]] = {}
        if (job := self._state.job) is not None:
            held[job.pid] = (job.holder, [chip for chip in range(self._state.chips) if chip not in self._state.missing])
        for chip, holder in self._state.foreign.items():
            held.setdefault(holder.pid, (holder, []))[1].append(chip)
        for pid in self._pids - held.keys():
            shutil.rmtree(self.root / f"proc/{pid}", ignore_errors=True)
        for pid in held.keys() - self._pids:
            self._write_process(*held[pid])
        self._pids = set(held)

    def _write_process(self, holder: Holder, chips: list[int]) -> None:
        folder = f"proc/{holder.pid}"
        (self.root / folder / "fd").mkdir(parents=True, exist_ok=True)
        pod = f"/kubepods/burstable/pod{holder.pod_uid}/{holder.pid:064x}" if holder.pod_uid else "/user.slice/session-4.scope"
        ticks = int(float((self.root / "proc/uptime").read_text(encoding="utf-8").split()[0]) * 100)
        self._write(f"{folder}/comm", holder.command)
        self._write(f"{folder}/cgroup", f"0::{pod}")
        self._write(f"{folder}/stat", f"{holder.pid} ({holder.command}) S " + "0 " * 18 + f"{ticks} 0 0")
        for number, chip in enumerate(chips, start=3):
            (self.root / folder / f"fd/{number}").symlink_to(self.device(chip))

    def _write_function(self, chip: int) -> None:
        function = f"sys/bus/pci/devices/{address(chip)}"
        (self.root / function).mkdir(parents=True, exist_ok=True)
        self._write(f"{function}/vendor", PCI_VENDOR)
        self._write(f"{function}/device", self._state.generation.pci_id)
        group = self.root / f"sys/kernel/iommu_groups/{chip}"
        group.mkdir(exist_ok=True)
        if not (self.root / function / "iommu_group").is_symlink():
            (self.root / function / "iommu_group").symlink_to(group)
        for kind, total in (("nonfatal", "TOTAL_ERR_NONFATAL"), ("fatal", "TOTAL_ERR_FATAL")):
            self._write(f"{function}/aer_dev_{kind}", f"Undefined 0\n{total} 0")

    def _write_aer(self, chip: int) -> None:
        count = self._state.aer_correctable.get(chip, 0)
        self._write(f"sys/bus/pci/devices/{address(chip)}/aer_dev_correctable", f"RxErr {count}\nBadTLP 0\nTOTAL_ERR_COR {count}")

    def _write(self, path: str, text: str) -> None:
        (self.root / path).write_text(text + "\n", encoding="utf-8")


def address(chip: int) -> str:
    """Give the PCI address of a chip's function."""
    return f"0000:00:{chip + _FIRST_SLOT:02x}.0"
