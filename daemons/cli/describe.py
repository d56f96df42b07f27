"""``sliceward describe`` and ``sliceward explain``: everything about one thing, and why what was done was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click
from rich.text import Text
from rich.tree import Tree

from sliceward.daemons.cli import finding_story
from sliceward.daemons.cli.client import CannotAsk, Client, SaidNo, with_client
from sliceward.daemons.cli.fleet_file import fleet_options, told_of
from sliceward.daemons.cli.gang_story import stands
from sliceward.daemons.cli.output import console, output_option, print_data
from sliceward.playbooks.explain import explain as explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Row = Mapping[str, Any]

KINDS = ("host", "cube", "slice", "gang", "link", "finding", "incident", "playbook")


@click.command(
    help="Tell everything about one part, gang or incident.\n\nNAME is kind/name, e.g. host/gke-tpu-1, gang/ml/llm, incident/inc-0a1b2c3d4e."
)
@click.argument("name")
@output_option
@with_client
def describe(client: Client, name: str, output: str) -> None:
    """Find the thing and print it as a tree."""
    found = find(client, name)
    if output != "table":
        print_data(found, output)
        return
    console().print(_tree(name, found))


@click.command(
    help="Tell why: what was seen, which rule, what budget, what was done, what came of it; and why not for every other playbook."
    "\n\nNAME is an incident (inc-0a1b2c3d4e); or finding/ID: why this part and not its neighbour; or"
    " gang/NAMESPACE/NAME: then why the gang waits and what would help, or what hurts it and"
    " the ways out with their prices."
)
@click.argument("name")
@fleet_options
@output_option
@with_client
def explain(client: Client, *, name: str, file: Path | None, quota: Path | None, output: str) -> None:
    """Print the decision record of an incident from its record alone, or how a gang stands."""
    if name.partition("/")[0] == "gang" or "/gang/" in name:
        _explain_gang(
            client.get("placement?" + urlencode({"gang": name})) if file is None else told_of(file, quota, name), output
        )
        return
    if file is not None:
        raise click.UsageError("A file knows no incidents: name a gang with --fleet.")
    if name.startswith("finding/"):
        _explain_finding(find(client, name), output)
        return
    found = client.get(f"incidents/{name.removeprefix('incident/')}")
    if output != "table":
        print_data(
            {key: found[key] for key in ("id", "kind", "part", "findings", "decisions", "steps", "pages", "timeline")}, output
        )
        return
    out = console()
    for line in story(found):
        out.print(line)


def _explain_finding(found: Row, output: str) -> None:
    if output != "table":
        print_data(found, output)
        return
    out = console()
    for line in finding_story.story(found):
        out.print(Text(line, style="" if line.startswith(" ") else "bold"), no_wrap="│" in line, crop=False)


def _explain_gang(found: Row, output: str) -> None:
    if output != "table":
        print_data(found, output)
        return
    for line in stands(found):
        console().print(line)


def find(client: Client, name: str) -> Row:
    """Give the row that ``kind/name`` or a printed id means.

    Raises:
        CannotAsk: the kind is unknown.
        SaidNo: nothing of that name exists.
    """
    kind, _, rest = name.partition("/")
    if kind not in KINDS and rest.partition("/")[0] in KINDS:
        kind, rest = rest.partition("/")[0], name
    if kind not in KINDS or not rest:
        raise CannotAsk(f"{name!r} is not kind/name", f"Kinds: {', '.join(KINDS)}. `sliceward get hosts -o name` lists names.")
    if kind == "incident":
        found: Row = client.get(f"incidents/{rest}")
        return found
    matching = []
    for row in client.rows(f"{kind}s", limit=100_000):
        identity = row.get("id") or row["name"]
        names = {identity, row.get("name"), identity.partition("/")[2], "/".join(identity.split("/")[2:])}
        if kind == "gang":
            names |= {f"{row['namespace']}/{row['name']}", row["key"]}
        if rest in names or name in names:
            matching.append(row)
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise CannotAsk(f"{name!r} means {len(matching)} things", f"Say which: {', '.join(row['id'] for row in matching)}")
    raise SaidNo(f"there is no {kind} {rest!r}", f"`sliceward get {kind}s` lists them.")


def story(incident: Row) -> Iterator[Text]:
    """Tell the record as lines: headings, then what stands under each."""
    for place, line in enumerate(explained(incident).splitlines()):
        if place == 0 or not line.startswith(" "):
            yield Text(line, style="bold")
        else:
            yield Text(line, style=next((style for word, style in _TOLD.items() if word in line), ""))


_TOLD = {": true ": "green", ": false ": "red", ": error: ": "red", ": NO,": "red", ": OVER": "red", " step-failed: ": "red"}
"""How a line of the record tells that something held, or did not."""


def _flat(value: object) -> bool:
    return isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)


def _tree(title: str, value: object) -> Tree:
    tree = Tree(Text(title, style="bold"))
    _grow(tree, value)
    return tree


def _grow(tree: Tree, value: object) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if (
            isinstance(value, list)
            and isinstance(inner, dict)
            and not any(isinstance(one, dict | list) and one for one in inner.values())
        ):
            tree.add(Text(", ".join(f"{name}={one}" for name, one in inner.items() if one not in (None, "", [], {}))))
        elif isinstance(inner, dict | list) and inner and not _flat(inner):
            title = inner.get("id") or inner.get("name") if isinstance(inner, dict) and isinstance(value, list) else None
            _grow(tree.add(Text(str(title or key), style="bold")), inner)
        elif isinstance(inner, list) and inner:
            tree.add(Text(f"{key}: {', '.join(map(str, inner))}"))
        else:
            tree.add(Text(f"{key}: {'-' if inner in (None, [], {}) else inner}"))
