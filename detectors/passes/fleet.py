"""From a fleet and the hosts that speak to a `Layout`: who is whose peer, who holds whom, by which links, and what each number is called.

Members are numbered host by host. A chip's peers are the chips of its slice; slices too small for that share them with those of the same role in
the gang, and idle chips with the idle ones of their generation. A link has its number once; both its ends read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.metrics import CATALOGUE, Bad, EntityKind, Shape, Statistic
from sliceward.detectors.passes.cables import Cables, cables_of
from sliceward.detectors.passes.layout import Crowd, Groups, Layout
from sliceward.topology.ids import ChipId, CubeId, DomainId, HostId, LinkId, SliceId, SwitchId, parse
from sliceward.topology.links import whole_slice_of
from sliceward.topology.torus import coordinate_at

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from sliceward.detectors.metrics import Metric
    from sliceward.detectors.passes.layout import Index
    from sliceward.detectors.ring import Ring
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import PartId

PEERS = 32
"""Chips of a slice from which on they are peers enough among themselves."""
SILENT_SOURCES = frozenset({"agent", "kubernetes", "prometheus", "watcher"})
"""Who tells of the telling: ages and conditions are for rules."""


def _watched(metric: Metric) -> bool:
    """Whether peers can be compared by a metric: yes-or-no readings, ages and what the job chose (sizes, memory, host load) say nothing."""
    if metric.source in SILENT_SOURCES or metric.high <= 1 or metric.name.endswith(("_age_seconds", "_idle_seconds")):
        return False
    if metric.shape is Shape.COUNTER:
        return True
    if metric.kind is EntityKind.HOST:
        return metric.statistic is Statistic.P50 and metric.bad is not Bad.NEITHER
    return metric.bad is not Bad.NEITHER or metric.unit == "percent"


WATCHED: Mapping[str, tuple[str, ...]] = {
    kind.value: tuple(one.name for one in CATALOGUE.values() if one.kind is kind and _watched(one))
    for kind in (EntityKind.CHIP, EntityKind.LINK, EntityKind.HOST)
}
"""Metrics that the statistical passes read, by kind of member."""


_ID: Mapping[str, type[HostId | SwitchId | CubeId | DomainId | SliceId]] = {
    "host": HostId,
    "ocs": SwitchId,
    "cube": CubeId,
    "domain": DomainId,
    "slice": SliceId,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A host of the panel: its name, its place there, and how many chips it speaks of."""

    name: str
    slot: int
    chips: int


@dataclass(frozen=True, eq=False)
class Places:
    """A layout and the names behind its numbers. ``chip_host`` and ``chip_index`` ``[chips]``; a host's number is its place in ``hosts``.

    ``cables``: links by chips and ports. ``cubes``, ``domains`` and ``slices``: names by label; ``roles``: names of the chips' roles by number.
    """

    cluster: str
    hosts: tuple[str, ...]
    slot: Index
    chip_host: Index
    chip_index: Index
    cables: Cables
    cubes: tuple[str, ...]
    domains: tuple[str, ...]
    slices: tuple[str, ...]
    roles: tuple[str, ...]
    layout: Layout

    @cached_property
    def number_of(self) -> Mapping[str, int]:
        """Give the number of each host."""
        return {name: number for number, name in enumerate(self.hosts)}

    def part(self, kind: str, label: int) -> PartId:
        """Give what a kind and label stand for."""
        if kind == "chip":
            return self._chip(label)
        if kind == "link":
            return LinkId.between(self._chip(int(self.cables.one[label])), self._chip(int(self.cables.other[label])))
        return _ID[kind](self.cluster, self.names[kind][label])

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """Give the names by label of each kind that has names of its own."""
        return {
            "host": self.hosts,
            "ocs": self.cables.switches,
            "cube": self.cubes,
            "domain": self.domains,
            "slice": self.slices,
        }

    def label(self, text: str) -> tuple[str, int] | None:
        """Give kind and label of a part by its printed id; None where it is not here."""
        part = parse(text)
        match part:
            case ChipId():
                found = self._chip_number(part)
                return None if found is None else ("chip", found)
            case LinkId():
                ends = [self._chip_number(end) for end in part.ends]
                pair = {end for end in ends if end is not None}
                here = np.isin(self.cables.one, list(pair)) & np.isin(self.cables.other, list(pair))
                return ("link", int(here.argmax())) if len(pair) == len(ends) and here.any() else None
            case HostId() | CubeId() | SwitchId() | DomainId() | SliceId():
                known = self.names[part.kind]
                return (part.kind, known.index(part.name)) if part.name in known else None
            case _:
                return None

    def hosts_of(self, kind: str, label: int) -> frozenset[int]:
        """Give the numbers of the hosts that a part lies on."""
        if kind == "host":
            return frozenset((label,))
        if kind == "slice":
            groups = next(one for one in self.layout.crowds["host"].groups if one.kind == "slice")
            place = groups.place(label)
            return frozenset(() if place is None else map(int, groups.members(place)))
        return frozenset(map(int, self.chip_host[self.layout.chips(kind, label)]))

    def _chip(self, member: int) -> ChipId:
        return ChipId(self.cluster, self.hosts[self.chip_host[member]], int(self.chip_index[member]))

    def _chip_number(self, chip: ChipId) -> int | None:
        number = self.number_of.get(chip.host)
        if number is None:
            return None
        found = np.flatnonzero((self.chip_host == number) & (self.chip_index == chip.index))
        return int(found[0]) if len(found) else None


