"""``sliceward describe`` and ``sliceward explain``: everything about one thing, and why what was done was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.text import Text
from rich.tree import Tree

from sliceward.daemons.cli.client import CannotAsk, Client, with_client
from sliceward.daemons.cli.output import console, output_option, print_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]

KINDS = ("host", "cube", "slice", "gang", "link", "finding", "incident")


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
)
@click.argument("incident")
@output_option
@with_client
def explain(client: Client, incident: str, output: str) -> None:
    """Print the decision record of an incident from its record alone."""
    found = client.get(f"incidents/{incident.removeprefix('incident/')}")
    if output != "table":
        print_data(
            {key: found[key] for key in ("id", "kind", "part", "findings", "decisions", "steps", "pages", "timeline")}, output
        )
        return
    out = console()
    for line in story(found):
        out.print(line)


def find(client: Client, name: str) -> Row:
    """Give the row that ``kind/name`` or a printed id means.

    Raises:
        CannotAsk: the kind is unknown, or nothing of that name exists.
    """
    kind, _, rest = name.partition("/")
    if kind not in KINDS or not rest:
        raise CannotAsk(f"{name!r} is not kind/name", f"Kinds: {', '.join(KINDS)}. `sliceward get hosts -o name` lists names.")
    if kind == "incident":
        found: Row = client.get(f"incidents/{rest}")
        return found
    for row in client.rows(f"{kind}s", limit=100_000):
        names = {row["id"], row.get("name"), row["id"].partition("/")[2], "/".join(row["id"].split("/")[2:])}
        if kind == "gang":
            names |= {f"{row['namespace']}/{row['name']}", row["key"]}
        if rest in names or name in names:
            return row
    raise CannotAsk(f"there is no {kind} {rest!r}", f"`sliceward get {kind}s` lists them.")


def story(incident: Row) -> list[Text]:
    """Tell the record as lines."""
    lines = [Text(f"{incident['id']}  {incident['kind']} on {incident['part']}", style="bold"), Text(incident["text"]), Text("")]
    lines += [Text("What was seen", style="bold")]
    for finding in incident["findings"]:
        lines.append(Text(f"  {finding['kind']} {finding['state']} since {finding['since']}: {finding['text']}"))
        lines += [
            Text(
                f"    {one['metric']} = {one['value']} {one['unit']} (limit {one['limit']}) on {one['entity']} at {one['at']}",
                style="dim",
            )
            for one in finding["evidence"]
        ]
    lines += [Text(""), Text("Which rule, and why not the others", style="bold")]
    for decision in incident["decisions"]:
        lines.append(Text(f"  {decision['playbook'] or 'no playbook'}: {decision['outcome']}, {decision['why']}"))
        lines += [_condition(condition) for condition in decision["conditions"]]
        lines += [
            Text(
                f"    {'✓' if b['ok'] else '✗'} budget {b['name']}: {b['used']} of {b['limit']} used",
                style="green" if b["ok"] else "red",
            )
            for b in decision["budgets"]
        ]
    lines += [Text(""), Text("What was done", style="bold")]
    lines += [Text(f"  {entry['at']}  {entry['kind']:<13} {entry['text']}") for entry in incident["timeline"]]
    lines += [Text(""), Text("What came of it", style="bold"), Text(f"  {incident['how'] or incident['phase']}")]
    lines += [
        Text(f"  page {page['event']} by {page['pager']}: {page['state']}: {page['summary']}") for page in incident["pages"]
    ]
    return lines


def _condition(condition: Row) -> Text:
    good = condition["value"] is True
    inputs = ", ".join(f"{name}={value!r}" for name, value in condition.get("inputs", {}).items())
    said = condition["value"] if isinstance(condition["value"], str) else inputs
    return Text(
        f"    {'✓' if good else '✗'} {condition['name']}: {condition['expression']}  [{said}]", style="green" if good else "red"
    )


def _tree(title: str, value: object) -> Tree:
    tree = Tree(Text(title, style="bold"))
    _grow(tree, value)
    return tree


def _grow(tree: Tree, value: object) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(inner, dict | list) and inner:
            _grow(tree.add(Text(str(key), style="bold")), inner)
        else:
            tree.add(Text(f"{key}: {'-' if inner in (None, [], {}) else inner}"))
