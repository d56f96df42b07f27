"""``sliceward demo``."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TextIO

import click
from rich.console import Console

from sliceward.daemons import logs
from sliceward.daemons.demo.plans import Options
from sliceward.daemons.demo.run import play
from sliceward.daemons.settings import LogSettings
from sliceward.simulation.faults import FAULTS

WIDTH = 150


def _list_faults() -> str:
    return "\n".join(f"  {fault.name:<20}{fault.about}" for fault in FAULTS.values())


@click.command("demo", help=f"Show a simulated fleet, a fault, and the healing of it.\n\n\b\nFaults:\n{_list_faults()}")
@click.option(
    "--fault", type=click.Choice(list(FAULTS)), default="link-degraded", show_default=True, metavar="NAME", help="What breaks."
)
@click.option("--port", default=8482, show_default=True, help="Port of the page; another one where it is taken.")
@click.option("--period", default="1s", show_default=True, help="Time between two frames of a host.")
@click.option("--stay/--no-stay", default=None, help="Keep the page until Ctrl-C (default: with a terminal).")
@click.option(
    "--log", "log_file", type=click.File("w", lazy=False), help="Write the daemons' log here (default: errors alone, on screen)."
)
def command(fault: str, *, port: int, period: str, stay: bool | None, log_file: TextIO | None) -> None:
    """Play it; exit code 0 if the outcome came that the fault's playbook promises."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else WIDTH, highlight=False, soft_wrap=not terminal)
    logs.configure(LogSettings(level="error" if log_file is None else "info"), stream=log_file)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    options = Options(FAULTS[fault], port, period, terminal if stay is None else stay)
    try:
        good = asyncio.run(play(options, console))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(0 if good else 1)
