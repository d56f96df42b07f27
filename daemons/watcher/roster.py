"""Which of a host's series is about which of its chips, so that a chip that is gone does not move the names of its neighbours.

In: the device of each series, as its label has it. Out: chip by device. Every device that a machine was ever seen to serve is
remembered; once there are as many as the host has chips or devices their order counts, as in `sliceward.daemons.sources.folding`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Build:
    """How a host is built. ``chips`` 0: nobody knows. ``a_chip``: devices of each chip."""

    chips: int = 0
    a_chip: int = 1


@dataclass(slots=True)
class Roster:
    """The devices of one machine. ``machine``: what stands before the device in a label; ``chips``: those that were ever seen."""

    machine: str
    chips: set[int] = field(default_factory=set)
    _devices: dict[str, set[str]] = field(default_factory=dict)

    def place(self, metric: str, devices: Iterable[str], build: Build, *, per_device: bool) -> Mapping[str, int]:
        """Give the chip of each device that serves ``metric`` or ever did; one that cannot be told has none."""
        known = self._devices.setdefault(metric, set())
        known.update(devices)
        placed = places(known, build, per_device=per_device)
        self.chips.update(placed.values())
        return placed


def places(devices: Collection[str], build: Build, *, per_device: bool) -> Mapping[str, int]:
    """Give the chip of each device of a host. ``per_device``: the metric counts devices (memory) rather than chips."""
    ordered, a_chip = sorted(devices, key=_natural), build.a_chip
    if build.chips and len(ordered) == build.chips * a_chip:
        return {device: place // a_chip for place, device in enumerate(ordered)}
    if len(ordered) == build.chips and not per_device:
        return {device: place for place, device in enumerate(ordered)}
    if all(device.isdecimal() for device in ordered):
        found = {device: int(device) // (a_chip if per_device else 1) for device in ordered}
        return {device: chip for device, chip in found.items() if not build.chips or chip < build.chips}
    # Names instead of numbers, and not all of them: which ones are missing cannot be told.
    return {} if build.chips else {device: place for place, device in enumerate(ordered)}


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Give a key that sorts device 2 before device 10."""
    return tuple((0, int(bit), "") if bit.isdecimal() else (1, 0, bit) for bit in re.split(r"(\d+)", text))