def places_of(cluster: str, seen: Sequence[Seen], fleet: Fleet, *, domain_labels: Collection[str] = ()) -> Places:
    """Lay out the hosts that should speak. ``domain_labels``: node labels whose value names what hosts share (a rack, a power feed)."""
    seen = sorted(seen, key=lambda one: one.name)
    known = [fleet.hosts.get(HostId(cluster, one.name)) for one in seen]
    chips = [max(one.chips, 0 if host is None else host.chips) for one, host in zip(seen, known, strict=True)]
    chip_host = np.repeat(np.arange(len(seen)), chips).astype(np.intp)
    first = np.cumsum([0, *chips])[:-1]
    chip_index = np.arange(len(chip_host)) - first[chip_host] if len(chip_host) else chip_host
    within = _Names()
    cube_of = np.array([within("cube", None if h is None or h.cube is None else h.cube.name) for h in known], dtype=np.intp)
    domain_of = np.array(
        [within("domain", _domain(None if h is None else h.labels, domain_labels)) for h in known], dtype=np.intp
    )
    slice_of, job_of = _jobs(fleet, cluster)
    in_slice = np.array([within("slice", slice_of.get(one.name)) for one in seen], dtype=np.intp)
    idle = [f"idle {'' if h is None else h.generation}" for h in known]
    sizes = np.bincount(in_slice[chip_host] + 1, minlength=len(within.of("slice")) + 1)[1:] if seen else np.zeros(0, dtype=int)
    host_role = [within("host role", job_of.get(one.name, idle[n])) for n, one in enumerate(seen)]
    role = [
        within("role", slice_of[one.name] if in_slice[n] >= 0 and sizes[in_slice[n]] >= PEERS else job_of.get(one.name, idle[n]))
        for n, one in enumerate(seen)
    ]
    cables = cables_of(cluster, [one.name for one in seen], chips, fleet)
    lines = _lines(fleet, [CubeId(cluster, name) for name in within.of("cube")])
    crowds, stands_on = _crowds(
        (cube_of, domain_of, in_slice), chip_host, cables, (np.array(role, np.intp), np.array(host_role, np.intp)), lines
    )
    slots = np.array([one.slot for one in seen], dtype=np.intp)
    return Places(
        cluster, tuple(one.name for one in seen), slots, chip_host, np.asarray(chip_index, dtype=np.intp), cables, within.of("cube"),
        within.of("domain"), within.of("slice"), within.of("role"), Layout(crowds, stands_on),
    )  # fmt: skip


