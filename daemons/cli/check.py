"""``sliceward check``: line by line what is reachable from here, how old it is, and what to do about what is not.

Exit code 0: all well; 1: something is wrong; 2: the coordinator could not be asked (the rest is still checked).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
from rich.text import Text

from sliceward.daemons.cli.client import CannotAsk, Client, with_client
from sliceward.daemons.cli.output import console, output_option, print_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE = 3.0
ADDRESSES = {
    "SLICEWARD_MQTT_URL": (
        "broker, from here",
        1883,
        "Start the broker, or correct SLICEWARD_MQTT_URL; see deploy/ for an example Mosquitto.",
    ),
    "SLICEWARD_PROMETHEUS_URL": (
        "Prometheus, from here",
        9090,
        "Correct SLICEWARD_PROMETHEUS_URL, or leave it out: frames alone are enough.",
    ),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One fact: ``ok``, what it is about, what was found, what to do where it is not well."""

    ok: bool
    about: str
    found: str
    what_to_do: str = ""


@click.command(help="Say line by line what is reachable, and what to do about what is not.")
@output_option
@with_client
def check(client: Client, output: str) -> None:
    """Ask everything that can be asked from here."""
    lines, code = list(asyncio.run(addresses(os.environ))), 0
    try:
        lines = [Line(ok=True, about="coordinator", found=f"answers at {client.server}"), *coordinator(client), *lines]
    except CannotAsk as error:
        why, _, what_to_do = error.message.partition("\n")
        lines, code = [Line(ok=False, about="coordinator", found=why, what_to_do=what_to_do.strip()), *lines], 2
    if output in ("json", "yaml"):
        print_data([asdict(line) for line in lines], output)
    else:
        for line in lines:
            _show(line)
    raise SystemExit(code or int(any(not line.ok for line in lines)))


def coordinator(client: Client) -> Iterator[Line]:
    """Read the coordinator's own view: mode, store, broker, clusters, loops."""
    status = client.get("status")
    yield Line(ok=True, about="version", found=f"{status['version']}, mode {status['mode']}, since {status['started']}")
    if status["paused"]:
        yield Line(
            ok=False,
            about="paused",
            found="harm is stopped, healing goes on",
            what_to_do="`sliceward resume` when the cause is gone.",
        )
    yield _dependency("store", status["store"], "See the coordinator's log; nothing is decided while the store is away.")
    yield _dependency(
        "broker", status["broker"], "Findings age to unknown while the broker is away; nothing is drained meanwhile."
    )
    for cluster in status["clusters"]:
        yield from _cluster(cluster)
    for loop in client.rows("loops", limit=500):
        age = f"{loop['age']:.1f} s since its last round, deadline {loop['deadline']:.0f} s"
        yield Line(
            ok=not loop["late"],
            about=f"loop {loop['name']}",
            found=age,
            what_to_do="" if not loop["late"] else f"Its last error: {loop['error'] or 'none, it hangs; see the log'}",
        )
        for name, why in loop["set_aside"].items():
            yield Line(
                ok=False,
                about=f"loop {loop['name']}",
                found=f"{name} is set aside: {why}",
                what_to_do="Mend or delete it; the rest goes on.",
            )


def _cluster(cluster: Mapping[str, Any]) -> Iterator[Line]:
    about = f"cluster {cluster['name']}"
    part = {"ok": cluster["reachable"], "age_seconds": cluster["age_seconds"], "why": cluster["why"]}
    yield _dependency(about, part, "Check its kubeconfig and context, and that the API server answers.")
    if cluster["reachable"] and not cluster["hosts"]:
        found = "no TPU host is known"
        yield Line(
            ok=False, about=about, found=found, what_to_do="Check the labels of its nodes; `sliceward get hosts` is empty."
        )
    yield _dependency(f"broker of {cluster['name']}", cluster["broker"], "Check its address, password and certificate.")
    yield _watcher(cluster)
    for reason, count in cluster["bad_messages"].items():
        if count and reason.startswith("bad"):
            why = "Find the speaker that is not of this version; messages that cannot be read are skipped."
            yield Line(ok=False, about=about, found=f"{count} messages {reason.replace('_', ' ')}", what_to_do=why)


def _watcher(cluster: Mapping[str, Any]) -> Line:
    heard, why = cluster["watcher_age_seconds"], cluster["watcher_why"]
    found = "never heard of" if heard is None else f"last told something {heard:.1f} s ago"
    what_to_do = ""
    if not cluster["watched"]:
        what_to_do = "Start `sliceward watcher`, or see its log; until it speaks, every part is unknown."
    elif why:
        what_to_do = "See the watcher's log."
    return Line(
        ok=not what_to_do,
        about=f"watcher of {cluster['name']}",
        found=f"{found}: {why}" if why else found,
        what_to_do=what_to_do,
    )


def _dependency(about: str, part: Mapping[str, Any], what_to_do: str) -> Line:
    age = part.get("age_seconds")
    found = "never answered" if age is None else f"answered {age:.1f} s ago"
    if not part["ok"] and part.get("why"):
        found += f": {part['why']}"
    return Line(ok=part["ok"], about=about, found=found, what_to_do="" if part["ok"] else what_to_do)


async def addresses(environ: Mapping[str, str]) -> list[Line]:
    """Try the addresses that the environment names, all at once."""
    named = [(environ[name], *about) for name, about in ADDRESSES.items() if environ.get(name)]
    return list(await asyncio.gather(*(_reach(url, about, port, what_to_do) for url, about, port, what_to_do in named)))


async def _reach(url: str, about: str, port: int, what_to_do: str) -> Line:
    try:
        parts = urlsplit(url)
        host, number = parts.hostname, parts.port or port
    except ValueError as error:
        return Line(ok=False, about=about, found=f"{error}", what_to_do=what_to_do)
    if not host:
        return Line(ok=False, about=about, found=f"{url!r} names no host", what_to_do=what_to_do)
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, number)
    except OSError as error:
        return Line(
            ok=False, about=about, found=f"{host}:{number} does not answer: {error or 'no answer in 3 s'}", what_to_do=what_to_do
        )
    writer.close()
    return Line(ok=True, about=about, found=f"{host}:{number} answers")


def _show(line: Line) -> None:
    mark = Text("✓ " if line.ok else "✗ ", style="green" if line.ok else "red")
    console().print(mark + Text(f"{line.about}: {line.found}"))
    if line.what_to_do:
        console().print(Text(f"    {line.what_to_do}", style="dim"))
