"""Readings by device number, folded to one value a chip."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PER_DEVICE = frozenset({"chip_hbm_used_bytes", "chip_hbm_total_bytes"})
"""What the device plugin tells of each device of a chip; a chip's is the sum."""


def folded(values: Mapping[int, float], *, chips: int, devices: int, per_device: bool, add: bool) -> list[float]:
    """Give one value a chip, NaN where none came.

    ``devices`` of each chip; ``per_device``: the metric counts devices (memory) rather than chips (duty cycle). Where as many
    values came as there are chips or devices, their order counts: libtpu numbers chips 0, 1, 2... or 0, 2, 4...
    """
    groups: dict[int, list[float]] = {}
    ordered: Sequence[tuple[int, float]] = sorted(values.items())
    for place, (device, value) in enumerate(ordered):
        if len(ordered) == chips * devices:
            chip = place // devices
        elif len(ordered) == chips and not per_device:
            chip = place
        else:
            chip = device // devices if per_device else device
        groups.setdefault(chip, []).append(value)
    return [_one(groups.get(chip, []), add=add) for chip in range(chips)]


def _one(values: list[float], *, add: bool) -> float:
    if not values:
        return math.nan
    return sum(values) if add else max(values)
