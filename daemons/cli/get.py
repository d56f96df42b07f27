"""``sliceward get KIND``: lists of what the coordinator knows, one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import click

from sliceward.daemons.cli.client import Client, with_client
from sliceward.daemons.cli.output import output_option, print_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Row = Mapping[str, Any]
    Columns = Mapping[str, Callable[[Row], object]]


def _short(identity: str | None) -> str:
    return "/".join(identity.split("/")[2:]) if identity and identity.count("/") > 1 else identity or ""


def _progress(row: Row, key: str) -> object:
    value = (row.get("progress") or {}).get(key)
    return f"{value:.2f}" if isinstance(value, float) else value


def _marks(row: Row) -> str:
    marks = [f"{mark['key']}={mark['value']}{'' if mark['ours'] else ' (not ours)'}" for mark in row["marks"]]
    return ", ".join(marks + (["cordoned"] if row["cordoned"] else []))


COLUMNS: dict[str, Columns] = {
    "hosts": {
        "NAME": lambda r: r["name"],
        "CUBE": lambda r: _short(r["cube"]),
        "HEALTH": lambda r: r["health"],
        "READY": lambda r: r["ready"],
        "IN SERVICE": lambda r: "yes" if r["in_service"] else "no",
        "GANG": lambda r: _short(r["gang"]),
        "MARKS": _marks,
    },
    "cubes": {
        "NAME": lambda r: r["name"],
        "HEALTH": lambda r: r["health"],
        "STATE": lambda r: r["state"],
        "IN SERVICE": lambda r: "yes" if r["in_service"] else "no",
        "GANG": lambda r: _short(r["gang"]) or ("(spare)" if r["spare"] else ""),
        "INCIDENT": lambda r: r["incident"],
    },
    "slices": {
        "NAME": lambda r: _short(r["id"]),
        "SHAPE": lambda r: "x".join(map(str, r["shape"])),
        "CUBES": lambda r: ", ".join(map(_short, r["cubes"])),
        "GANG": lambda r: _short(r["gang"]),
    },
    "gangs": {
        "NAME": lambda r: f"{r['namespace']}/{r['name']}",
        "STATE": lambda r: r["state"],
        "CHIPS": lambda r: r["chips"],
        "SLICES ON": lambda r: ", ".join("+".join(map(_short, s["cubes"])) for s in r["slices"]),
        "STEP": lambda r: _progress(r, "step"),
        "STEPS/S": lambda r: _progress(r, "rate"),
        "CHECKPOINT": lambda r: _progress(r, "checkpoint_step"),
        "TENANT": lambda r: r["tenant"],
        "MANAGED BY": lambda r: r["managed_by"],
    },
    "links": {
        "LINK": lambda r: _short(r["id"]),
        "KIND": lambda r: r["kind"],
        "STATE": lambda r: r["state"],
        "BETWEEN CUBES": lambda r: "yes" if r["between_cubes"] else "no",
        "INCIDENT": lambda r: r["incident"],
    },
    "findings": {
        "KIND": lambda r: r["kind"],
        "PART": lambda r: _short(r["part"]),
        "STATE": lambda r: r["state"],
        "SCORE": lambda r: f"{r['score']:.2f}" if r["score"] is not None else "",
        "SINCE": lambda r: r["since"],
        "TEXT": lambda r: r["text"],
    },
    "incidents": {
        "ID": lambda r: r["id"],
        "KIND": lambda r: r["kind"],
        "PART": lambda r: _short(r["part"]),
        "PHASE": lambda r: r["how"] or r["phase"],
        "GANG": lambda r: _short(r["gang"]),
        "PLAYBOOK": lambda r: r["playbook"],
        "MODE": lambda r: r["mode"],
        "OPENED": lambda r: r["opened"],
    },
    "quota": {
        "TENANT": lambda r: r["tenant"],
        "GENERATION": lambda r: r["generation"],
        "NOMINAL": lambda r: r["nominal"],
        "USED": lambda r: r["used"],
    },
    "pages": {
        "INCIDENT": lambda r: r["incident"],
        "EVENT": lambda r: r["event"],
        "PAGER": lambda r: r["pager"],
        "STATE": lambda r: r["state"],
        "ATTEMPTS": lambda r: r["attempts"],
        "SUMMARY": lambda r: r["summary"],
    },
    "alerts": {
        "RECEIVER": lambda r: r["receiver"],
        "ALERT": lambda r: r["alertname"],
        "STATUS": lambda r: r["status"],
        "FINDING": lambda r: r["finding"],
        "RECEIVED": lambda r: r["received"],
        "WHY NOT": lambda r: r["why"],
    },
    "playbooks": {
        "NAME": lambda r: r["name"],
        "MODE": lambda r: r["mode"],
        "KINDS": lambda r: ", ".join(r["kinds"]),
        "SUMMARY": lambda r: r["summary"],
    },
    "loops": {
        "LOOP": lambda r: r["name"],
        "AGE": lambda r: f"{r['age']:.1f} s",
        "DEADLINE": lambda r: f"{r['deadline']:.0f} s",
        "STATE": lambda r: "late" if r["late"] else "ok",
        "SET ASIDE": lambda r: ", ".join(r["set_aside"]),
        "ERROR": lambda r: r["error"],
    },
    "audit": {
        "AT": lambda r: r["at"],
        "WHO": lambda r: r["who"],
        "WHAT": lambda r: r["what"],
        "ABOUT": lambda r: r["about"],
        "REASON": lambda r: r["reason"],
    },
}


@click.command(help="List parts, gangs, incidents and the rest: one line each.")
@click.argument("kind", type=click.Choice(sorted(COLUMNS)))
@click.option("-l", "--where", multiple=True, metavar="KEY=VALUE", help="Only rows with this, e.g. -l cluster=c1 -l state=open.")
@click.option("--limit", type=click.IntRange(min=1), default=500, show_default=True, help="At most this many rows.")
@output_option
@with_client
def get(client: Client, kind: str, *, where: tuple[str, ...], limit: int, output: str) -> None:
    """Ask for rows and print them."""
    filters = dict(pair.split("=", 1) if "=" in pair else _not_a_pair(pair) for pair in where)
    print_rows(client.rows(kind, limit=limit, **filters), COLUMNS[kind], output)


def _not_a_pair(text: str) -> NoReturn:
    raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--where")
