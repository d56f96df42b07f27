"""One cube as it is built, and as it stands now: seats as bits, so that all of its boxes are judged at once.

Google says of each partition how it is: HEALTHY; DEGRADED, impaired but usable; UNHEALTHY, UNSET or INCOMPLETE, not usable (GKE,
"dynamic slicing"). Its word on a 4x4x4 counts for the boxes inside too, unless nodes carry a word of their own for the box. A host
whose place is unknown is part of the whole cube and of no box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sliceward.scheduling.cubes.nest import Nest, free_runs, nest_of
from sliceward.scheduling.occupancy import Grade, Occupancy
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS, text_of
from sliceward.topology.names import NAMES, Names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.occupancy import Window
    from sliceward.topology.fleet import Cube, Fleet, Host
    from sliceward.topology.ids import CubeId, GangId, HostId
    from sliceward.topology.torus import Coordinate


@dataclass(frozen=True, slots=True)
class Room:
    """One cube as it is built.

    ``hosts`` in the order of the cube's torus, ``seats`` their bits. By level of ``nest``, bits of the first seats of boxes:
    ``sound`` those that nobody speaks against, ``shaky`` those that are impaired but usable, ``built`` all. ``coordinates``: of the chips of each
    host in the cube, empty where unknown; ``placed``: the seats of those that are known. ``said``: why it is of no use as a whole whoever goes, "" where it may be. ``spare``:
    kept free for repairs.
    """

    id: CubeId
    nest: Nest
    chips: int
    hosts: tuple[HostId, ...]
    seats: tuple[int, ...]
    sound: tuple[int, ...]
    shaky: tuple[int, ...]
    built: tuple[int, ...]
    coordinates: tuple[tuple[Coordinate, ...], ...]
    placed: int
    said: str = ""
    spare: bool = False

    def hosts_in(self, bits: int) -> tuple[HostId, ...]:
        """Give the hosts on these seats, in the order of the cube's torus."""
        return tuple(host for host, seat in zip(self.hosts, self.seats, strict=True) if bits >> seat & 1)


class Burden(NamedTuple):
    """What is to be expected of the host on ``seat``: failures a day, and maintenance."""

    seat: int
    risk: float
    window: Window | None


class Now(NamedTuple):
    """One cube as it stands, seats as bits.

    ``free``: healthy and nobody's. ``poor``: degraded and nobody's. ``held``, ``limping``: the same two, but a gang sits there.
    ``back``: not healthy and nobody's: free again once it is well.
    ``torn``: by level, the boxes that contain a condemned link. ``holders``: who sits where.
    """

    free: int
    poor: int
    held: int
    limping: int
    back: int
    torn: tuple[int, ...]
    holders: tuple[tuple[GangId, int], ...]
    burdens: tuple[Burden, ...]

    @property
    def risk(self) -> float:
        """Failures to be expected of all hosts, per day."""
        return sum(burden.risk for burden in self.burdens)


def room_of(fleet: Fleet, cube: Cube, names: Names = NAMES) -> Room:
    """Lay out one partition of a fleet.

    Raises:
        Misconfigured: it is no cube that switches join, or a host is missing from the fleet.
    """
    kind = GENERATIONS[cube.generation]
    missing = [host for host in cube.hosts if host not in fleet.hosts]
    if cube.classic or cube.shape != kind.cube or not cube.hosts or missing:
        why = f"has no host {missing[0]}" if missing else f"is no {text_of(kind.cube or ())} partition with hosts"
        raise Misconfigured(f"cube {cube.id}", why, "Read the fleet again, or place on it as a pool")
    hosts = [fleet.hosts[host] for host in cube.hosts]
    sizes = sorted({host.chips for host in hosts})
    if len(sizes) > 1 or sizes[0] not in kind.chips_a_host:
        told = " and ".join(map(str, sizes))
        raise Misconfigured(f"cube {cube.id}", f"has hosts of {told} chips", "Correct the nodes' labels and resources")
    nest = nest_of(kind, hosts[0].chips)
    if nest is None or len(hosts) > nest.hosts:
        raise Misconfigured(f"cube {cube.id}", f"has {len(hosts)} hosts of {hosts[0].chips} chips", "Correct the nodes' labels")
    corners = {host.id: _corner(host) for host in hosts if host.coordinates}
    _check_apart(cube, corners, nest)
    known = {host: nest.seat_at(corner) for host, corner in corners.items()}
    left = iter(sorted(set(range(nest.hosts)) - set(known.values())))
    seats = tuple(known[host.id] if host.id in known else next(left) for host in hosts)
    placed = sum(1 << seat for seat in set(known.values()))
    sound, shaky = _judged(cube, nest, placed, [(host, known.get(host.id)) for host in hosts], names)
    said = "" if sound[0] or shaky[0] else _said(cube)
    places = tuple(host.coordinates for host in hosts)
    built = (1, *(free_runs(placed, run) for run in nest.runs[1:]))
    return Room(cube.id, nest, hosts[0].chips, cube.hosts, seats, sound, shaky, built, places, placed, said, cube.spare)


def _check_apart(cube: Cube, corners: Mapping[HostId, tuple[int, ...]], nest: Nest) -> None:
    """Refuse hosts of one place, and one that does not lie in the cube."""
    there: dict[tuple[int, ...], HostId] = {}
    for host, corner in corners.items():
        lies = zip(corner, nest.boxes[0], nest.tray, strict=False)
        if len(corner) != len(nest.tray) or not all(0 <= at < edge and at % part == 0 for at, edge, part in lies):
            raise Misconfigured(str(host), f"lies outside of {cube.id}", "Correct its coordinates, or leave them unknown")
        if there.setdefault(corner, host) != host:
            why = f"{there[corner]} and {host} lie at one place"
            raise Misconfigured(f"cube {cube.id}", why, "Compare the positions that their chips report")


