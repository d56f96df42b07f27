"""``sliceward fleet …``: figures of the fleet as a whole, one table each, of a coordinator's fleet or of one in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sliceward.daemons.cli.by_hand import moving
from sliceward.daemons.cli.client import Client, with_client
from sliceward.daemons.cli.fleet_file import fleet_options, scene_of
from sliceward.daemons.cli.gang_story import SECONDS_AN_HOUR, place_of
from sliceward.daemons.cli.output import output_option, print_rows
from sliceward.scheduling.questions import fragmentation_rows, guarantee_rows, problem_rows, spares_rows, tidying_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from sliceward.scheduling.scene import Scene

    Row = Mapping[str, Any]

MOST_ROWS = 10_000


def _nothing_more(_rows: Iterable[Row]) -> Iterator[str]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Figures:
    """One command. ``path``: of the API; ``rows``: the same of a fleet in a file; ``more``: lines below the table, for people."""

    about: str
    path: str
    rows: Callable[[Scene], list[dict[str, Any]]]
    columns: Mapping[str, Callable[[Row], object]]
    more: Callable[[Iterable[Row]], Iterator[str]] = _nothing_more

    def command(self, name: str) -> click.Command:
        """Give the command."""

        @click.command(name, help=self.about)
        @fleet_options
        @output_option
        @with_client
        def ask(client: Client, *, file: Path | None, quota: Path | None, output: str) -> None:
            rows = client.rows(self.path, limit=MOST_ROWS) if file is None else self.rows(scene_of(file, quota))
            print_rows(rows, self.columns, output)
            for line in self.more(rows) if output == "table" else ():
                click.echo(line)

        return ask


def _by_hand(groups: Iterable[Row]) -> Iterator[str]:
    """Say how each move is carried out."""
    for group in groups:
        for move in group["moves"]:
            yield ""
            yield f"group {group['group']} of {group['cluster']}, {move['gang']}: right after a checkpoint"
            yield from (f"  {step}" for step in moving(move))


SHOWN: Mapping[str, Figures] = {
    "fragmentation": Figures(
        "Say how much of the free room can be used: the largest shape that has a place, what is alive for each expected shape, the"
        " share of free chips that a random request cannot use, and free chips that are stranded, by cause.\n\nShapes are those that"
        " are expected; spares are left out of what is alive.",
        "fragmentation",
        fragmentation_rows,
        {
            "CLUSTER": lambda r: r["cluster"],
            "GENERATION": lambda r: r["generation"],
            "CHIPS": lambda r: r["chips"],
            "FREE": lambda r: r["free_chips"],
            "LARGEST": lambda r: r["largest"],
            "UNUSABLE": lambda r: f"{r['unusable_share']:.1%}",
            "STRANDED": lambda r: ", ".join(f"{chips} by {cause}" for cause, chips in r["stranded_chips"].items()),
            "ALIVE": lambda r: ", ".join(f"{shape}: {count:,}" for shape, count in r["alive"].items() if count),
        },
    ),
    "guarantees": Figures(
        "Say how the guarantees stand that quota gives in cells: how many are owed beside what the tenant holds, how many of these it"
        " has surely lost, and how many of that shape are lost among all tenants that are owed some.",
        "guarantees",
        guarantee_rows,
        {
            "TENANT": lambda r: r["tenant"],
            "GENERATION": lambda r: r["generation"],
            "SHAPE": lambda r: r["shape"],
            "CELLS": lambda r: r["cells"],
            "OWED": lambda r: r["owed"],
            "SURELY LOST": lambda r: r["surely_lost"],
            "LOST AMONG ALL": lambda r: r["short"],
        },
    ),
    "spares": Figures(
        "Say how many whole cubes each block keeps for repairs, how many of them are lent to gangs of the lowest priority, how many it"
        " would take to be 99.9 % sure that every cube in use is there or can be replaced, and how sure that is now.",
        "spares",
        spares_rows,
        {
            "BLOCK": lambda r: r["block"],
            "USED": lambda r: r["used_cubes"],
            "SPARES": lambda r: r["spares"],
            "LENT": lambda r: r["lent"],
            "WANTED": lambda r: "more than there are" if r["wanted"] is None else r["wanted"],
            "SURE": lambda r: f"{r['odds']:.3%}",
        },
    ),
    "defragment": Figures(
        "Say which moves of running gangs would make room that is worth more than they cost: for each group, in the order in which they"
        " would be made, what it brings, what it costs, and how many chip-seconds it brings for each that it costs, beside the least that"
        " it has to bring; and the commands that carry each move out.\n\nNothing is moved, by this or by itself: who owns a gang knows"
        " best when it may stop.",
        "defragmentation",
        tidying_rows,
        {
            "CLUSTER": lambda r: r["cluster"],
            "GROUP": lambda r: r["group"],
            "WHY": lambda r: r["why"],
            "GAIN": lambda r: f"{r['gain'] / SECONDS_AN_HOUR:,.1f} chip-hours",
            "COST": lambda r: f"{r['cost'] / SECONDS_AN_HOUR:,.1f} chip-hours",
            "WORTH": lambda r: f"{r['worth']:,.1f}, at least {r['floor']:g}",
            "MOVES": lambda r: "; ".join(
                f"{move['gang']} to {', '.join(place_of(piece) for piece in move['slices'])}" for move in r["moves"]
            ),
        },
        _by_hand,
    ),
    "problems": Figures(
        "Say what contradicts itself in what the clusters say, or cannot be used by placement, with the object's name and what to do."
        "\n\nIt is set aside and planned around: nothing new is placed there until it is corrected.",
        "problems",
        problem_rows,
        {
            "PROBLEM": lambda r: r["name"],
            "ABOUT": lambda r: r["about"],
            "WHY": lambda r: r["why"],
            "WHAT TO DO": lambda r: r["what_to_do"],
        },
    ),
}


@click.group(help="Figures of the fleet as a whole.")
def fleet() -> None:
    """Hold the commands."""


for _name, _figures in SHOWN.items():
    fleet.add_command(_figures.command(_name))
