"""``sliceward support-bundle``: one redacted archive of what the coordinator says, for whoever helps.

Everything comes by the API, where secrets are not told to begin with; at the end all texts are swept once more. What cannot be
had is named in ``problems.txt``, and the rest is still there.
Exit code 0: all of it; 1: something is missing; 2: the coordinator could not be asked.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import click

from sliceward.daemons.cli.check import Files, everything, quietly
from sliceward.daemons.cli.client import CannotAsk, Client, with_client
from sliceward.daemons.cli.output import output_option, print_data
from sliceward.daemons.coordinator.configuration import versions
from sliceward.daemons.redaction import HIDDEN, PATHS, Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MOST_ROWS = 20_000
MOST_LOG = 16 * 1024 * 1024
"""Bytes of the end of a log; what went wrong last stands there."""
LISTS = {
    "findings": "every finding as it is known now",
    "playbooks": "the playbooks, their modes and conditions",
    "silences": "what people asked to leave alone",
    "windows": "maintenance windows of the configuration",
    "loops": "progress of each loop, its last error, what it set aside",
    "pages": "who was told what, and what was not delivered",
    "alerts": "alerts that came in, and what became of each",
    "audit": "who asked for what",
    "hosts": "the hosts as they are seen",
    "gangs": "the gangs as they are seen",
    "slices": "the slices as they are seen",
    "links": "links with a finding",
    "quota": "chips held and allowed",
}
TEXTS = {
    "metrics.txt": ("metrics", "figures for Prometheus"),
    "healthz.json": ("healthz", "liveness: progress of the loops"),
    "readyz.json": ("readyz", "readiness: store, brokers, API servers"),
}
_SECRET_NAME = re.compile(r"PASS|TOKEN|SECRET|KEY|CREDENTIAL", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the reader asked for, by the names of the options."""

    logs: Sequence[Path]
    secrets: Sequence[Path]
    incidents: int


@dataclass(frozen=True, slots=True)
class Held:
    """One file of the archive. ``bytes`` after, ``hidden`` how many secrets were cut out of it."""

    name: str
    about: str
    bytes: int
    hidden: int


@dataclass
class Bundle:
    """The archive while it is filled."""

    archive: tarfile.TarFile
    sweep: Sweep
    now: datetime
    say: Callable[[str], None]
    held: list[Held] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def put(self, name: str, about: str, text: str) -> None:
        """Add a file, swept."""
        before = self.sweep.found
        raw = self.sweep(text).encode("utf-8", errors="replace")
        entry = tarfile.TarInfo(f"sliceward-support/{name}")
        entry.size, entry.mtime, entry.mode = len(raw), int(self.now.timestamp()), 0o600
        self.archive.addfile(entry, io.BytesIO(raw))
        self.held.append(Held(name, about, len(raw), self.sweep.found - before))
        self.say(f"✓ {name}")

    def lacks(self, name: str, why: str) -> None:
        """Note what could not be had."""
        told = self.sweep(" ".join(why.split()))
        self.problems.append(f"{name}: {told}")
        self.say(f"✗ {name}: {told}")


