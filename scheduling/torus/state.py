"""A pod as boards: which hosts are there, what is known of them and who is in the way; a change touches only the bits it names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.occupancy import Grade, Occupancy
from sliceward.scheduling.torus.board import places_on
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from sliceward.scheduling.occupancy import Window
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
        bits = bytearray((self.lattice.hosts.size + 7) // 8)
        for host in hosts:
            number = self.numbers.get(host)
            if number is not None:
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

    ``degraded`` by their grade, ``told``: all that something is said of. ``risks`` in `RISK` by place, None where there is none; ``windows``: who is in which. ``between`` and
    ``within``: condemned links (`Breaks`).
    """

    fine: int = 0
    passable: int = 0
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
    mine = [host for host in hosts if host in site.numbers]
    if not mine:
        return state
    told = [(host, occupancy.standing(host)) for host in mine]
    grades = {grade: site.board(host for host, standing in told if standing.grade is grade) for grade in _GRADES}
    barred = site.board(host for host in mine if host in occupancy.bars)
    fine = grades[Grade.HEALTHY] & ~barred
    others = ~site.board(mine)
    known = site.board(host for host in mine if host in occupancy.standings)
    windows = {window: left for window, board in state.windows if (left := board & others)}
    for host, standing in told:
        if standing.window is not None:
            windows[standing.window] = windows.get(standing.window, 0) | 1 << site.numbers[host]
    risks = state.risks
    if risks is not None or any(standing.risk for _, standing in told):
        risks = np.zeros(site.lattice.hosts.size) if risks is None else risks.copy()
        for host, standing in told:
            risks[site.numbers[host]] = round(standing.risk / RISK)
    return replace(
        state,
        fine=state.fine & others | fine,
        passable=state.passable & others | fine | grades[Grade.DEGRADED] & ~barred,
        degraded=state.degraded & others | grades[Grade.DEGRADED],
        held=state.held & others | site.board(host for host in mine if host in occupancy.holders),
        told=state.told & others | known,
        risks=risks,
        windows=tuple(sorted(windows.items(), key=lambda item: (item[0].begins, item[0].ends))),
    )


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


_GRADES = (Grade.HEALTHY, Grade.DEGRADED)
