"""``sliceward config schema|check``: the JSON Schema of a daemon's file, and whether a file and the environment fit it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load, schema
from sliceward.daemons.shown import shown
from sliceward.daemons.watcher.settings import WatcherSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.daemons.settings import Settings

MODELS: Mapping[str, type[Settings]] = {"agent": AgentSettings, "watcher": WatcherSettings, "coordinator": CoordinatorSettings}
DAEMON = click.argument("daemon", type=click.Choice(list(MODELS)))


@click.group(help="Print a daemon's configuration schema, or check a file against it.")
def config() -> None:
    """Hold the two commands."""


@config.command("schema", help="Print the JSON Schema of a daemon's configuration file.")
@DAEMON
def print_schema(daemon: str) -> None:
    """Print it, for editors and CI."""
    click.echo(json.dumps(schema(MODELS[daemon]), indent=2))


@config.command("check", help="Read a daemon's file and the environment as the daemon would, and print what comes of it.")
@DAEMON
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check_file(daemon: str, file: Path | None) -> None:
    """Load it; an error names the key, why, and what to do. Of secrets it prints whether they are set, and whence they come."""
    click.echo(json.dumps(shown(load(MODELS[daemon], file=file, environ=os.environ)), indent=2))
