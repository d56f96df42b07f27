"""What was complained of, on the terminal; the same for rules and playbooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.text import Text

from sliceward.daemons.cli.output import console, print_rows
from sliceward.playbooks import record
from sliceward.topology.complaint import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.topology.complaint import Complaint


def complain(complaints: Sequence[Complaint], *, files: int, strict: bool, output: str) -> None:
    """Print what was complained of, and end with 1 where there is an error, or with ``strict`` anything."""
    if output != "table":
        print_rows([record.plain(one) | {"id": one.where} for one in complaints], {}, output)
    else:
        for one in complaints:
            style = "red" if one.level is Level.ERROR else "yellow"
            console().print(Text(f"{one.level}: ", style=style) + Text(f"{one.where}: {one.why}"))
            if one.what_to_do:
                console().print(Text(f"    {one.what_to_do}", style="dim"))
        errors = sum(one.level is Level.ERROR for one in complaints)
        click.echo(f"{files} files: {errors} errors, {len(complaints) - errors} warnings")
    raise SystemExit(int(any(strict or one.level is Level.ERROR for one in complaints)))
