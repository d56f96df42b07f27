"""What a person writes to have things left alone: patterns and times, as text in, as values of `playbooks.silences` out.

Maintenance windows stand in the configuration; silences come by the API and share the patterns.
"""

from __future__ import annotations

import re
from datetime import time
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema, model_validator

from sliceward.daemons.settings import Section
from sliceward.playbooks.silences import KINDS, Matches, Once, Weekly, Window
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_PATTERNS = 32
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00"


def _clock(value: object) -> object:
    """Refuse what is no time of day."""
    if not isinstance(value, str) or not re.fullmatch(_CLOCK, value):
        raise ValueError(f'is {value!r} and no time of day: write "02:00", from "00:00" to "24:00"')
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone that is known here: write one like Europe/Berlin or UTC") from None
    return value


Pattern = Annotated[str, Field(pattern=r"^[!-~]+$", max_length=512)]
Patterns = Annotated[list[Pattern], Field(max_length=MOST_PATTERNS)]
Clock = Annotated[str, BeforeValidator(_clock), WithJsonSchema({"type": "string", "pattern": f"^({_CLOCK})$"})]
Zone = Annotated[str, AfterValidator(_zone)]


class MatchSettings(Section):
    """What is left alone: ids, names or globs. Of one kind any must fit, of the kinds that are given all."""

    hosts: Patterns = Field(default_factory=list, description="Hosts: `gke-tpu-1`, `prod-eu/host/gke-tpu-*`.")
    cubes: Patterns = Field(default_factory=list, description="Cubes, with all their hosts: `4x4x4-a1b2`, `prod-eu/cube/*`.")
    gangs: Patterns = Field(default_factory=list, description="Gangs: `ml/llm`, `ml/*`, `prod-eu/gang/ml/JobSet/llm`.")
    playbooks: Patterns = Field(default_factory=list, description="Playbooks: `host-or-chip-lost`, `ici-*`.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(getattr(self, kind) for kind in KINDS):
            raise ValueError(f"names nothing: give some of {', '.join(KINDS)}")
        return self

    @property
    def value(self) -> Matches:
        """As a value."""
        return Matches(tuple(self.hosts), tuple(self.cubes), tuple(self.gangs), tuple(self.playbooks))


class WeeklySettings(Section):
    """Every week, by the clock on the wall."""

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        min_length=1, description="Days on which it begins."
    )
    from_: Clock = Field(alias="from", description='When it begins, e.g. "02:00".')
    to: Clock = Field(description='When it ends; before `from`: on the next day. "24:00" is midnight.')
    zone: Zone = Field(default="UTC", description="Time zone, e.g. Europe/Berlin; follows its summer time.")

    @model_validator(mode="after")
    def _lasting(self) -> Self:
        if self.from_ in (self.to, "24:00"):
            raise ValueError(f'from "{self.from_}" to "{self.to}" is no time at all: a whole day is from "00:00" to "24:00"')
        return self

    @property
    def value(self) -> Weekly:
        """As a value."""
        return Weekly(frozenset(map(DAYS.index, self.days)), _time(self.from_), _time(self.to), ZoneInfo(self.zone))


class OnceSettings(Section):
    """Once."""

    from_: AwareDatetime = Field(alias="from", description="Begin, with its offset: 2026-12-01T08:00:00+01:00.")
    to: AwareDatetime = Field(description="End, with its offset.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_ >= self.to:
            raise ValueError("ends before it begins")
        return self

    @property
    def value(self) -> Once:
        """As a value."""
        return Once(self.from_, self.to)


class WindowSettings(Section):
    """A maintenance window: harm is held while it lasts, healing is not."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$", description="Its name, as in what is held.")
    why: str = Field(default="maintenance", max_length=200, description="What people work on; stands in every decision it holds.")
    matches: MatchSettings = Field(description="What is left alone.")
    weekly: WeeklySettings | None = Field(default=None, description="Every week; or `once`.")
    once: OnceSettings | None = Field(default=None, description="Once; or `weekly`.")

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if (self.weekly is None) == (self.once is None):
            raise ValueError(f"{self.name} needs either weekly or once")
        return self

    @property
    def value(self) -> Window:
        """As a value."""
        times = [one.value for one in (self.weekly, self.once) if one is not None]
        return Window(self.name, self.matches.value, self.why, times[0])


def windows_of(settings: Sequence[WindowSettings], playbooks: Iterable[str]) -> tuple[Window, ...]:
    """Give the windows. Raises `Misconfigured` for a playbook that is none: it would be held by nothing, without a word."""
    known = tuple(playbooks)
    for place, window in enumerate(settings):
        found = window.matches.value
        for number, pattern in enumerate(found.playbooks):
            if not any(Matches(playbooks=(pattern,)).fits("playbooks", (name,)) for name in known):
                near = get_close_matches(pattern, known, n=1)
                raise Misconfigured(
                    f"maintenance[{place}].matches.playbooks[{number}]",
                    f"no playbook is named {pattern!r}",
                    f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(known))}",
                )
    return tuple(window.value for window in settings)


def _time(text: str) -> time:
    hours, _, minutes = text.partition(":")
    return time() if text == "24:00" else time(int(hours), int(minutes))
