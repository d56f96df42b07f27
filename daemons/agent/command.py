"""``sliceward agent``: run it, or check its configuration."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from sliceward.daemons import logs
from sliceward.daemons.agent.run import serve
from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.settings import load


@click.command("agent", help="Read this TPU host's chips, links and health, and send one frame a period.")
@click.option("-c", "--config", type=click.Path(path_type=Path, dir_okay=False), help="YAML file; see docs/configuration.md.")
@click.option("--check", is_flag=True, help="Read the configuration, say that it is good, and end.")
def command(config: Path | None, *, check: bool) -> None:
    """Read the configuration and run until SIGTERM."""
    settings = load(AgentSettings, file=config, environ=os.environ)
    logs.configure(settings.log)
    if check:
        click.echo(f"configuration is good: host {settings.node} of cluster {settings.cluster}")
        return
    asyncio.run(serve(settings))
