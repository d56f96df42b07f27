"""``sliceward what-if``: what would follow, asked of a coordinator or of a fleet in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click
from rich.text import Text

from sliceward.daemons.cli.client import Client, with_client
from sliceward.daemons.cli.fleet import SHOWN
from sliceward.daemons.cli.fleet_file import fleet_options, scene_of
from sliceward.daemons.cli.gang_story import answer, harms, ways
from sliceward.daemons.cli.output import console, output_option, print_data, print_rows
from sliceward.scheduling.questions import ask_what_if
from sliceward.scheduling.words import WhatIf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Row = Mapping[str, Any]

WORDS = {
    "drain": ("--drain", "HOST|CUBE", "It is drained, or breaks."),
    "repair": ("--repair", "HOST|CUBE", "It is repaired."),
    "switch": ("--lose-switch", "BLOCK/NAME", "An optical switch of a block breaks."),
    "link": ("--lose-link", "LINK", "An ICI link breaks, written as `sliceward get links` does."),
    "add": ("--add-block", "NAME=CUBES", "A block of so many cubes comes, like those that there are."),
    "release": ("--release", "GANG", "A gang ends."),
    "open": ("--open", "HOST|CUBE", "What keeps it closed (a cordon, a promise, a stranger's pod) goes."),
    "borrow": ("--borrow", "TENANT:GENERATION:CHIPS", "A tenant may have so many more chips."),
}


def _worded(command: Callable[..., None]) -> Callable[..., None]:
    for key, (option, metavar, about) in reversed(WORDS.items()):
        command = click.option(option, key, multiple=True, metavar=metavar, help=about)(command)
    return command


@click.command(
    "what-if",
    help="Say what would follow: who would be hurt and the ways out with their prices, who waits and would be placed then, and the"
    " figures of fragmentation before and after.\n\nNothing is done. Each option may be given several times; all hold at once.",
)
@_worded
@fleet_options
@output_option
@with_client
def what_if(client: Client, *, file: Path | None, quota: Path | None, output: str, **asked: tuple[str, ...]) -> None:
    """Ask, and tell."""
    if not any(asked.values()):
        raise click.UsageError("Say what if: --drain, --lose-switch, --add-block ... (see --help).")
    if file is None:
        found = client.get("what-if?" + urlencode([(key, value) for key, values in asked.items() for value in values]))
    else:
        found = ask_what_if(scene_of(file, quota), WhatIf(**asked))
    if output != "table":
        print_data(found, output)
        return
    out = console()
    for line in told(found):
        out.print(line)
    rows = [{"when": when, **row} for when in ("before", "after") for row in found[when]]
    figures = {heading: read for heading, read in SHOWN["fragmentation"].columns.items() if heading != "ALIVE"}
    print_rows(rows, {"WHEN": lambda r: r["when"], **figures}, output)


def told(found: Row) -> Iterator[Text]:
    """Tell who would be hurt, and who waits."""
    for choice in found["hurt"]:
        yield Text(f"{choice['gang']} would be hurt", style="bold")
        yield from harms(choice)
        yield from ways(choice)
    for each in found["waiting"]:
        now, then = each["now"], each["then"]
        word = {(True, True): "finds room still", (True, False): "would find no room", (False, True): "would find room"}
        yield Text(f"{each['gang']} {word.get((now['fits'], then['fits']), 'waits on')}", style="bold")
        yield from answer(then)
    if not found["hurt"]:
        yield Text("no gang that runs would be hurt", style="green")
