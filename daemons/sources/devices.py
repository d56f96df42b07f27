"""Which device files and PCI functions belong to which chip of this host.

Chips are numbered as libtpu does it: PCI functions of Google's vendor id, grouped by address, sorted by IOMMU group. The
mapping is taken once all chips are seen and kept, so that a chip which vanishes leaves a hole instead of renumbering the rest;
until then, and where sysfs tells nothing, chip n is device file n.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.topology.generations import PCI_VENDOR

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.daemons.sources.source import Layout


@dataclass(slots=True)
class Devices:
    """The devices under ``root`` (the host's own root folder, or a fake one)."""

    layout: Layout
    root: Path
    _functions: tuple[tuple[str, ...], ...] = ()
    _files: tuple[tuple[str, ...], ...] = field(default=())

    def look(self) -> None:
        """Take the mapping from sysfs, if all chips are there and it was not taken yet."""
        if self._functions:
            return
        chips: dict[str, list[tuple[int, str]]] = {}
        for folder in self._pci().iterdir() if self._pci().is_dir() else ():
            if text_in(folder / "vendor") == PCI_VENDOR and (folder / "iommu_group").is_symlink():
                group = (folder / "iommu_group").readlink().name
                chips.setdefault(folder.name.partition(".")[0], []).append((int(group) if group.isdecimal() else 0, folder.name))
        if len(chips) != self.layout.chips:
            return
        ordered = sorted(sorted(functions) for functions in chips.values())
        # Sources look from threads of their own: what says that the mapping is taken is set last.
        self._files = tuple(tuple(f"/dev/vfio/{group}" for group, _ in functions) for functions in ordered)
        self._functions = tuple(tuple(address for _, address in functions) for functions in ordered)

    def files(self, chip: int) -> tuple[str, ...]:
        """Give the device files of a chip, as the host names them."""
        pattern = self.layout.generation.device_node
        if self._files and "vfio" in pattern:
            return self._files[chip]
        return (pattern.format(n=chip),)

    def chip_of_file(self) -> dict[str, int]:
        """Give the chip of each device file."""
        return {file: chip for chip in range(self.layout.chips) for file in self.files(chip)}

    def chip_of_function(self, address: str) -> int | None:
        """Give the chip of a PCI function (``0000:00:05.0``), None where it is none of ours."""
        for chip, functions in enumerate(self._functions):
            if address in functions:
                return chip
        return None

    def is_present(self, chip: int) -> bool:
        """Whether all device files of a chip exist."""
        return all(self.under(file).exists() for file in self.files(chip))

    def function_folders(self, chip: int) -> tuple[Path, ...]:
        """Give the sysfs folders of a chip's PCI functions; none where sysfs has not told them."""
        return tuple(self._pci() / address for address in self._functions[chip]) if self._functions else ()

    def under(self, path: str) -> Path:
        """Give where a path of the host stands under ``root``."""
        return self.root / path.lstrip("/")

    def _pci(self) -> Path:
        return self.root / "sys/bus/pci/devices"


def text_in(file: Path) -> str:
    """Give the text of a small file, "" where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def number_in(file: Path) -> float | None:
    """Give the number that a small file holds, None where it holds none."""
    try:
        return float(text_in(file))
    except ValueError:
        return None
