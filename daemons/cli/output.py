"""How the client commands print: aligned columns for people, JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WIDE = 4096

STYLES = {
    "healthy": "green",
    "running": "green",
    "sent": "green",
    "healed": "green",
    "ok": "green",
    "unhealthy": "red",
    "firing": "red",
    "failed": "red",
    "critical": "red",
    "unknown": "yellow",
    "held": "yellow",
    "handed-over": "yellow",
    "waiting-for-approval": "yellow",
}


def output_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``-o table|json|yaml|name``."""
    choice = click.Choice(["table", "json", "yaml", "name"])
    return click.option("-o", "--output", type=choice, default="table", show_default=True, help="How to print.")(command)


def console() -> Console:
    """Give a console that does not fold columns where nobody looks at a terminal."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False, soft_wrap=True)


def print_data(data: Any, output: str) -> None:  # noqa: ANN401 (JSON)
    """Print for programs."""
    if output == "yaml":
        click.echo(yaml.safe_dump(data, sort_keys=False), nl=False)
    else:
        click.echo(json.dumps(data, indent=2))


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Callable[[Mapping[str, Any]], object]], output: str
) -> None:
    """Print rows in the chosen form; ``columns``: heading -> how to read the cell."""
    if output in ("json", "yaml"):
        print_data(list(rows), output)
        return
    if output == "name":
        for row in rows:
            click.echo(row.get("id") or row.get("name") or row.get("delivery_id") or row.get("seq"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in columns:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        cells = ["-" if (value := read(row)) in (None, "", []) else str(value) for read in columns.values()]
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    console().print(table if rows else Text("none", style="dim"))