def _said(cube: Cube) -> str:
    if not cube.complete:
        return f"has {len(cube.hosts)} of {cube.expected_hosts} hosts"
    return f"is {cube.state} in Google's words"


def now_of(room: Room, occupancy: Occupancy, links: Sequence[int] = ()) -> Now:
    """Give how a cube stands. ``links``: what `torn_in` says of it."""
    free = poor = held = limping = back = 0
    holders: dict[GangId, int] = {}
    burdens: list[Burden] = []
    for host, seat in zip(room.hosts, room.seats, strict=True):
        bit = 1 << seat
        standing = occupancy.standings.get(host)
        gang = occupancy.holders.get(host)
        if gang is not None:
            holders[gang] = holders.get(gang, 0) | bit
        if standing is not None and (standing.risk or standing.window is not None):
            burdens.append(Burden(seat, standing.risk, standing.window))
        grade = Grade.HEALTHY if standing is None else standing.grade
        if host in occupancy.bars:
            continue
        if gang is None and grade is not Grade.HEALTHY:
            back |= bit
        if grade in _UNUSED:
            continue
        if gang is None:
            free, poor = (free | bit, poor) if grade is Grade.HEALTHY else (free, poor | bit)
        else:
            held, limping = (held | bit, limping) if grade is Grade.HEALTHY else (held, limping | bit)
    torn = tuple(_torn(room.nest, run, links) if links else 0 for run in room.nest.runs)
    return Now(free, poor, held, limping, back, torn, tuple(sorted(holders.items())), tuple(burdens))


_UNUSED = frozenset({Grade.SICK, Grade.UNKNOWN})


def torn_in(rooms: Sequence[Room], places: Mapping[HostId, tuple[int, int]], occupancy: Occupancy) -> dict[int, tuple[int, ...]]:
    """Give, by cube, which seats hold the ends of each condemned link: all of them where the link leads through a switch.

    A lost switch is a lost link of every cube: the two ends of each of its lines lie on opposite faces of all cubes.
    """
    found: dict[int, list[int]] = {}
    for link in sorted(occupancy.links):
        ends = [(places[end.host_id], end.index) for end in link.ends if end.host_id in places]
        inside = _copper(rooms, ends)
        for (number, _), _ in ends:
            found.setdefault(number, []).append(inside or rooms[number].nest.full)
    if occupancy.switches:
        for number, room in enumerate(rooms):
            found.setdefault(number, []).append(room.nest.full)
    return {number: tuple(masks) for number, masks in found.items()}


def _copper(rooms: Sequence[Room], ends: Sequence[tuple[tuple[int, int], int]]) -> int:
    """Give the seats of the ends of a link if they are certainly neighbours inside one cube, else 0."""
    if len(ends) != _ENDS or ends[0][0][0] != ends[1][0][0]:
        return 0
    room, places = rooms[ends[0][0][0]], []
    for (_, seat), chip in ends:
        chips = room.coordinates[room.seats.index(seat)]
        if chip >= len(chips):
            return 0
        places.append(chips[chip])
    apart = sum(abs(a - b) for a, b in zip(*places, strict=True))
    return (1 << ends[0][0][1]) | (1 << ends[1][0][1]) if apart == 1 else 0


_ENDS = 2


def _torn(nest: Nest, run: int, links: Sequence[int]) -> int:
    """Mark the boxes of ``run`` hosts that hold both ends of a link."""
    standing = nest.standing(nest.runs.index(run))
    return sum(box & -box for box in standing if any(link & box == link for link in links))


def _corner(host: Host) -> tuple[int, ...]:
    return tuple(min(axis) for axis in zip(*host.coordinates, strict=True))


def _judged(
    cube: Cube, nest: Nest, placed: int, hosts: list[tuple[Host, int | None]], names: Names
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give, by level, the boxes that are sound and those that are shaky, by Google's word and by what is there."""
    ranks: Mapping[str | None, int] = {None: 0, names.healthy: 0, names.degraded: 1}
    word = ranks.get(cube.state, _USELESS) if cube.complete else _USELESS
    sound, shaky = [], []
    for level, (box, run) in enumerate(zip(nest.boxes, nest.runs, strict=True)):
        starts = free_runs(placed, run) if level else 1
        grades = dict.fromkeys((1 << seat for seat in range(0, nest.hosts, run)), word)
        if level:
            grades.update(_own_words(names.sub_partition_state.replace("{shape}", text_of(box)), run, hosts, ranks))
        sound.append(starts & sum(bit for bit, grade in grades.items() if grade == 0))
        shaky.append(starts & sum(bit for bit, grade in grades.items() if grade == 1))
    return tuple(sound), tuple(shaky)


_USELESS = 2


def _own_words(label: str, run: int, hosts: list[tuple[Host, int | None]], ranks: Mapping[str | None, int]) -> dict[int, int]:
    """Give what nodes say of the boxes that they lie in, by first seat; the worst word counts."""
    found: dict[int, int] = {}
    for host, seat in hosts:
        word = host.labels.get(label)
        if seat is not None and word is not None:
            first = 1 << seat // run * run
            found[first] = max(found.get(first, 0), ranks.get(word, _USELESS))
    return found
