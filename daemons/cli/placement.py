"""``sliceward what-if`` and ``sliceward fleet …``: questions about room, to a coordinator or to a fleet in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click
from rich.text import Text

from sliceward.daemons.cli.client import Client, with_client
from sliceward.daemons.cli.fleet_file import fleet_options, scene_of
from sliceward.daemons.cli.gang_story import SECONDS_AN_HOUR, answer, harms, place_of, ways
from sliceward.daemons.cli.output import console, output_option, print_data, print_rows
from sliceward.scheduling.questions import ask_what_if, fragmentation_rows, guarantee_rows, spares_rows, tidying_rows
from sliceward.scheduling.words import WhatIf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Row = Mapping[str, Any]

FIGURES: Mapping[str, Callable[[Row], object]] = {
    "CLUSTER": lambda r: r["cluster"],
    "GENERATION": lambda r: r["generation"],
    "CHIPS": lambda r: r["chips"],
    "FREE": lambda r: r["free_chips"],
    "LARGEST": lambda r: r["largest"],
    "UNUSABLE": lambda r: f"{r['unusable_share']:.1%}",
    "STRANDED": lambda r: ", ".join(f"{chips} by {cause}" for cause, chips in r["stranded_chips"].items()),
    "ALIVE": lambda r: ", ".join(f"{shape}: {count:,}" for shape, count in r["alive"].items() if count),
}

GUARANTEES: Mapping[str, Callable[[Row], object]] = {
    "TENANT": lambda r: r["tenant"],
    "GENERATION": lambda r: r["generation"],
    "SHAPE": lambda r: r["shape"],
    "CELLS": lambda r: r["cells"],
    "OWED": lambda r: r["owed"],
    "SURELY LOST": lambda r: r["surely_lost"],
    "LOST AMONG ALL": lambda r: r["short"],
}

SPARES: Mapping[str, Callable[[Row], object]] = {
    "BLOCK": lambda r: r["block"],
    "USED": lambda r: r["used_cubes"],
    "SPARES": lambda r: r["spares"],
    "LENT": lambda r: r["lent"],
    "WANTED": lambda r: "more than there are" if r["wanted"] is None else r["wanted"],
    "SURE": lambda r: f"{r['odds']:.3%}",
}

GROUPS: Mapping[str, Callable[[Row], object]] = {
    "CLUSTER": lambda r: r["cluster"],
    "GROUP": lambda r: r["group"],
    "WHY": lambda r: r["why"],
    "GAIN": lambda r: f"{r['gain'] / SECONDS_AN_HOUR:,.1f} chip-hours",
    "COST": lambda r: f"{r['cost'] / SECONDS_AN_HOUR:,.1f} chip-hours",
    "WORTH": lambda r: f"{r['worth']:,.1f}, at least {r['floor']:g}",
    "MOVES": lambda r: "; ".join(
        f"{move['gang']} to {', '.join(place_of(piece) for piece in move['slices'])}" for move in r["moves"]
    ),
}

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


@click.group(help="Figures of the fleet as a whole.")
def fleet() -> None:
    """Hold the commands."""


@fleet.command(
    help="Say how much of the free room can be used: the largest shape that has a place, what is alive for each expected shape, the"
    " share of free chips that a random request cannot use, and free chips that are stranded, by cause.\n\nShapes are those that"
    " are expected; spares are left out of what is alive."
)
@fleet_options
@output_option
@with_client
def fragmentation(client: Client, *, file: Path | None, quota: Path | None, output: str) -> None:
    """Ask, and print one line for each generation of each cluster."""
    rows = client.rows("fragmentation", limit=10_000) if file is None else fragmentation_rows(scene_of(file, quota))
    print_rows(rows, FIGURES, output)


@fleet.command(
    help="Say how the guarantees stand that quota gives in cells: how many are owed beside what the tenant holds, how many of these it"
    " has surely lost, and how many of that shape are lost among all tenants that are owed some."
)
@fleet_options
@output_option
@with_client
def guarantees(client: Client, *, file: Path | None, quota: Path | None, output: str) -> None:
    """Ask, and print one line for each tenant and shape."""
    rows = client.rows("guarantees", limit=10_000) if file is None else guarantee_rows(scene_of(file, quota))
    print_rows(rows, GUARANTEES, output)


@fleet.command(
    help="Say how many whole cubes each block keeps for repairs, how many of them are lent to gangs of the lowest priority, how many it"
    " would take to be 99.9 % sure that every cube in use is there or can be replaced, and how sure that is now."
)
@fleet_options
@output_option
@with_client
def spares(client: Client, *, file: Path | None, quota: Path | None, output: str) -> None:
    """Ask, and print one line for each block."""
    rows = client.rows("spares", limit=10_000) if file is None else spares_rows(scene_of(file, quota))
    print_rows(rows, SPARES, output)


@fleet.command(
    help="Say which moves of running gangs would make room that is worth more than they cost: for each group, in the order in which they"
    " would be made, what it brings, what it costs, and how many chip-seconds it brings for each that it costs, beside the least that it"
    " has to bring.\n\nNothing is moved, by this or by itself; docs/placement.md says how to carry a move out."
)
@fleet_options
@output_option
@with_client
def defragment(client: Client, *, file: Path | None, quota: Path | None, output: str) -> None:
    """Ask, and print one line for each group of moves."""
    rows = client.rows("defragmentation", limit=10_000) if file is None else tidying_rows(scene_of(file, quota))
    print_rows(rows, GROUPS, output)


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
    figures = {heading: read for heading, read in FIGURES.items() if heading != "ALIVE"}
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
