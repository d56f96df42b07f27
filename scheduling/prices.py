"""What an interruption costs: chip-seconds, line by line, each number with its source and its age.

A gang that is stopped and started anew loses, on every chip that waits for it, the time to see the fault, to drain, to place,
to form the slice and to restart, and the steps since its last checkpoint. A gang that limps loses the share by which it is
slower for as long as it limps. Whoever is displaced loses the same again. A `Bill` is the sum of such `Line`s, so that it can
be read, not only compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import DAY
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sliceward.scheduling.costs import Costs
    from sliceward.scheduling.snapshot import Running


class Item(StrEnum):
    """What a line pays for. The last six are those of a seat's own price (`sliceward.scheduling.pricing`)."""

    DETECT = "detection"
    DRAIN = "drain"
    PLACE = "placement"
    FORM = "formation"
    RESTART = "restart"
    LOST = "lost steps"
    RECONFIGURE = "reconfiguration"
    LIMP = "limping"
    WAIT = "waiting"
    IDLE = "slices gone without"
    DISPLACED = "displaced gangs"
    PLACES = "places"
    RISK = "risk"
    MAINTENANCE = "maintenance"
    SLOWDOWN = "slowdown"
    SPARES = "spares"
    SWITCHING = "switching"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is not negative, where it is from, and how many seconds old it is (None: it does not age)."""

    value: float
    source: str
    age: float | None = None

    def __post_init__(self) -> None:
        """Refuse what would make every sum meaningless, and a number without a source."""
        if not math.isfinite(self.value) or self.value < 0:
            raise Misconfigured(f"figure {self.source!r}", f"{self.value} is no cost", "Give a finite number of at least 0")
        if not self.source:
            raise Misconfigured(f"figure {self.value}", "has no source", "Say where the number is from")
        if self.age is not None and not (math.isfinite(self.age) and self.age >= 0):
            raise Misconfigured(f"figure {self.source!r}", f"is {self.age} s old", "Give when it was measured, in the past")

    def __str__(self) -> str:
        """Print the source and the age."""
        return self.source if self.age is None else f"{self.source}, {self.age:.0f} s old"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is lost. ``chips``: how many lose it, 0 where it is no matter of so many. ``figures``: what it is made of."""

    item: Item
    chip_seconds: float
    figures: tuple[Figure, ...]
    chips: int = 0

    def __str__(self) -> str:
        """Print as ``restart 38,400: 64 chips x 600 (assumed)``."""
        made_of = [f"{self.chips:,} chips"] if self.chips else []
        made_of += [f"{figure.value:,.6g} ({figure})" for figure in self.figures]
        return f"{self.item} {self.chip_seconds:,.0f}: {' x '.join(made_of)}"


def line(item: Item, chips: int, *figures: Figure) -> Line:
    """Give the line of so many chips that lose the product of some figures: seconds, and the share of them that is lost."""
    return Line(item, chips * math.prod(figure.value for figure in figures), figures, chips)


@dataclass(frozen=True)
class Bill:
    """A sum of lines. Their order changes nothing but how it reads."""

    lines: tuple[Line, ...] = ()

    @cached_property
    def total(self) -> float:
        """Chip-seconds."""
        return math.fsum(each.chip_seconds for each in self.lines)

    def of(self, *items: Item) -> float:
        """Give the chip-seconds of some items."""
        return math.fsum(each.chip_seconds for each in self.lines if each.item in items)

    def __add__(self, other: Bill) -> Bill:
        """Give both together."""
        return Bill(self.lines + other.lines)


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of how a gang runs, in seconds.

    ``saved``: since its last checkpoint, ``interval``: between two. ``step``: of one step. ``left``: until it is done. ``drain``:
    until its processes are gone. ``place``: until its new place is decided and written down. ``form``: until switches have joined
    a slice. ``restart``: from its start to its first step. ``reconfigure``: until an elastic gang goes on with a slice less or more.
    """

    saved: Figure
    interval: Figure
    step: Figure
    left: Figure
    drain: Figure
    place: Figure
    form: Figure
    restart: Figure
    reconfigure: Figure


def pace_of(gang: Running, costs: Costs, *, now: datetime, at: datetime | None = None) -> Pace:
    """Give the pace of a gang from what it has told ``at`` some time, and from what is assumed where it has not."""
    age = None if at is None else max(0.0, (now - at).total_seconds())

    def told(seconds: float | None, what: str, assumed: float, why: str = "") -> Figure:
        return Figure(seconds, what, age) if seconds is not None else Figure(assumed, f"assumed: {why or what}")

    kind = GENERATIONS.get(gang.generation)
    joined = kind is not None and any(kind.is_whole_cubes(held.shape) for held in gang.slices)
    every = told(gang.checkpoints_every, "between its checkpoints", costs.checkpoint)
    since = None if gang.checkpointed is None else max(0.0, (now - gang.checkpointed).total_seconds())
    return Pace(
        saved=told(since, "since its last checkpoint", every.value / 2, "half of the time between checkpoints"),
        interval=every,
        step=told(gang.step, "its step", 0.0, "a step is short"),
        left=told(gang.lasts, "until it is done", costs.lasts),
        drain=Figure(costs.drain, "assumed: drain"),
        place=Figure(costs.place, "assumed: placement"),
        form=Figure(costs.form, "assumed: formation of a slice") if joined else Figure(0.0, "nothing to join"),
        restart=told(gang.restarts_in, "its last restart", costs.restart, "restart"),
        reconfigure=Figure(costs.reconfigure, "assumed: reconfiguration"),
    )


def stop_and_start(chips: int, pace: Pace) -> Bill:
    """Give what it costs that ``chips`` stop and start anew, but for the steps since the last checkpoint."""
    times = ((Item.DRAIN, pace.drain), (Item.PLACE, pace.place), (Item.FORM, pace.form), (Item.RESTART, pace.restart))
    return Bill(tuple(line(item, chips, figure) for item, figure in times))


def lost_steps(chips: int, pace: Pace) -> Bill:
    """Give what the steps since the last checkpoint cost, which are to be made again."""
    return Bill((line(Item.LOST, chips, pace.saved),))


def slower(ratio: float, source: str, age: float | None = None) -> Figure:
    """Give the share that is lost by a gang that runs at ``ratio`` of its former rate; faster than before is no loss."""
    if not math.isfinite(ratio) or ratio < 0:
        raise Misconfigured(f"rate {source!r}", f"{ratio} of the former rate is no rate", "Give a ratio of at least 0")
    return Figure(max(0.0, 1.0 - ratio), source, age)


def least(one: Figure, other: Figure) -> Figure:
    """Give the smaller of two figures, the first of equal ones."""
    return other if other.value < one.value else one


def most(figures: Iterable[Figure], *, none: Figure) -> Figure:
    """Give the greatest of some figures, the first of equal ones; ``none`` where there is none."""
    return max(figures, key=lambda figure: figure.value, default=none)


def failing(risk: Figure, seconds: float) -> Figure:
    """Give the probability that a part with so many expected failures a day fails within so many seconds."""
    return Figure(-math.expm1(-risk.value * seconds / DAY), risk.source, risk.age)
