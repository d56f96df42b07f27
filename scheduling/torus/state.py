"""A pod as boards: which hosts are there, what is known of them and who is in the way; a change touches only the bits it names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.occupancy import PLAIN, Grade, Occupancy
from sliceward.scheduling.torus.board import places_on
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from sliceward.scheduling.occupancy import Standing, Window
    from sliceward.scheduling.torus.lattice import Lattice
    from sliceward.topology.ids import ChipId, CubeId, HostId
    from sliceward.topology.torus import Coordinate

RISK = 2.0**-30
"""The unit in which failures a day are summed: whole numbers of it are added without rounding."""


@dataclass(frozen=True)
class Site:
    """What never changes of a pod: its hosts by place (None: there is none), the pools that they are of, and its spares."""

    lattice: Lattice
    seats: tuple[HostId | None, ...]
    parts: Mapping[CubeId, tuple[HostId, ...]] = field(default_factory=dict)
    spares: frozenset[HostId] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a host without a place, and one with two."""
        there = [host for host in self.seats if host is not None]
        if len(self.seats) != self.lattice.hosts.size:
            raise Misconfigured("pod", f"has {len(self.seats)} places for {self.lattice.hosts.size} hosts", "Give one to each")
        if len(set(there)) < len(there):
            twice = min(host for host in there if there.count(host) > 1)
            raise Misconfigured(f"host {twice}", "sits on two places of its pod", "Compare the positions that its chips report")

    @cached_property
    def hosts(self) -> Mapping[HostId, int]:
        """All hosts with their chips, in the order of their places."""
        return {host: self.lattice.chips_a_host for host in self.seats if host is not None}

    @cached_property
    def numbers(self) -> Mapping[HostId, int]:
        """The number of each host's place."""
        return {host: number for number, host in enumerate(self.seats) if host is not None}

    @cached_property
    def there(self) -> int:
        """The board of all hosts."""
        return self.board(self.hosts)

    @cached_property
    def kept(self) -> int:
        """The board of the spares."""
        return self.board(self.spares)

    def board(self, hosts: Iterable[HostId]) -> int:
        """Give the board of these hosts; those of other pods are left out."""
        numbers = self.numbers
        return self.places(number for host in hosts if (number := numbers.get(host)) is not None)

    def places(self, numbers: Iterable[int]) -> int:
        """Give the board of these places."""
        bits = bytearray((self.lattice.hosts.size + 7) // 8)
        for number in numbers:
            bits[number >> 3] |= 1 << (number & 7)
        return int.from_bytes(bits, "little")

    def hosts_on(self, board: int) -> Iterator[HostId]:
        """Give the hosts whose places are set."""
        index = self.lattice.hosts.index
        return (host for place in places_on(self.lattice.hosts, board) if (host := self.seats[index(place)]) is not None)

    def chip_at(self, chip: ChipId) -> Coordinate | None:
        """Give the place of a chip; None where its host is of another pod, or carries no chip of that number."""
        number = self.numbers.get(chip.host_id)
        if number is None or chip.index >= self.lattice.chips_a_host:
            return None
        return self.lattice.chip_place(self.lattice.hosts.coordinate(number), chip.index)


@dataclass(frozen=True, slots=True)
class State:
    """``fine``: hosts that are healthy and open, whoever sits on them; ``passable``: those and the degraded ones. ``held``: taken.

    ``ill``: open, whoever sits on them, but not healthy. ``degraded`` by their grade, ``told``: all that something is said of. ``risks`` in `RISK` by place, None where there is none; ``windows``: who is in which. ``between`` and
    ``within``: condemned links (`Breaks`).
    """

    fine: int = 0
    passable: int = 0
    ill: int = 0
    degraded: int = 0
    held: int = 0
    told: int = 0
    risks: NDArray[np.float64] | None = None
    windows: tuple[tuple[Window, int], ...] = ()
    between: tuple[tuple[int, int], ...] = ()
    within: int = 0

    @classmethod
    def of(cls, site: Site, occupancy: Occupancy) -> State:
        """Read all of an occupancy: what nothing is said of is fine."""
        plain = _linked(cls(site.there, site.there), site, occupancy)
        return _told(plain, site, occupancy, {*occupancy.holders, *occupancy.bars, *occupancy.standings})

    def changed(self, site: Site, before: Occupancy, after: Occupancy, hosts: Collection[HostId]) -> State:
        """Read what is said anew of some hosts, and of the links."""
        linked = self if before.links == after.links else _linked(self, site, after)
        if before.standings is after.standings and before.bars is after.bars:
            return _sat(linked, site, after, hosts)
        return _told(linked, site, after, hosts)


def _sat(state: State, site: Site, occupancy: Occupancy, hosts: Collection[HostId]) -> State:
    """Read who sits where: all that changes when a gang comes or goes."""
    held = occupancy.holders
    return replace(state, held=state.held & ~site.board(hosts) | site.board(host for host in hosts if host in held))


def _told(state: State, site: Site, occupancy: Occupancy, hosts: Collection[HostId]) -> State:
    """Read all that is said of some hosts: each is looked up once, and each standing once for all that share it."""
    mine = {host: number for host in hosts if (number := site.numbers.get(host)) is not None}
    if not mine:
        return state
    alike: dict[int, tuple[Standing, list[int]]] = {}
    for host, number in mine.items():
        standing = occupancy.standings.get(host, PLAIN)
        alike.setdefault(id(standing), (standing, []))[1].append(number)
    others = ~site.places(mine.values())
    told = [(standing, numbers, site.places(numbers)) for standing, numbers in alike.values()]
    grades, windows = dict.fromkeys(Grade, 0), {window: left for window, board in state.windows if (left := board & others)}
    for standing, _, board in told:
        grades[standing.grade] |= board
        if standing.window is not None:
            windows[standing.window] = windows.get(standing.window, 0) | board
    risks = state.risks
    if risks is not None or any(standing.risk for standing, _, _ in told):
        risks = np.zeros(site.lattice.hosts.size) if risks is None else risks.copy()
        for standing, numbers, _ in told:
            risks[numbers] = round(standing.risk / RISK)
    is_open = ~site.places(_those(mine, occupancy.bars))
    fine = grades[Grade.HEALTHY] & is_open
    return replace(
        state,
        fine=state.fine & others | fine,
        passable=state.passable & others | fine | grades[Grade.DEGRADED] & is_open,
        ill=state.ill & others | (grades[Grade.DEGRADED] | grades[Grade.UNKNOWN] | grades[Grade.SICK]) & is_open,
        degraded=state.degraded & others | grades[Grade.DEGRADED],
        held=state.held & others | site.places(_those(mine, occupancy.holders)),
        told=state.told & others | site.places(_those(mine, occupancy.standings)),
        risks=risks,
        windows=tuple(sorted(windows.items(), key=lambda item: (item[0].begins, item[0].ends))),
    )


def _those(numbers: Mapping[HostId, int], named: Mapping[HostId, object]) -> list[int]:
    """Give the numbers of the hosts that are named."""
    return [number for host, number in numbers.items() if host in named] if named else []


def _linked(state: State, site: Site, occupancy: Occupancy) -> State:
    """Place the condemned links. One of which the ends are known but are no neighbours closes the hosts of both to the careful."""
    joined, odd = [], 0
    for link in sorted(occupancy.links):
        one, other = map(site.chip_at, link.ends)
        if one is not None and other is not None and site.lattice.chips.distance(one, other) == 1:
            joined.append((one, other))
        else:
            odd |= site.board(end.host_id for end in link.ends)
    breaks = site.lattice.breaks(joined)
    return replace(state, between=tuple(sorted(breaks.between.items())), within=breaks.within | odd)
