"""Silences and maintenance windows: what people asked to be left alone, and until when. Pure.

While one is in force it holds actions that harm, and keeps an incident from opening a page. It never holds healing, taking
back, a resolve, or the end of what was begun. A `Window` stands in the configuration and gives a `Silence` for its present
or next occurrence, so that whoever asks sees one kind of value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from fnmatch import translate
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

from sliceward.topology.ids import CubeId, GangId, SliceId, hosts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import date, tzinfo

    from sliceward.playbooks.incident import Incident
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import HostId, PartId

LONGEST = timedelta(days=30)
"""A silence that should last longer is a playbook in Observe, or a window."""
KINDS = ("hosts", "cubes", "gangs", "playbooks")
WINDOW = "window/"
_GLOB = frozenset("*?[")
WEEK = 7


@dataclass(frozen=True)
class Matches:
    """What is left alone. A pattern is a printed id, a name (of a gang: namespace/name), or a glob of either.

    Of the patterns of one kind any must fit; of the kinds that are given all must.
    """

    hosts: tuple[str, ...] = ()
    cubes: tuple[str, ...] = ()
    gangs: tuple[str, ...] = ()
    playbooks: tuple[str, ...] = ()

    @property
    def by_kind(self) -> Mapping[str, tuple[str, ...]]:
        """The kinds that are given, with their patterns."""
        return {kind: patterns for kind in KINDS if (patterns := getattr(self, kind))}

    @cached_property
    def _compiled(self) -> Mapping[str, tuple[frozenset[str], re.Pattern[str] | None]]:
        """For each kind that is given: what is meant by its very name, and one expression for all globs."""
        found = {}
        for kind, patterns in self.by_kind.items():
            globs = [pattern for pattern in patterns if set(pattern) & _GLOB]
            expression = re.compile("|".join(map(translate, globs))) if globs else None
            found[kind] = frozenset(patterns) - set(globs), expression
        return found

    def fits(self, kind: str, names: Collection[str]) -> bool:
        """Whether one of the names fits a pattern of ``kind``; never where that kind is not given."""
        exact, globs = self._compiled.get(kind, (frozenset(), None))
        return not exact.isdisjoint(names) or (globs is not None and any(map(globs.match, names)))

    def cover(self, subject: Subject) -> bool:
        """Whether what is about to be done falls under this."""
        return bool(self._compiled) and all(self.fits(kind, subject[kind]) for kind in self._compiled)

    def __str__(self) -> str:
        """Print as ``hosts a, b; playbooks c``."""
        return "; ".join(f"{kind} {', '.join(patterns)}" for kind, patterns in self.by_kind.items())


Subject = Mapping[str, frozenset[str]]
"""What is about to be done, as silences see it: for each kind of `KINDS` the names of all that is touched."""


def names_of(part: HostId | CubeId | GangId) -> tuple[str, ...]:
    """Give the names by which a pattern may mean this part."""
    return (str(part), f"{part.namespace}/{part.name}" if isinstance(part, GangId) else part.name)


def about(
    incident: Incident, fleet: Fleet, *, hosts: Iterable[HostId] = (), gang: GangId | None = None, playbook: str = ""
) -> Subject:
    """Give what an incident touches: its parts, its domain and ``hosts``, their cubes, and every gang on them."""
    parts = [finding.part for finding in incident.findings]
    touched = {*incident.domain, *hosts, *(host for part in parts for host in _hosts(part, fleet))}
    shown = [fleet.hosts[host] for host in touched if host in fleet.hosts]
    cubes = {host.cube for host in shown if host.cube is not None} | {part for part in parts if isinstance(part, CubeId)}
    gangs = {incident.gang, gang, *(on for host in touched for on in fleet.gangs_on.get(host, ()))}
    gangs |= {part for part in parts if isinstance(part, GangId)}
    return {
        "hosts": _names(touched),
        "cubes": _names(cubes),
        "gangs": _names(one for one in gangs if one is not None),
        "playbooks": frozenset((playbook,) if playbook else ()),
    }


def _names(parts: Iterable[HostId | CubeId | GangId]) -> frozenset[str]:
    return frozenset(name for part in parts for name in names_of(part))


def _hosts(part: PartId, fleet: Fleet) -> tuple[HostId, ...]:
    if isinstance(part, CubeId) and part in fleet.cubes:
        return fleet.cubes[part].hosts
    if isinstance(part, SliceId) and part in fleet.slices:
        return tuple(fleet.slices[part].hosts)
    return hosts_of(part)


class Stand(StrEnum):
    """Where a silence stands."""

    PENDING = "pending"
    ACTIVE = "active"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Silence:
    """Leave this alone, from ``begins`` until ``ends``. ``ended``: when a person ended it before its time, if one did."""

    id: str
    matches: Matches
    begins: datetime
    ends: datetime
    by: str
    why: str
    made: datetime
    ended: datetime | None = None
    ended_by: str = ""
    ended_why: str = ""

    @property
    def until(self) -> datetime:
        """When it is over."""
        return self.ends if self.ended is None else min(self.ends, self.ended)

    def stand(self, now: datetime) -> Stand:
        """Say where it stands."""
        if now >= self.until:
            return Stand.ENDED
        return Stand.PENDING if now < self.begins else Stand.ACTIVE

    @property
    def text(self) -> str:
        """Who silences until when, and why, in one line."""
        who = f"{self.id.replace('/', ' ')}" if self.id.startswith(WINDOW) else f"{self.id} of {self.by}"
        return f"silenced by {who} until {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {self.why}"


def covering(silences: Iterable[Silence], subject: Subject, now: datetime) -> Silence | None:
    """Give the silence in force that covers ``subject``, of several the one that lasts longest."""
    found = [one for one in silences if one.stand(now) is Stand.ACTIVE and one.matches.cover(subject)]
    return max(found, key=lambda one: (one.until, one.id), default=None)


def silence_id(matches: Matches, begins: datetime, ends: datetime, *, by: str, made: datetime) -> str:
    """Give the id of a new silence."""
    said = "\n".join((str(matches), begins.isoformat(), ends.isoformat(), by, made.isoformat()))
    return f"sil-{hashlib.sha256(said.encode()).hexdigest()[:10]}"


# ── windows ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Weekly:
    """On these weekdays (Monday is 0) between two times of the wall clock in ``zone``; an end at or before the start is the next day's."""

    days: frozenset[int]
    begins: time
    ends: time
    zone: tzinfo

    def of(self, day: date) -> tuple[datetime, datetime]:
        """Give begin and end, in UTC, of the occurrence that begins on ``day``.

        Where the clocks are set, a time of the wall is twice or never. The earlier reading counts for the begin and the later
        one for the end, so that an occurrence never ends before its begin and is never shorter than it reads (PEP 495).
        """
        last = day if self.ends > self.begins else day + timedelta(days=1)
        begins = min(_readings(day, self.begins, self.zone))
        return begins, max(_readings(last, self.ends, self.zone))

    def next(self, now: datetime) -> tuple[datetime, datetime]:
        """Give the occurrence that is in force at ``now``, else the next one."""
        today = now.astimezone(self.zone).date()
        days = (today + timedelta(days=n) for n in range(-2, WEEK + 2))
        return min(found for day in days if day.weekday() in self.days and (found := self.of(day))[1] > now)


@dataclass(frozen=True, slots=True)
class Once:
    """One time."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """A silence that stands in the configuration."""

    name: str
    matches: Matches
    why: str
    when: Weekly | Once

    def occurrence(self, now: datetime) -> Silence:
        """Give the present occurrence, else the next, else (of what happens once) the last."""
        match self.when:
            case Weekly():
                begins, ends = self.when.next(now)
            case Once(begins=begins, ends=ends):
                pass
            case _:
                assert_never(self.when)
        return Silence(f"{WINDOW}{self.name}", self.matches, begins, ends, "configuration", self.why, begins)


def _readings(day: date, at: time, zone: tzinfo) -> list[datetime]:
    return [datetime.combine(day, at.replace(fold=fold), zone).astimezone(UTC) for fold in (0, 1)]