class _Names:
    """Numbers for names, kind by kind; -1 for none."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, int]] = {}

    def __call__(self, kind: str, name: str | None) -> int:
        if name is None:
            return -1
        known = self._known.setdefault(kind, {})
        return known.setdefault(name, len(known))

    def of(self, kind: str) -> tuple[str, ...]:
        return tuple(self._known.get(kind, ()))


def _domain(labels: Mapping[str, str] | None, names: Collection[str]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None) if labels else None


def _jobs(fleet: Fleet, cluster: str) -> tuple[dict[str, str], dict[str, str]]:
    """Give by host the slice that works there, and the role that its slice has in its gang."""
    slices, jobs = dict[str, str](), dict[str, str]()
    for one in fleet.slices.values():
        for host in one.hosts if one.gang is not None and one.id.cluster == cluster else ():
            slices[host.name], jobs[host.name] = one.id.name, f"{one.gang}|{one.role}"
    return slices, jobs


def _lines(fleet: Fleet, cubes: Sequence[CubeId]) -> Index:
    """Give the line along each axis on which each cube of a slice stands, ``[axes, cubes]``, -1 where it stands in no grid."""
    numbers = dict[tuple[SliceId, int, int], int]()
    lines = np.full((3, len(cubes)), -1, dtype=np.intp)
    for number, cube in enumerate(cubes):
        around = whole_slice_of(fleet, cube)
        edges = fleet.cubes[cube].shape if around is not None else ()
        if around is None or len(edges) != len(around.shape) or any(a % b for a, b in zip(around.shape, edges, strict=True)):
            continue
        blocks = tuple(a // b for a, b in zip(around.shape, edges, strict=True))
        for axis, at in enumerate(coordinate_at(blocks, around.cubes.index(cube))):
            lines[axis, number] = numbers.setdefault((around.id, axis, at), len(numbers))
    return lines


def _crowds(
    within: tuple[Index, Index, Index], chip_host: Index, cables: Cables, roles: tuple[Index, Index], lines: Index
) -> tuple[dict[str, Crowd], dict[str, Groups]]:
    cube_of, domain_of, in_slice = within
    links = np.arange(len(cables.one))
    ends, twice = np.concatenate((cables.one, cables.other)), np.concatenate((links, links))
    of_chips = (Groups.by("host", chip_host), Groups.by("cube", cube_of[chip_host]), Groups.by("domain", domain_of[chip_host]))
    pairs = np.divmod(np.unique(chip_host[ends] * len(links) + twice), max(1, len(links)))
    of_links = (Groups.by("ocs", cables.switch), Groups.of("chip", (ends, twice)), Groups.of("host", pairs))
    of_hosts = (Groups.by("cube", cube_of), Groups.by("domain", domain_of), Groups.by("slice", in_slice))
    crowds = {
        "chip": Crowd("chip", roles[0][chip_host], of_chips, lines[:, of_chips[1].label]),
        "link": Crowd("link", (cables.switch >= 0).astype(np.intp), of_links),
        "host": Crowd("host", roles[1], of_hosts),
    }
    stands_on = {
        "chip": Groups.by("chip", np.arange(len(chip_host))),
        "link": Groups.of("link", (twice, ends)),
        "ocs": Groups.of("ocs", (np.concatenate((cables.switch, cables.switch)), ends)),
        **{one.kind: one for one in of_chips},
    }
    return {kind: crowd for kind, crowd in crowds.items() if len(crowd)}, stands_on


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(places: Places, ring: Ring, row: int | NDArray[np.intp]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Give what members read in a row of the panel (``[n]``), or in several (``[rows, n]``); NaN where it is missing."""
    return {kind: {name: reading(places, ring, name, row) for name in names} for kind, names in WATCHED.items()}


def reading(
    places: Places, ring: Ring, name: str, row: int | NDArray[np.intp], *, of: Index | slice = slice(None)
) -> NDArray[np.float32]:
    """Give one metric of all its members, or of some of them."""
    kind, column = CATALOGUE[name].kind, ring.columns.get(name)
    rows = np.atleast_1d(np.asarray(row, dtype=np.intp))
    hosts = places.chip_host if kind is EntityKind.CHIP else places.cables.one if kind is EntityKind.LINK else places.slot
    if column is None:
        found = np.full((len(rows), len(hosts[of])), np.nan, dtype=np.float32)
    elif kind is EntityKind.HOST:
        found = _picked(column, rows, (places.slot[of],))
    elif kind is EntityKind.CHIP:
        found = _picked(column, rows, (places.slot[places.chip_host[of]], places.chip_index[of]))
    else:
        found = _of_links(places, column, rows, of)
    return found if np.ndim(row) else found[0]


def _of_links(places: Places, column: NDArray[np.float32], rows: Index, of: Index | slice) -> NDArray[np.float32]:
    """Give the better of what both ends say: a sick link is seen from both, and ends that disagree (a swapped cable, a wrong label) accuse nobody."""
    cables, slot, index = places.cables, places.slot, places.chip_index
    one, other = cables.one[of], cables.other[of]
    said = _picked(column, rows, (slot[places.chip_host[one]], index[one], cables.port_one[of]))
    return np.fmin(said, _picked(column, rows, (slot[places.chip_host[other]], index[other], cables.port_other[of])))


def _picked(column: NDArray[np.float32], rows: Index, where: tuple[Index, ...]) -> NDArray[np.float32]:
    """Pick members of some rows of ``[rows, hosts, ...]``; NaN where the panel has no such chip or port."""
    flat, there = np.zeros(len(where[0]), dtype=np.intp), np.ones(len(where[0]), dtype=bool)
    for index, size in zip(where, column.shape[1:], strict=True):
        there &= index < size
        flat = flat * size + np.minimum(index, size - 1)
    lines = column.reshape(len(column), -1)
    # one row as it lies there, and of many only what is asked for: a window of all is a gigabyte
    found = (
        np.stack([lines[row].take(flat) for row in rows.tolist()]) if len(rows) else np.zeros((0, len(flat)), dtype=np.float32)
    )
    if not there.all():
        found[:, ~there] = np.nan
    return found
