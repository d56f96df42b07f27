"""``sliceward coordinator``: run it, or check its configuration."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from sliceward.daemons import logs
from sliceward.daemons.coordinator import run
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load


@click.command("coordinator", help="Turn findings into healing: decide, act, page, and serve the HTTP API and the page.")
@click.option("-c", "--config", type=click.Path(path_type=Path, dir_okay=False), help="YAML file; see docs/configuration.md.")
@click.option("--check", is_flag=True, help="Read configuration and playbooks, say that they are good, and end.")
def command(config: Path | None, *, check: bool) -> None:
    """Read the configuration and run until SIGTERM."""
    settings = load(CoordinatorSettings, file=config, environ=os.environ)
    logs.configure(settings.log)
    if check:
        book = run.read_book(settings.playbooks)
        click.echo(f"configuration is good: {len(settings.clusters)} clusters, {len(book.playbooks)} playbooks")
        return
    asyncio.run(run.serve(settings))
