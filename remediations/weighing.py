"""What each way out costs a gang that is hurt, for the record; and for the decision, where a playbook asks to weigh.

Comes in: the ways of `sliceward.scheduling.repair` with their prices, each number with its source, or why they cannot be priced. Goes
out: the same as JSON and in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.scheduling.told import Told

if TYPE_CHECKING:
    from sliceward.remediations.ports import Progress
    from sliceward.scheduling.candidates import Choice


def told_by(progress: Progress) -> Told:
    """Give a gang's last word as the scheduler reads it."""
    return Told(progress.at, progress.rate, progress.rate_before, progress.checkpoint_age)


def facts_of(found: Choice | str) -> list[dict[str, Any]]:
    """Give the ways as JSON: open ones with their prices in chip-seconds and what these are made of, closed ones with why."""
    if isinstance(found, str):
        return []
    rows: list[dict[str, Any]] = [
        {
            "way": each.way.value,
            "price": round(each.price),
            "why": each.why,
            "bill": [str(line) for line in each.bill.lines if line.chip_seconds],
        }
        for each in found.open
    ]
    return rows + [{"way": each.way.value, "price": None, "why": each.why} for each in found.closed]


def in_words(found: Choice) -> str:
    """Say the cheapest ways in one line."""
    return ", ".join(f"{each.way} {each.price:,.0f}" for each in found.open[:3]) + " chip-seconds"
