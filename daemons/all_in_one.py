"""``sliceward all-in-one``: watcher, coordinator, a broker where none is named, and an agent where this is a TPU host, in one process.

For a laptop and for a first look at a cluster. In production they are apart: one must be able to die without the others.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from sliceward.daemons import logs
from sliceward.daemons.agent.run import agent_of
from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.broker import running_broker
from sliceward.daemons.coordinator import run as coordinator
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load
from sliceward.daemons.watcher import run as watcher
from sliceward.daemons.watcher.settings import WatcherSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger(__name__)

_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Files:
    """Configuration files, one a daemon; each may be left out where the environment tells enough."""

    coordinator: Path | None
    watcher: Path | None
    agent: Path | None


@click.command(
    "all-in-one",
    help="Run watcher, coordinator and a broker in one process; with a node name, an agent too.\n\nThe short environment names set the one-cluster case; whatever has a section stands in the files.",
)
@click.option("--coordinator", "coordinator_file", type=_FILE, help="The coordinator's YAML file.")
@click.option("--watcher", "watcher_file", type=_FILE, help="The watcher's YAML file.")
@click.option(
    "--agent", "agent_file", type=_FILE, help="The agent's YAML file; without it and SLICEWARD_NODE_NAME, no agent runs."
)
@click.option("--broker-port", default=1883, show_default=True, help="Port on loopback of the broker, where none is named.")
def command(coordinator_file: Path | None, watcher_file: Path | None, agent_file: Path | None, *, broker_port: int) -> None:
    """Run until SIGTERM or Ctrl-C."""
    asyncio.run(serve(Files(coordinator_file, watcher_file, agent_file), os.environ, broker_port=broker_port))


async def serve(files: Files, environ: Mapping[str, str], *, broker_port: int) -> None:
    """Run until SIGTERM or SIGINT, or until one of the daemons ends."""
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    async with AsyncExitStack() as stack:
        # A variable with a section belongs to one daemon and is unknown to the others: here sections stand in the files.
        names = {"SLICEWARD_CLUSTER": "local"} | {name: value for name, value in environ.items() if "__" not in name}
        if not names.get("SLICEWARD_MQTT_URL"):
            names["SLICEWARD_MQTT_URL"] = await stack.enter_async_context(running_broker(broker_port))
        wanted = load(CoordinatorSettings, file=files.coordinator, environ=names)
        logs.configure(wanted.log)
        _, watching, _ = await stack.enter_async_context(
            watcher.running(load(WatcherSettings, file=files.watcher, environ=names))
        )
        leading = await stack.enter_async_context(coordinator.running(wanted))
        tasks = [watching, leading.working, asyncio.create_task(stopped.wait(), name="signals")]
        if files.agent is not None or names.get("SLICEWARD_NODE_NAME"):
            agent = agent_of(load(AgentSettings, file=files.agent, environ=names))
            tasks.append(asyncio.create_task(agent.run(), name="agent"))
        log.info("serving", broker=names["SLICEWARD_MQTT_URL"], page=f"http://{wanted.api.host}:{leading.port}/")
        ended, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others - {leading.working, watching}:
            task.cancel()
        await asyncio.gather(*(others - {leading.working, watching}), return_exceptions=True)
    for task in ended:
        task.result()
