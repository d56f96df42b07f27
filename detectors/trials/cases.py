"""Cases beside a rule file, as YAML: samples in, findings expected. `sliceward.detectors.trials.trial` runs them.

A series is written as Prometheus' unit tests write them: ``0 0 5``, ``0x3`` (0 and three times more), ``0+5x10`` (0, 5 … 50),
``_x3`` (three times missing); after its end it keeps its last value. Which rules: those of the file beside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from sliceward.detectors.finding import State
from sliceward.detectors.metrics import CATALOGUE, EntityKind
from sliceward.detectors.rules.load import refusals
from sliceward.detectors.rules.schema import meant
from sliceward.detectors.rules.units import Span
from sliceward.topology import yaml_text
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_ITEM = re.compile(rf"(?P<value>{_NUMBER}|_)(?:(?P<step>[+-](?:\d+(?:\.\d*)?|\.\d+))?x(?P<times>\d+))?")
MOST_SAMPLES = 10_000
LONGEST = 86_400.0
"""Seconds of one case: a day."""


def samples(written: object) -> tuple[float, ...]:
    """Give the values of a series; NaN where one is missing. ValueError says how to write one."""
    if isinstance(written, int | float) and not isinstance(written, bool):
        return (float(written),)
    if not isinstance(written, str) or not written.strip():
        raise ValueError(f"{written!r} is no series: write values like 0x3 5 5 _x2 0+5x10")
    found: list[float] = []
    for word in written.split():
        match = _ITEM.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no value of a series: write 5, 5x3, 0+5x10, _ or _x3")
        times = int(match["times"] or 0)
        if len(found) + times >= MOST_SAMPLES:
            raise ValueError(f"has more than {MOST_SAMPLES} samples")
        if match["value"] == "_":
            found += [nan] * max(times, 1)
        else:
            found += [float(match["value"]) + turn * float(match["step"] or 0) for turn in range(times + 1)]
    return tuple(found)


def _plain_time(written: object) -> object:
    span = Span.parse(f"{written}s" if written == 0 else written)
    if span.grace or span.periods or span.seconds > LONGEST:
        raise ValueError(f"{written!r} is no time of a case: write 90s, 10m or 2h, at most a day")
    return span.seconds


Seconds = Annotated[float, BeforeValidator(_plain_time)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CaseHost(_Part):
    """One host of a case, where it matters what it is."""

    chips: int = Field(default=4, ge=1, le=8)
    ports: int = Field(default=6, ge=0, le=6)
    generation: str = "tpu7x"
    pool: str = ""

    @field_validator("generation")
    @classmethod
    def _by_label(cls, name: str) -> str:
        labels = {known.name: label for label, known in GENERATIONS.items()} | {label: label for label in GENERATIONS}
        if name not in labels:
            raise ValueError(f"no generation {name!r}{meant(name, labels)}; known are {', '.join(sorted(labels))}")
        return labels[name]


class Expected(_Part):
    """One finding. ``part``: ``HOST``, ``HOST/CHIP``, ``HOST/CHIP/PORT``, or the id of another part. ``says``: within its text."""

    rule: str
    part: str
    state: State = State.FIRING
    says: str = ""


class Moment(_Part):
    """Every finding of the rules at one time, counted from the first sample; nothing else may fire."""

    at: Seconds
    findings: tuple[Expected, ...]


@dataclass(frozen=True, slots=True)
class Where:
    """What a series is about: chip and port None where it is said of all."""

    metric: str
    host: str
    chip: int | None
    port: int | None

    @classmethod
    def parse(cls, written: str) -> Where:
        """Read ``METRIC HOST``, ``METRIC HOST/CHIP`` or ``METRIC HOST/CHIP/PORT``; ValueError says what is wrong."""
        metric, _, part = written.partition(" ")
        if metric not in CATALOGUE:
            raise ValueError(f"no metric {metric!r} in the catalogue{meant(metric, CATALOGUE)}")
        host, *rest = part.strip().split("/")
        kind = CATALOGUE[metric].kind
        deepest = {EntityKind.CHIP: 1, EntityKind.LINK: 2}.get(kind, 0)
        if not host or len(rest) > deepest or not all(step.isdecimal() for step in rest):
            shape = "/".join(("HOST", "CHIP", "PORT")[: deepest + 1])
            raise ValueError(f"{written!r} is about no {kind}: write {metric} {shape}")
        numbers = [int(step) for step in rest]
        return cls(metric, host, *(*numbers, None, None)[:2])


class Case(_Part):
    """What some hosts say, one sample a period, and what is found. ``silent``: from when on a host says nothing."""

    name: str = Field(min_length=1)
    period: Seconds = Field(default=10.0, gt=0)
    grace: Seconds = 60.0
    hosts: dict[str, CaseHost] = Field(default_factory=dict)
    readings: dict[str, tuple[float, ...]] = Field(min_length=1)
    silent: dict[str, Seconds] = Field(default_factory=dict)
    notes: dict[str, dict[str, str]] = Field(default_factory=dict)
    fleet: dict[str, Any] | None = None
    expect: tuple[Moment, ...] = Field(min_length=1)

    @field_validator("readings", mode="before")
    @classmethod
    def _as_samples(cls, written: object) -> object:
        if not isinstance(written, dict):
            return written
        for key in written:
            Where.parse(str(key))
        return {str(key): samples(series) for key, series in written.items()}

    @model_validator(mode="after")
    def _about_hosts_that_are_there(self) -> Case:
        there = self.host_names
        for name in (*self.hosts, *self.silent, *self.notes):
            if name not in there:
                raise ValueError(f"{name!r} says nothing: give it a reading{meant(name, there)}")
        return self

    @property
    def host_names(self) -> tuple[str, ...]:
        """The hosts that readings are of, in the order in which they are named."""
        return tuple(dict.fromkeys(where.host for where, _ in self.series()))

    def series(self) -> Iterator[tuple[Where, tuple[float, ...]]]:
        """Go through the series."""
        for key, values in self.readings.items():
            yield Where.parse(key), values

    @property
    def length(self) -> float:
        """Seconds from the first sample to the last thing expected."""
        return max(moment.at for moment in self.expect)


@dataclass(frozen=True, slots=True)
class Placed:
    """A case with its file, and the places in it of the case and of each moment."""

    case: Case
    file: str
    place: str
    moments: tuple[str, ...]


def read_cases(text: str, file: str) -> tuple[list[Placed], list[Misconfigured]]:
    """Give the cases of a file, and everything that is wrong with it."""
    try:
        found = yaml_text.read(text, file)
    except Misconfigured as error:
        return [], [error]
    if not isinstance(found.value, list):
        return [], [Misconfigured(f"{file}:1:1", "is no list of cases", "Write entries with name, readings and expect")]
    cases, errors = [], []
    for number, body in enumerate(found.value):
        if not isinstance(body, dict):
            errors.append(Misconfigured(found.place((number,)), "is not a case", "Write name, readings and expect"))
            continue
        try:
            case = Case.model_validate(body)
        except ValidationError as error:
            errors += refusals(found, (number,), body, (Case, _MODELS), error)
            continue
        moments = tuple(found.place((number, "expect", turn)) for turn in range(len(case.expect)))
        cases.append(Placed(case, file, found.place((number,)), moments))
    return cases, errors


_MODELS: dict[str, type[BaseModel]] = {"hosts": CaseHost, "findings": Expected, "expect": Moment}
