"""``sliceward check``: line by line what is well, why not, and the next step.

Without a file: what the coordinator says of itself, and the addresses that the environment names. With a daemon's
configuration: everything that it would need, tried from here. Nothing is changed, no lead is taken, nobody is paged.
Exit code 0: all well; 1: something is wrong; 2: the coordinator could not be asked (the rest is still checked).
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.cli.check_broker import broker, reachable
from sliceward.daemons.cli.check_cluster import cluster, needs, to_lead, to_mirror
from sliceward.daemons.cli.check_coordinator import coordinator
from sliceward.daemons.cli.check_files import coordinator_files, mistake, names_agree, read, summary
from sliceward.daemons.cli.check_http import pager, prometheus, provider, session
from sliceward.daemons.cli.client import CannotAsk, Client, with_client
from sliceward.daemons.cli.lines import Line, show, well, wrong
from sliceward.daemons.cli.output import output_option, print_data
from sliceward.daemons.coordinator.run import read_book, store_url
from sliceward.daemons.coordinator.settings import CoordinatorSettings, LeaderSettings
from sliceward.daemons.settings import ClusterSettings
from sliceward.daemons.store.look import look
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.daemons.watcher.surroundings import KINDS
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.daemons.settings import Settings
    from sliceward.playbooks.load import Book

FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
ENVIRONMENT = Path("-")


@dataclass(frozen=True, slots=True)
class Files:
    """The configuration files to try; `ENVIRONMENT`: what the environment alone makes."""

    coordinator: Path | None = None
    watcher: Path | None = None
    agent: Path | None = None

    def named(self) -> dict[str, Path | None]:
        """Give those that were named, by daemon; None: from the environment alone."""
        given = {"coordinator": self.coordinator, "watcher": self.watcher, "agent": self.agent}
        return {daemon: None if file == ENVIRONMENT else file for daemon, file in given.items() if file is not None}


@click.command(
    help="Say line by line what is reachable, and what to do about what is not.\n\nWith a daemon's configuration file (- : the"
    " environment alone) everything that it needs is tried from here too: files, secrets, broker, store, API server, rights, pagers."
)
@click.option("--coordinator", "coordinator_file", type=FILE, help="The coordinator's YAML file.")
@click.option("--watcher", "watcher_file", type=FILE, help="The watcher's YAML file.")
@click.option("--agent", "agent_file", type=FILE, help="The agent's YAML file.")
@output_option
@with_client
def check(client: Client, output: str, coordinator_file: Path | None, watcher_file: Path | None, agent_file: Path | None) -> None:
    """Ask everything that can be asked from here."""
    quietly()
    lines, code = everything(client, Files(coordinator_file, watcher_file, agent_file), os.environ)
    if output in ("json", "yaml"):
        print_data([asdict(line) for line in lines], output)
    else:
        for line in lines:
            show(line)
    raise SystemExit(code or int(any(not line.ok for line in lines)))


def quietly() -> None:
    """Let the wires not log their tries: the lines tell of them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def everything(client: Client, files: Files, environ: Mapping[str, str]) -> tuple[list[Line], int]:
    """Give all lines, and 2 where the coordinator did not answer, else 0."""
    lines: list[Line] = []
    code = 0
    try:
        lines += coordinator(client)
    except CannotAsk as error:
        why, _, what_to_do = error.message.partition("\n")
        lines, code = [wrong("coordinator", why, what_to_do.strip())], 2
    lines += asyncio.run(_from_here(files.named(), environ))
    return lines, code


async def _from_here(files: Mapping[str, Path | None], environ: Mapping[str, str]) -> list[Line]:
    if not files:
        return await _addresses(environ)
    lines: list[Line] = []
    found: list[Settings] = []
    for daemon, file in files.items():
        settings, told = read(daemon, file, environ)
        lines += told
        if settings is not None:
            found.append(settings)
    lines += names_agree(found)
    for settings in found:
        lines += await _tried(settings)
    return _once(lines)


def _once(lines: Iterable[Line]) -> list[Line]:
    """Leave out what was found before: a secret that cannot be read stops each thing that needs it, and is told once."""
    kept: dict[tuple[str, str], Line] = {}
    for line in lines:
        kept.setdefault((line.found, "" if not line.ok else line.about), line)
    return list(kept.values())


async def _tried(settings: Settings) -> list[Line]:
    match settings:
        case CoordinatorSettings():
            return await _as_coordinator(settings)
        case WatcherSettings(cluster=place):
            lines = await broker(place.name, place.broker, with_watchers=False)
            lines += await cluster(place, to_mirror(KINDS)) if settings.kubernetes else []
            async with session() as http:
                asked = settings.prometheus
                return [*lines, await prometheus(http, asked.url, asked.token)] if asked.url else lines
        case AgentSettings():
            return await broker(settings.cluster, settings.broker, with_watchers=False)
        case _:
            return []


async def _as_coordinator(settings: CoordinatorSettings) -> list[Line]:
    lines = list(coordinator_files(settings))
    book: Book | None = None
    try:
        book = read_book(settings.playbooks)
    except Misconfigured as error:
        lines.append(mistake("playbooks", error))
    else:
        lines.append(well("playbooks", summary(book)))
    wanted = needs(book, own=settings.leader.namespace)
    async with session() as http:
        asked = [_store(settings)]
        for place in settings.clusters:
            asked += [cluster(place, wanted), broker(place.name, place.broker, with_watchers=True)]
        if settings.leader.lease:
            asked.append(cluster(_of_the_lease(settings.leader), to_lead(settings.leader)))
        asked += [pager(http, one) for one in settings.pagers]
        asked.append(provider(http, settings.provider))
        for told in await asyncio.gather(*asked):
            lines += told
    return lines


def _of_the_lease(settings: LeaderSettings) -> ClusterSettings:
    """Give the cluster that holds the Lease; it may be none of the fleet's."""
    return ClusterSettings(name="the Lease", kubeconfig=settings.kubeconfig, context=settings.context)


async def _store(settings: CoordinatorSettings) -> list[Line]:
    try:
        return [well("store, from here", await look(store_url(settings.store)))]
    except Misconfigured as error:
        return [mistake("store, from here", error)]


async def _addresses(environ: Mapping[str, str]) -> list[Line]:
    """Try the addresses that the environment names."""
    lines = []
    if url := environ.get("SLICEWARD_MQTT_URL"):
        lines.append(await reachable("broker, from here", url))
    if url := environ.get("SLICEWARD_PROMETHEUS_URL"):
        async with session() as http:
            lines.append(await prometheus(http, url))
    return lines
