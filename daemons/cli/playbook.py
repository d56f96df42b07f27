"""``sliceward playbook lint|plan|list|schema``: what is wrong with playbook files, and what a playbook would change.

Everything about files is read here, without a coordinator; the plan of an incident comes from the coordinator, which
knows the playbooks that it runs and the fleet that they would change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from sliceward.daemons.cli.client import Client, with_client
from sliceward.daemons.cli.complaining import complain
from sliceward.daemons.cli.output import console, output_option, print_data, print_rows
from sliceward.playbooks import record
from sliceward.playbooks.lint import lint
from sliceward.playbooks.load import Playbook, load_book, load_playbook
from sliceward.playbooks.plan import plan
from sliceward.playbooks.schema import json_schema
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.complaint import Complaint
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

PATHS = click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="FILE|FOLDER...")


@click.group(help="Lint playbooks, or plan what they would do.")
def playbook() -> None:
    """Hold the commands."""


@playbook.command(
    "lint",
    help="Say what is wrong or doubtful with playbook files; without FILE|FOLDER with the shipped ones. Exit 1 on an error.",
)
@PATHS
@click.option("--strict", is_flag=True, help="Exit 1 on a warning too.")
@output_option
def lint_files(paths: Sequence[Path], *, strict: bool, output: str) -> None:
    """Read all files together, so that names that stand twice and playbooks that are never reached are seen."""
    texts, unreadable = _read_all(paths)
    complaints = [*map(Complaint.error, unreadable)]
    complaints += lint(texts, ACTIONS)
    complain(complaints, files=len(texts) + len(unreadable), strict=strict, output=output)


@playbook.command(
    "plan",
    help="Print in order what would be done, without doing it.\n\nNAME is a playbook file, the name of a shipped playbook, or an open"
    " incident (inc-0a1b2c3d4e): then the coordinator tells, with its own playbooks and the fleet as it is now.",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@output_option
@with_client
def plan_them(client: Client, names: Sequence[str], output: str) -> None:
    """Print one plan after the other."""
    plans = [one for name in names for one in _plans(client, name)]
    if output in ("json", "yaml"):
        print_data(plans, output)
        return
    for one in plans:
        if output == "name":
            click.echo(one["playbook"])
        else:
            _show(one)


@playbook.command("list", help="List the playbooks of files; without FILE|FOLDER the shipped ones.")
@PATHS
@output_option
def list_them(paths: Sequence[Path], output: str) -> None:
    """Load and list them in the order in which they are looked at. `sliceward get playbooks` lists a coordinator's."""
    rows = [
        {
            "name": one.name,
            "priority": one.spec.priority,
            "mode": one.mode.value,
            "kinds": sorted({kind.value for selector in one.spec.trigger.findings for kind in selector.kinds}),
            "summary": one.spec.summary,
            "where": one.where,
        }
        for one in load_book(texts_of(paths), ACTIONS).playbooks
    ]
    columns = {
        "NAME": lambda r: r["name"],
        "PRIORITY": lambda r: r["priority"],
        "MODE": lambda r: r["mode"],
        "KINDS": lambda r: ", ".join(r["kinds"]),
        "SUMMARY": lambda r: r["summary"],
    }
    print_rows(rows, columns, output)


@playbook.command("schema", help="Print the JSON Schema of a playbook file, for editors and CI.")
def print_schema() -> None:
    """Print it."""
    click.echo(json.dumps(json_schema(), indent=2))


def texts_of(paths: Sequence[Path]) -> dict[str, str]:
    """Give the text of each file, and of each YAML file in a folder, by its path; the shipped ones where no path is given.

    Raises:
        Misconfigured: a path that does not exist, cannot be read, or is a folder without a YAML file.
    """
    texts, unreadable = _read_all(paths)
    if unreadable:
        raise unreadable[0]
    return texts


def _read_all(paths: Sequence[Path]) -> tuple[dict[str, str], list[Misconfigured]]:
    """Give what is text, and what is wrong with what is none."""
    if not paths:
        return {f"shipped/{name}": text for name, text in shipped().items()}, []
    texts: dict[str, str] = {}
    unreadable = []
    for path in paths:
        files = sorted((*path.rglob("*.yaml"), *path.rglob("*.yml"))) if path.is_dir() else [path]
        if not files:
            raise Misconfigured(str(path), "holds no YAML file", "Name a playbook file or a folder with playbooks")
        for file in files:
            try:
                texts[str(file)] = file.read_text(encoding="utf-8")
            except OSError as error:
                raise Misconfigured(str(file), f"cannot be read: {error.strerror}", "Name a playbook file") from None
            except UnicodeDecodeError as error:
                why = f"is not UTF-8: {error.reason} after {error.start} bytes"
                unreadable.append(Misconfigured(str(file), why, "Save it as UTF-8"))
    return texts, unreadable


def _plans(client: Client, name: str) -> list[Row]:
    path = Path(name)
    if path.exists():
        return [_planned(load_playbook(text, where, ACTIONS)) for where, text in texts_of([path]).items()]
    if name.startswith(("incident/", "inc-")):
        return [client.get(f"incidents/{name.removeprefix('incident/')}/plan")]
    book = load_book(shipped(), ACTIONS)
    found = book.named(name)
    if found is None:
        known = ", ".join(one.name for one in book.playbooks)
        raise Misconfigured(
            name,
            "is no file, no incident (inc-…) and no shipped playbook",
            f"Shipped are: {known}; see also `sliceward get incidents`",
        )
    return [_planned(found)]


def _planned(one: Playbook) -> Row:
    changes = [record.plain(change) for change in plan(one, ACTIONS)]
    return {"incident": None, "playbook": one.name, "mode": one.mode.value, "why": one.spec.summary, "changes": changes}


def _show(planned: Row) -> None:
    out = console()
    title = planned["playbook"] or "no playbook"
    about = f"{planned['incident']}: " if planned["incident"] else ""
    out.print(Text(f"{about}{title}", style="bold") + Text(f" (mode {planned['mode'] or '-'})"))
    out.print(Text(f"  {planned['why']}", style="dim"))
    if not planned["changes"]:
        out.print(Text("  nothing would be changed"))
    failing = False
    for change in planned["changes"]:
        if change["on_failure_only"] and not failing:
            failing = True
            out.print(Text("  if a step fails:", style="dim"))
        out.print(_line(change))


def _line(change: Row) -> Text:
    notes = [text for text, there in (("irreversible", change["irreversible"]), ("harms", change["harm"])) if there]
    notes += [f"undone by {change['undo']}"] if change["undo"] else []
    line = Text(f"  {change['number']:>2}. {change['action']:<18} {change['about']}")
    line.append(f" ({', '.join(notes)})" if notes else "", style="yellow")
    state = change.get("state", "pending")
    if change["applies"] is False:
        line.append("  skipped", style="dim")
    elif state != "pending":
        line.append(f"  {state}", style="green" if state == "done" else "red" if state == "failed" else "blue")
    elif isinstance(change["applies"], str):
        line.append(f"  if {change['applies']}", style="dim")
    return line
