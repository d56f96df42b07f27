"""What the demo prints before and after the story."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sliceward.simulation.faults import Promise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sliceward.daemons.demo.outcome import Check, Figures
    from sliceward.daemons.demo.plans import Options
    from sliceward.simulation.faults import Fault

PROMISES = {
    Promise.MOVED_AND_GIVEN_BACK: "the gang moves to healthy cubes, the part is repaired, proven and given back",
    Promise.NAMED_AND_HANDED_OVER: "the part is named and handed to a human; nothing is drained",
}


def opening(console: Console, url: str, options: Options) -> None:
    """Say what runs and where to look."""
    console.print(
        Text("sliceward demo", style="bold"), Text("4 cubes of tpu7x: 256 chips, 64 hosts, two gangs, one spare", style="dim")
    )
    console.print(
        f"Simulated hosts speak the real protocols; a frame every {options.period} (production: 10 s); playbooks in mode Enforce."
    )
    console.print(f"Fault: {options.fault.name}. Promise: {PROMISES[options.fault.promise]}.")
    console.print(Text("Page:  ").append(f"{url}/", style="bold underline"), "\n")


def closing(console: Console, fault: Fault, checks: Sequence[Check], figures: Figures) -> None:
    """Say whether the promise holds, and what the fault cost."""
    console.print()
    for check in checks:
        style = "green" if check.holds else "bold red"
        console.print(Text("✓ " if check.holds else "✗ ", style=style).append(check.text, style=""))
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows(figures):
        table.add_row(Text(name, style="dim"), Text(value, style="bold"))
    console.print()
    console.print(table)
    good = all(check.holds for check in checks)
    console.print(
        Text(
            f"\n{fault.name}: {'the promise holds' if good else 'THE PROMISE DOES NOT HOLD'}",
            style="bold green" if good else "bold red",
        )
    )


def rows(figures: Figures) -> list[tuple[str, str]]:
    """Give the summary line by line."""
    return [
        ("time to detect", seconds(figures.detected)),
        ("time to recover (gang at its former rate)", seconds(figures.recovered)),
        ("time until given back", seconds(figures.closed)),
        ("steps done twice", str(figures.steps_lost)),
        ("chip-seconds lost", f"{figures.chip_seconds_lost:,.0f}"),
        ("pages sent", str(figures.pages)),
    ]


def seconds(value: float | None) -> str:
    """Print a duration."""
    return "-" if value is None else f"{value:.1f} s"
