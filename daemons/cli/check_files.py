"""What a daemon's configuration and the files that it names say, as lines of `sliceward check`; nothing is asked over a network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.cli.config import MODELS
from sliceward.daemons.cli.lines import Line, well, wrong
from sliceward.daemons.coordinator.alerts import read_map
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.coordinator.tokens import Tokens
from sliceward.daemons.settings import load
from sliceward.daemons.shown import secrets_of
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.scheduling.quota import Quota
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sliceward.daemons.settings import Settings
    from sliceward.playbooks.load import Book


def read(daemon: str, file: Path | None, environ: Mapping[str, str]) -> tuple[Settings | None, list[Line]]:
    """Load a daemon's configuration as it would itself; without a file from the environment alone."""
    about = f"configuration of the {daemon}"
    try:
        settings = load(MODELS[daemon], file=file, environ=environ)
    except Misconfigured as error:
        return None, [mistake(about, error)]
    return settings, [well(about, f"{file or 'the environment'} can be read"), *_secrets(daemon, settings)]


def mistake(about: str, error: Misconfigured) -> Line:
    """Give the line of a mistake that somebody made in a file."""
    return wrong(about, f"{error.where}: {error.why}", error.what_to_do or "Correct it; see docs/configuration.md.")


def _secrets(daemon: str, settings: Settings) -> Iterator[Line]:
    found = list(secrets_of(settings))
    good = 0
    for path, secret in found:
        try:
            secret.reveal()
        except Misconfigured as error:
            yield mistake(f"secret {path} of the {daemon}", error)
        else:
            good += 1
    if good:
        yield well(f"secrets of the {daemon}", f"{good} of {len(found)} can be read")


def names_agree(found: Sequence[Settings]) -> Iterator[Line]:
    """Compare the clusters' names in the daemons' files: they stand in every topic, and must be the same letter by letter."""
    known = [cluster.name for one in found if isinstance(one, CoordinatorSettings) for cluster in one.clusters]
    for settings in found if known else ():
        match settings:
            case WatcherSettings():
                yield _same("watcher", settings.cluster.name, known)
            case AgentSettings():
                yield _same("agent", settings.cluster, known)
            case _:
                continue


def _same(daemon: str, name: str, known: Sequence[str]) -> Line:
    about = f"cluster of the {daemon}"
    if name in known:
        return well(about, f"{name} is one of the coordinator's")
    hint = "Write the same name in both files: what it tells is heard by nobody."
    return wrong(about, f"{name} is none of the coordinator's ({', '.join(known)})", hint)


def coordinator_files(settings: CoordinatorSettings) -> Iterator[Line]:
    """Read alert map, quota and tokens as the coordinator does at its start."""
    if settings.alerts.map is not None:
        path = settings.alerts.map
        yield _tried("alert map", lambda: f"{path} has {len(read_map(path).rules)} rules")
    if settings.quota:
        yield _tried("quota", lambda: f"{len(Quota.from_mapping(settings.quota).nominal)} limits")
    yield _tried("API tokens", lambda: _tokens(settings))


def _tried(about: str, read_it: Callable[[], str]) -> Line:
    try:
        return well(about, read_it())
    except Misconfigured as error:
        return mistake(about, error)


def summary(book: Book) -> str:
    """Say how many playbooks there are, and how far they may go."""
    modes = sorted({playbook.mode.value for playbook in book.playbooks})
    return f"{len(book.playbooks)} can be used, in mode {' and '.join(modes)}"


def _tokens(settings: CoordinatorSettings) -> str:
    Tokens(settings.api.tokens, time.monotonic)
    if not settings.api.tokens:
        return "none: the API is open to all on loopback"
    return ", ".join(f"{token.name} may {token.role}" for token in settings.api.tokens)
