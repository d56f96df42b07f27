"""``sliceward watcher``: run it, or check its configuration."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from sliceward.daemons import logs
from sliceward.daemons.settings import load
from sliceward.daemons.watcher import run
from sliceward.daemons.watcher.settings import WatcherSettings


@click.command("watcher", help="Turn frames of one cluster into findings and gang progress.")
@click.option("-c", "--config", type=click.Path(path_type=Path, dir_okay=False), help="YAML file; see docs/configuration.md.")
@click.option("--check", is_flag=True, help="Read configuration and rules, say that they are good, and end.")
def command(config: Path | None, *, check: bool) -> None:
    """Read the configuration and run until SIGTERM."""
    settings = load(WatcherSettings, file=config, environ=os.environ)
    logs.configure(settings.log)
    if check:
        click.echo(f"configuration is good: cluster {settings.cluster.name}, {len(run.read_rules(settings.rules))} rules")
        return
    asyncio.run(run.serve(settings))
