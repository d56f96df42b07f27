"""How hosts lie in a tree of labels: in the order of their paths, so that every domain is one run of places.

Comes in: hosts with their labels, the levels from the top. A host that lacks a level's label lies in no domain; it can be held
but is never chosen. A domain below the top has one parent: a label's value that stands under two is refused, for one of them is
a mistake, and a slice would be joined out of parts that are apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.topology.ids import HostId

Span = tuple[int, int]
"""Places of a domain: from, and up to but not including."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A host with its chips and labels."""

    id: HostId
    chips: int
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Lie:
    """Hosts by place, and the domains of each level. ``unit``: the level that a slice must not leave if it does not say another."""

    levels: tuple[str, ...]
    unit: int
    hosts: tuple[HostId, ...]
    chips: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]

    @classmethod
    def of(cls, levels: Sequence[str], leaves: Iterable[Leaf], *, unit: str) -> Lie:
        """Lay hosts out.

        Raises:
            Misconfigured: no level, one twice, a unit that is none of them; a host twice or without chips; a value of a level
                under two parents.
        """
        told = tuple(levels)
        if not told or len(set(told)) < len(told) or unit not in told:
            said = ", ".join(told) or "none"
            raise Misconfigured("levels of the tree", f"{said}, slices in one {unit}", "List each level once, from the top")
        paths: dict[HostId, tuple[str, ...] | None] = {}
        chips: dict[HostId, int] = {}
        for leaf in leaves:
            if leaf.id in paths:
                raise Misconfigured(str(leaf.id), "is there twice", "Give each host once")
            if leaf.chips < 1:
                raise Misconfigured(str(leaf.id), f"has {leaf.chips} chips", "Give hosts with chips")
            paths[leaf.id], chips[leaf.id] = _path(told, leaf), leaf.chips
        for (level, value), why in _torn(told, paths).items():
            raise Misconfigured(f"{level}={value}", why, "Correct the labels, or name domains apart")
        placed = sorted((path, host) for host, path in paths.items() if path is not None)
        lost = sorted(host for host, path in paths.items() if path is None)
        hosts = (*(host for _, host in placed), *lost)
        spans = tuple(_spans([path[: level + 1] for path, _ in placed]) for level in range(len(told)))
        return cls(told, told.index(unit), hosts, tuple(chips[host] for host in hosts), spans)

    @cached_property
    def place_of(self) -> Mapping[HostId, int]:
        """The place of each host."""
        return {host: place for place, host in enumerate(self.hosts)}

    @cached_property
    def chips_of(self) -> Mapping[HostId, int]:
        """The chips of each host, in the order of places."""
        return dict(zip(self.hosts, self.chips, strict=True))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The chips that a host can have, rising."""
        return tuple(sorted(set(self.chips)))

    @cached_property
    def unit_of(self) -> tuple[int, ...]:
        """The number of the unit that each place lies in; places at the end that lie in none are left out."""
        return tuple(number for number, (first, end) in enumerate(self.spans[self.unit]) for _ in range(first, end))

    def level_of(self, label: str) -> int | None:
        """Give a level by its label, the unit's own for ""; None: there is no such level."""
        if not label:
            return self.unit
        return self.levels.index(label) if label in self.levels else None

    def units_of(self, span: Span) -> range:
        """Give the units that a domain is made of, or the one that it lies in."""
        return range(self.unit_of[span[0]], self.unit_of[span[1] - 1] + 1)


def _spans(paths: list[tuple[str, ...]]) -> tuple[Span, ...]:
    spans, first = [], 0
    for _, group in groupby(paths):
        end = first + sum(1 for _ in group)
        spans.append((first, end))
        first = end
    return tuple(spans)


def torn_domains(levels: Sequence[str], leaves: Iterable[Leaf]) -> dict[tuple[str, str], str]:
    """Give every domain, by level and value, that stands under two parents, and how that is said."""
    return _torn(tuple(levels), {leaf.id: _path(levels, leaf) for leaf in leaves})


def _path(levels: Sequence[str], leaf: Leaf) -> tuple[str, ...] | None:
    """Give the domains that a host lies in, from the top; None where it lacks a level."""
    path = tuple(leaf.labels.get(level, "") for level in levels)
    return path if all(path) else None


def _torn(levels: tuple[str, ...], paths: Mapping[HostId, tuple[str, ...] | None]) -> dict[tuple[str, str], str]:
    """Give domains with two parents: which, both of them and the host that says the second."""
    parents: dict[tuple[int, str], tuple[tuple[str, ...], HostId]] = {}
    found: dict[tuple[str, str], str] = {}
    complete = [(host, path) for host, path in paths.items() if path is not None]
    for host, path in complete:
        for level in range(1, len(levels)):
            above, first = parents.setdefault((level, path[level]), (path[:level], host))
            if above != path[:level]:
                one, other = " > ".join(above), " > ".join(path[:level])
                why = f"lies in {one} by {first.name} and in {other} by {host.name}: a domain has one parent"
                found.setdefault((levels[level], path[level]), why)
    return found
