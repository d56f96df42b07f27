"""One fact that `sliceward check` tells: what it is about, whether it is well, what was found, and the next step."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from sliceward.daemons.cli.output import console


@dataclass(frozen=True, slots=True)
class Line:
    """One fact. ``what_to_do`` is empty where all is well."""

    ok: bool
    about: str
    found: str
    what_to_do: str = ""


def well(about: str, found: str) -> Line:
    """Give a fact that is as it should be."""
    return Line(ok=True, about=about, found=found)


def wrong(about: str, found: str, what_to_do: str) -> Line:
    """Give a fact that somebody has to do something about."""
    return Line(ok=False, about=about, found=found, what_to_do=what_to_do)


def show(line: Line) -> None:
    """Print it."""
    mark = Text("✓ " if line.ok else "✗ ", style="green" if line.ok else "red")
    console().print(mark + Text(f"{line.about}: {line.found}"))
    if line.what_to_do:
        console().print(Text(f"    {line.what_to_do}", style="dim"))
