"""Who is whose peer and who holds whom, as index arrays: made once for a topology, read at every tick.

A *member* is what is read (a chip, a link). A *group* is a part that would show on all of its members if it were sick (a host on its
chips, an optical switch on one link of every cube).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    Index = NDArray[np.intp]
    Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """All parts of one kind over members ``0..n-1``. ``order``: members, group after group; ``starts``: where each group begins in it.

    ``label``: the number under which others know the group. A member may be in several groups (a link has two ends), or in none. ``owners``: the
    groups of each member, ``[most, members]``, -1 where there is none. ``table``: members by group where all are of one size, ``[size, groups]``.
    """

    kind: str
    label: Index
    order: Index
    starts: Index
    size: Index
    owners: Index
    table: Index | None

    @classmethod
    def of(cls, kind: str, pairs: tuple[ArrayLike, ArrayLike]) -> Groups:
        """Make groups of (label, member) pairs, given as two arrays of one length; a negative label is no group."""
        labels, members = (np.asarray(side, dtype=np.intp).ravel() for side in pairs)
        there = labels >= 0
        labels, members = labels[there], members[there]
        order = np.lexsort((members, labels))
        label, starts, size = np.unique(labels[order], return_index=True, return_counts=True)
        held = members[order]
        even = len(size) > 0 and bool((size == size[0]).all())
        table = np.ascontiguousarray(held.reshape(len(size), -1).T) if even else None
        return cls(kind, label, held, starts, size, _owners(np.repeat(np.arange(len(size)), size), held), table)

    @classmethod
    def by(cls, kind: str, label_of: ArrayLike) -> Groups:
        """Make groups of a label a member."""
        labels = np.asarray(label_of)
        return cls.of(kind, (labels, np.arange(len(labels))))

    def __len__(self) -> int:
        """Count the groups."""
        return len(self.label)

    def place(self, label: int) -> int | None:
        """Give the place of a label; None where no group has it."""
        place = int(np.searchsorted(self.label, label))
        return place if place < len(self.label) and self.label[place] == label else None

    def members(self, group: int) -> Index:
        """Give the members of a group by its place in ``label``."""
        start = self.starts[group]
        return self.order[start : start + self.size[group]]

    def totals(self, rows: Rows) -> Rows:
        """Sum rows ``[..., n]`` over the members: ``[..., groups]``."""
        if not len(self):
            return np.zeros((*rows.shape[:-1], 0), dtype=rows.dtype)
        if self.table is not None:
            return np.asarray(rows.take(self.table, axis=-1).sum(axis=-2))
        return np.add.reduceat(rows.take(self.order, axis=-1), self.starts, axis=-1)

    def totals_of(self, rows: int, where: tuple[Index, Index], values: NDArray[np.floating]) -> Rows:
        """Sum a few values at (row, member) over the groups, all others being 0: ``[rows, groups]``."""
        total = np.zeros(rows * len(self))
        known = where[1] < self.owners.shape[1]  # members beyond the last that is in a group are in none
        row, member, values = where[0][known], where[1][known], values[known]
        for owner in self.owners:
            group = owner[member]
            there = group >= 0
            total += np.bincount(row[there] * len(self) + group[there], values[there], minlength=len(total))
        return total.reshape(rows, len(self)).astype(np.float32)


def _owners(groups: Index, members: Index) -> Index:
    """Turn (group, member) pairs round: the groups of each member, one below the other."""
    count = int(members.max(initial=-1)) + 1
    order = np.argsort(members, kind="stable")
    members, groups = members[order], groups[order]
    turn = np.arange(len(members)) - np.searchsorted(members, members)
    owners = np.full((int(turn.max(initial=0)) + 1, count), -1, dtype=np.intp)
    owners[turn, members] = groups
    return owners


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """All members of one kind. ``role``: peers are those of one number; only they are compared. ``groups``: what may be to blame for several.

    ``lines``: number of the line along each axis on which each cube of the group of cubes stands, ``[axes, cubes]``, -1 where it stands on none.
    """

    kind: str
    role: Index
    groups: tuple[Groups, ...] = ()
    lines: Index | None = None

    def __len__(self) -> int:
        """Count the members."""
        return len(self.role)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A fleet. ``crowds`` by kind of member; ``within``: for (kind, label) of a part the chips that it stands on, by kind, as groups over chips."""

    crowds: Mapping[str, Crowd]
    stands_on: Mapping[str, Groups] = field(default_factory=dict)

    def chips(self, kind: str, label: int) -> Index:
        """Give the chips that a part stands on; none where nobody told."""
        groups = self.stands_on.get(kind)
        if groups is None:
            return np.zeros(0, dtype=np.intp)
        place = groups.place(label)
        return np.zeros(0, dtype=np.intp) if place is None else groups.members(place)


@dataclass(frozen=True, slots=True, eq=False)
class Cabling:
    """Links by their two ends, and the optical switch that each passes; -1 where it is copper."""

    one: Index
    other: Index
    switch: Index


def torus(
    host: ArrayLike, cube: ArrayLike, cabling: Cabling, role: ArrayLike | None = None, *, place: ArrayLike | None = None
) -> Layout:
    """Lay out chips with host and cube numbers, joined by links. Links through a switch have peers of their own: optics err more than copper.

    ``place``: coordinates of each chip, ``[n, axes]``, where they are known.
    """
    hosts, cubes = np.asarray(host, dtype=np.intp), np.asarray(cube, dtype=np.intp)
    chips, links = np.arange(len(hosts)), np.arange(len(cabling.one))
    roles = np.zeros(len(hosts), dtype=np.intp) if role is None else np.asarray(role, dtype=np.intp)
    ends = np.concatenate((cabling.one, cabling.other))
    twice = np.concatenate((links, links))
    of_chips = (Groups.by("host", hosts), Groups.by("cube", cubes))
    of_links = (
        Groups.by("ocs", cabling.switch),
        Groups.of("chip", (ends, twice)),
        Groups.of("host", _once(hosts[ends], twice)),
    )
    crowds = {
        "chip": Crowd("chip", roles, of_chips, None if place is None else _lines(of_chips[1], np.asarray(place, dtype=np.intp))),
        "link": Crowd("link", (cabling.switch >= 0).astype(np.intp), of_links),
    }
    stands_on = {
        "chip": Groups.by("chip", chips),
        "link": Groups.of("link", (twice, ends)),
        "host": of_chips[0],
        "cube": of_chips[1],
        "ocs": Groups.of("ocs", (np.concatenate((cabling.switch, cabling.switch)), ends)),
    }
    return Layout(crowds, stands_on)


def _lines(cubes: Groups, place: Index) -> Index:
    """Give each line of a grid of cubes its number, by the least coordinate of their chips."""
    corner = np.minimum.reduceat(place[cubes.order], cubes.starts, axis=0).T
    return np.stack([np.unique(axis, return_inverse=True)[1] for axis in corner])


def _once(labels: Index, members: Index) -> tuple[Index, Index]:
    """Drop what stands there twice: a link between two chips of one host."""
    pairs = np.unique(np.stack((labels, members)), axis=1)
    return pairs[0], pairs[1]