@click.command("support-bundle", help="Write one redacted archive of what the coordinator says, for whoever helps you.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write; default: a name with the time.")
@click.option("--log", "logs", type=click.Path(path_type=Path), multiple=True, help="A log file to add; may be given again.")
@click.option(
    "--secret",
    "secrets",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A file, or a folder of files, that holds secrets: they are cut out wherever they stand. May be given again.",
)
@click.option(
    "--incidents", default=50, show_default=True, type=click.IntRange(0, 1000), help="Newest incidents with their story."
)
@output_option
@with_client
def support_bundle(client: Client, out: Path | None, output: str, **chosen: Any) -> None:  # noqa: ANN401 (click's)
    """Collect, sweep, write, and say what is in it."""
    quietly()
    wanted, now = Wanted(**chosen), datetime.now(UTC)
    path = out or Path(f"sliceward-support-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    sweep = Sweep([*_of_environment(os.environ), *_of_files((client.token_file, *wanted.secrets))], further=[PATHS])
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        bundle = Bundle(archive, sweep, now, lambda line: click.echo(line, err=True))
        asked = _fill(bundle, client, wanted)
        missing = "".join(f"{one}\n" for one in bundle.problems) or "nothing is missing\n"
        bundle.put("problems.txt", "what is missing, and why", missing)
        bundle.put("README.txt", "this list", _readme(bundle, client))
    _write(path, whole.getvalue())
    _told(path, bundle, output)
    raise SystemExit(2 if not asked else int(bool(bundle.problems)))


def _fill(bundle: Bundle, client: Client, wanted: Wanted) -> bool:
    """Put everything in. Gives whether the coordinator could be asked."""
    bundle.put("versions.json", "versions of this command and what it stands on", _json(versions()))
    names = sorted(name for name in os.environ if name.startswith("SLICEWARD_"))
    bundle.put("environment.txt", "names of variables that are set here, without their values", "".join(f"{n}\n" for n in names))
    lines, code = everything(client, Files(), os.environ)
    bundle.put("check.json", "what `sliceward check` says", _json([asdict(line) for line in lines]))
    asked = code == 0
    if asked:
        _ask(bundle, client, wanted.incidents)
    else:
        bundle.lacks("everything that the coordinator would tell", lines[0].found)
    for number, log in enumerate(wanted.logs, 1):
        _log(bundle, log, number)
    return asked


def _ask(bundle: Bundle, client: Client, incidents: int) -> None:
    _try(bundle, "status.json", "mode, clusters, store, brokers", partial(_answer, client, "status"))
    _try(bundle, "configuration.json", "settings without secrets, versions", partial(_answer, client, "configuration"))
    for kind, about in LISTS.items():
        _try(bundle, f"{kind}.json", about, partial(_rows, client, kind))
    for name, (path, about) in TEXTS.items():
        _try(bundle, name, about, partial(client.text, path))
    try:
        rows = client.rows("incidents", limit=MOST_ROWS)
    except CannotAsk as error:
        bundle.lacks("incidents.json", error.message)
        return
    bundle.put("incidents.json", "all incidents that are kept, newest first", _json(rows))
    told = [row["id"] for row in rows[:incidents]] + [row["id"] for row in rows[incidents:] if row["state"] == "open"]
    for one in told:
        _try(bundle, f"incidents/{one}.json", "its whole story", partial(_answer, client, f"incidents/{one}"))


def _answer(client: Client, path: str) -> str:
    return _json(client.get(path))


def _rows(client: Client, kind: str) -> str:
    return _json(client.rows(kind, limit=MOST_ROWS))


def _try(bundle: Bundle, name: str, about: str, read: Callable[[], str]) -> None:
    try:
        text = read()
    except CannotAsk as error:
        bundle.lacks(name, error.message)
    else:
        bundle.put(name, about, text)


def _log(bundle: Bundle, log: Path, number: int) -> None:
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST_LOG))
            text = file.read(MOST_LOG).decode("utf-8", errors="replace")
    except OSError as error:
        bundle.lacks(f"log {log}", str(error.strerror))
    else:
        bundle.put(f"logs/{number}-{log.name}", f"the end of {log}", text)


def _json(value: object) -> str:
    return json.dumps(value, indent=1, default=str, ensure_ascii=False) + "\n"


# ── what must not be in it ────────────────────────────────────────────────────────────────────────────────────────────


def _of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and not Path(value).exists():
            yield value
        if "://" in value:
            try:
                password = urlsplit(value).password
            except ValueError:
                continue
            yield from (password, unquote(password)) if password else ()


def _of_files(paths: Sequence[Path | None]) -> Iterator[str]:
    for path in paths:
        if path is None:
            continue
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            try:
                text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
            except OSError:
                continue
            yield text.strip()
            # A file may hold several, one a line or apart by spaces: each is one.
            yield from text.split()


# ── what is said of it ────────────────────────────────────────────────────────────────────────────────────────────────


def _readme(bundle: Bundle, client: Client) -> str:
    lines = [f"  {one.name:<34} {one.about}" for one in bundle.held if not one.name.startswith("incidents/")]
    stories = sum(one.name.startswith("incidents/") for one in bundle.held)
    return "\n".join(
        [
            f"Support bundle of sliceward {versions()['sliceward']}, made {bundle.now.isoformat()} from {client.server}.",
            "",
            *lines,
            f"  {'incidents/*.json':<34} {stories} incidents with their whole story",
            "",
            f"Secrets are not in it: settings say only whether one is set, and {bundle.sweep.found} texts that were, or looked like,",
            f"one are replaced by {HIDDEN}. It does name hosts, gangs, namespaces and people who asked for something.",
            "",
        ]
    )


def _write(path: Path, raw: bytes) -> None:
    try:
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        beside.replace(path)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}\n  Name another place with --out.") from error


def _told(path: Path, bundle: Bundle, output: str) -> None:
    if output == "name":
        click.echo(path)
        return
    size = path.stat().st_size
    if output in ("json", "yaml"):
        files = [asdict(one) for one in bundle.held]
        print_data({"path": str(path), "bytes": size, "files": files, "problems": bundle.problems}, output)
        return
    click.echo(f"{path}: {len(bundle.held)} files, {size / 1024:.0f} KiB, {bundle.sweep.found} secrets cut out")
    if bundle.problems:
        click.echo(f"{len(bundle.problems)} things are missing; problems.txt in it says which and why")
    click.echo("Look through it before you give it away: it names hosts, gangs and people. README.txt in it lists what is there.")
