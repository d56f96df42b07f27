"""What changed between two rounds that should wake somebody before the next frame is judged. Pure.

An event only wakes; the truth is in the frames.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.daemons.agent.rounds import Round

Change = tuple[str, str]
"""Name of the event and a sentence."""


def changes(before: Round | None, now: Round) -> tuple[Change, ...]:
    """Give the events between two rounds; none at the first, whose state is in its frame."""
    if before is None:
        return ()
    return tuple(_changes(before, now))


def _changes(before: Round, now: Round) -> Iterator[Change]:
    for chip, (was, present) in enumerate(_pairs("chip_present", before, now)):
        if was != present:
            yield "device-change", f"chip {chip} {'is back' if present else 'is gone'}"
    for chip, (was, foreign) in enumerate(_pairs("chip_foreign_holder", before, now)):
        if was != foreign:
            who = now.notes.get(f"holder/{chip}", "")
            yield "holder-change", f"chip {chip} is held by {who}" if foreign else f"chip {chip} is no longer held by a foreigner"
    for was, writable in _pairs("host_disk_writable", before, now):
        if was != writable:
            why = now.notes.get("selftest", "")
            yield "selftest-change", "the disk takes writes again" if writable else f"the disk does not take writes: {why}"
    for note in ("slice_error", "megascale_error"):
        text = now.notes.get(note, "")
        if text and text != before.notes.get(note, ""):
            yield note.replace("_", "-"), text


def _pairs(metric: str, before: Round, now: Round) -> Iterator[tuple[float, float]]:
    """Go through the values that are known both times; unknown is no change."""
    for was, value in zip(before.columns.get(metric, ()), now.columns.get(metric, ()), strict=False):
        yield (was, value) if not (math.isnan(was) or math.isnan(value)) else (0.0, 0.0)
