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

    ``label``: the number under which others know the group. A member may be in several groups (a link has two ends), or in none.
    """

    kind: str
    label: Index
    order: Index
    starts: Index
    size: Index

    @classmethod
    def of(cls, kind: str, pairs: tuple[ArrayLike, ArrayLike]) -> Groups:
        """Make groups of (label, member) pairs, given as two arrays of one length; a negative label is no group."""
        labels, members = (np.asarray(side, dtype=np.intp).ravel() for side in pairs)
        there = labels >= 0
        labels, members = labels[there], members[there]
        order = np.lexsort((members, labels))
        label, starts, size = np.unique(labels[order], return_index=True, return_counts=True)
        return cls(kind, label, members[order], starts, size)

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
        return np.add.reduceat(rows[..., self.order], self.starts, axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """All members of one kind. ``role``: peers are those of one number; only they are compared. ``groups``: what may be to blame for several."""

    kind: str
    role: Index
    groups: tuple[Groups, ...] = ()

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


def torus(host: ArrayLike, cube: ArrayLike, cabling: Cabling, role: ArrayLike | None = None) -> Layout:
    """Lay out chips with host and cube numbers, joined by links. Links through a switch have peers of their own: optics err more than copper."""
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
        "chip": Crowd("chip", roles, of_chips),
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


def _once(labels: Index, members: Index) -> tuple[Index, Index]:
    """Drop what stands there twice: a link between two chips of one host."""
    pairs = np.unique(np.stack((labels, members)), axis=1)
    return pairs[0], pairs[1]
