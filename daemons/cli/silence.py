"""``sliceward silence add|list|end``: leave parts, gangs or playbooks alone for a while. Harm is held, healing goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from sliceward.daemons.cli.client import Client, with_client
from sliceward.daemons.cli.output import output_option, print_data, print_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Row = Mapping[str, Any]

KINDS = ("host", "cube", "gang", "playbook")
STATES = ("active", "pending", "ended")
REASON = click.option("--reason", required=True, help="Why; stands in the record.")


def _what(row: Row) -> str:
    return "; ".join(f"{kind} {', '.join(patterns)}" for kind, patterns in row["matches"].items() if patterns)


COLUMNS: Mapping[str, Callable[[Row], object]] = {
    "ID": lambda r: r["id"],
    "STATE": lambda r: r["state"],
    "WHAT": _what,
    "FROM": lambda r: r["from"],
    "UNTIL": lambda r: r["until"],
    "BY": lambda r: r["by"],
    "WHY": lambda r: r["why"] + (f" (ended by {r['ended_by']}: {r['ended_why']})" if r["ended_by"] else ""),
}


@click.group(help="Leave hosts, cubes, gangs or playbooks alone for a while: harm is held, healing goes on.")
def silence() -> None:
    """Hold the three commands."""


@silence.command(
    help="Begin a silence.\n\nA PATTERN is a name, an id or a glob of either: gke-tpu-1, prod-eu/cube/4x4x4-*, ml/llm. Of one kind any must fit, "
    "of the kinds that are given all."
)
@click.option("--host", multiple=True, metavar="PATTERN", help="Hosts.")
@click.option("--cube", multiple=True, metavar="PATTERN", help="Cubes, with all their hosts.")
@click.option("--gang", multiple=True, metavar="PATTERN", help="Gangs, as namespace/name.")
@click.option("--playbook", multiple=True, metavar="PATTERN", help="Playbooks.")
@click.option("--for", "lasts", metavar="DURATION", help="How long: 30m, 2h, 1d; at most 30d.")
@click.option("--until", metavar="TIME", help="Until when, with its offset: 2026-12-01T08:00:00+01:00.")
@click.option("--from", "begins", metavar="TIME", help="From when; default: now.")
@REASON
@output_option
@with_client
def add(client: Client, *, reason: str, output: str, **given: Any) -> None:  # noqa: ANN401 (options by name)
    """Begin a silence, and say what it fits."""
    matches = {f"{kind}s": list(given[kind]) for kind in KINDS if given[kind]}
    if not matches:
        raise click.UsageError("Say what: --host, --cube, --gang or --playbook.")
    if (given["lasts"] is None) == (given["until"] is None):
        raise click.UsageError("Say how long: either --for or --until.")
    times = {"for": given["lasts"], "until": given["until"], "from": given["begins"]}
    body = {"reason": reason, "matches": matches} | {name: value for name, value in times.items() if value is not None}
    made = client.post("silences", body)
    for kind, count in made["covers"].items():
        if not count:
            click.echo(f"warning: of the {kind} that are known now none fits {', '.join(matches[kind])}", err=True)
    if output == "table":
        fits = ", ".join(f"{count} {kind}" for kind, count in made["covers"].items())
        click.echo(f"{made['id']}: {made['state']} until {made['until']}; fits {fits}")
    else:
        _print(made, output)


@silence.command("list", help="List silences and maintenance windows that are in force or to come.")
@click.option("--all", "ended", is_flag=True, help="Also those that are over.")
@click.option("--limit", type=click.IntRange(min=1), default=500, show_default=True, help="At most this many of each state.")
@output_option
@with_client
def list_(client: Client, *, ended: bool, limit: int, output: str) -> None:
    """Ask for what is in force, what is to come, and the windows."""
    states = STATES if ended else STATES[:2]
    windows = client.rows("windows", limit=limit)
    rows = [
        row
        for state in states
        for row in (*client.rows("silences", limit=limit, state=state), *(one for one in windows if one["state"] == state))
    ]
    print_rows(rows, COLUMNS, output)


@silence.command(help="End a silence before its time.")
@click.argument("name")
@REASON
@output_option
@with_client
def end(client: Client, name: str, *, reason: str, output: str) -> None:
    """End it."""
    ended = client.post(f"silences/{quote(name, safe='')}/end", {"reason": reason})
    if output == "table":
        click.echo(f"{ended['id']}: ended")
    else:
        _print(ended, output)


def _print(row: Row, output: str) -> None:
    if output == "name":
        click.echo(row["id"])
    else:
        print_data(row, output)
