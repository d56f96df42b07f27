"""How many chips a host has by its label and its capacity: one reading, for the fleet and for the host's own agent.

``cloud.google.com/gke-accelerator-count`` counts chips, on some machine types devices (two a chip on tpu7x); the capacity
``google.com/tpu`` counts the same, and is 0 while the device plugin has found another number than the label's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sliceward.topology.generations import Generation

_NUMBER = re.compile(r"[0-9]{1,6}")


def whole_number(text: str | None) -> int | None:
    """Give the number that a label holds, None where it holds none."""
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None


def chips_of(generation: Generation, count: int | None) -> int | None:
    """Give the chips of a host whose chips or devices are so many; None where no host of the generation has that many."""
    if not count or count in generation.chips_a_host:
        return count or None
    chips, rest = divmod(count, generation.devices_a_chip)
    return chips if not rest and chips in generation.chips_a_host else None


def agree(generation: Generation, label: int, capacity: int) -> bool:
    """Whether two counts of one host may both be true: equal, or devices on the label and chips in the capacity."""
    return capacity in {label, chips_of(generation, label)}
