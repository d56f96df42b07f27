"""Where a gang goes: a pure function from fleet, gang and what is taken to a plan, or to why there is none.

A gang is placed whole or not at all. A slice takes k whole free cubes of one TPU pod (any of them: optical switches join
what is not adjacent), or below a cube an aligned box of hosts inside one (Google's sub-partitions halve a cube again and
again, so that largest first and first fit is exact). Classic pools are slices as they stand. Slices that are whole and
healthy where they are stay there. DEGRADED cubes are the second choice; what is not surely healthy is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.boxes import box_hosts
from sliceward.scheduling.packing import pack
from sliceward.scheduling.vacancy import BEST, Vacancy, dominant
from sliceward.topology.checks import hosts_by_slice
from sliceward.topology.generations import GENERATIONS, Shape, text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from sliceward.topology.fleet import Cube, Fleet
    from sliceward.topology.gangs import Gang, Role
    from sliceward.topology.ids import CubeId, GangId, HostId


@dataclass(frozen=True, slots=True)
class PlannedSlice:
    """Where one slice of a gang goes. ``stays``: it sits there already."""

    role: str
    index: int
    shape: Shape
    cubes: tuple[CubeId, ...]
    hosts: tuple[HostId, ...]
    stays: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A place for every slice of a gang, in the order of its roles. ``reasons``: one line a slice."""

    gang: GangId
    at: datetime
    slices: tuple[PlannedSlice, ...]
    reasons: tuple[str, ...]

    @property
    def hosts(self) -> frozenset[HostId]:
        """All hosts of the plan: they get the gang's label."""
        return frozenset(host for planned in self.slices for host in planned.hosts)

    @property
    def cubes(self) -> frozenset[CubeId]:
        """All cubes of the plan."""
        return frozenset(cube for planned in self.slices for cube in planned.cubes)

    @property
    def moved(self) -> tuple[PlannedSlice, ...]:
        """The slices that change their place."""
        return tuple(planned for planned in self.slices if not planned.stays)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A cube that is not used, and why."""

    cube: CubeId
    why: str


@dataclass(frozen=True, slots=True)
class NoFit:
    """There is no place for the gang as a whole. ``why`` in one line; ``rejected`` cube by cube."""

    gang: GangId
    at: datetime
    why: str
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class Want:
    """One slice that needs a place: ``cubes`` whole ones, or a box (``cubes`` 0) inside one."""

    role: Role
    index: int
    shape: Shape
    cubes: int

    @property
    def key(self) -> tuple[str, int]:
        """Role and slice index."""
        return self.role.name, self.index


def place(
    fleet: Fleet, gang: Gang, *, avoid: frozenset[HostId], reserved: Mapping[HostId, GangId], now: datetime
) -> Plan | NoFit:
    """Give a place for every slice of ``gang``, or say why there is none.

    ``avoid``: hosts that must not be used. ``reserved``: hosts promised to gangs (its own promises do not hinder it).
    Hosts that hold only this gang's own members count as free: it is suspended, and gone, before it starts again.
    The same input gives the same plan.
    """
    wants = _wants(fleet, gang)
    if isinstance(wants, str):
        return NoFit(gang.id, now, wants)
    room = _Room.of(Vacancy(fleet, gang, avoid, reserved))
    for kept in _keepings(room, wants):
        for choice in (room.best(), room):
            seats = choice.fill([want for want in wants if want.key not in kept], kept)
            if seats is not None:
                crossed = _crossed(room, seats)
                return NoFit(gang.id, now, crossed) if crossed else _plan(fleet, gang, wants, seats, now)
    return _no_fit(room, wants, now)


def _wants(fleet: Fleet, gang: Gang) -> list[Want] | str:
    """Give what the gang needs slice by slice, or why that cannot be said."""
    if gang.generation is None or gang.generation not in GENERATIONS:
        return "the gang's TPU generation is unknown; its template should select the accelerator"
    total = sum(role.slices for role in gang.roles)
    if total > 1 and gang.exclusive_key is None:
        return f"the gang has {total} slices and no exclusive topology: nothing would keep its slices whole"
    if gang.chips > sum(host.chips for host in fleet.hosts.values()):
        return f"the gang needs {gang.chips} chips, more than the whole fleet has"
    kind = GENERATIONS[gang.generation]
    wants = []
    for role in gang.roles:
        if role.topology is None or not kind.admits(role.topology):
            shape = text_of(role.topology) if role.topology else f"{role.hosts * role.chips_per_host} chips"
            return (
                f"the shape of role {role.name or gang.id.name!r} ({shape}) is not one of {kind.name} that is known for certain"
            )
        cubes = prod(role.topology) // prod(kind.cube) if kind.cube and kind.is_whole_cubes(role.topology) else 0
        wants += [Want(role, index, role.topology, cubes) for index in range(role.slices)]
    return wants


@dataclass(frozen=True)
class _Room:
    """What is free for the gang: cubes in order of preference, and the free hosts that suit each role."""

    vacancy: Vacancy
    cubes: tuple[Cube, ...]
    fits: Mapping[str, frozenset[HostId]]

    @classmethod
    def of(cls, vacancy: Vacancy) -> _Room:
        fleet, gang = vacancy.fleet, vacancy.gang
        mine = (cube for cube in fleet.cubes.values() if cube.id.cluster == gang.id.cluster)
        cubes = sorted(
            (cube for cube in mine if vacancy.why_not_cube(cube) is None),
            key=lambda cube: (vacancy.rank(cube), not cube.spare, cube.id),
        )
        free = [host for cube in cubes for host in cube.hosts if vacancy.why_not(host) is None]
        fits = {role.name: frozenset(h for h in free if vacancy.why_unsuited(h, role) is None) for role in gang.roles}
        return cls(vacancy, tuple(cubes), fits)

    def best(self) -> _Room:
        """Leave out cubes that are only a second choice."""
        return replace(self, cubes=tuple(cube for cube in self.cubes if self.vacancy.rank(cube) == BEST))

    def whole(self, role: Role, taken: Collection[HostId]) -> Iterator[Cube]:
        """Give the cubes that a slice of ``role`` can take whole, best first."""
        fits = self.fits[role.name]
        return (cube for cube in self.cubes if fits.issuperset(cube.hosts) and not any(host in taken for host in cube.hosts))

    def fill(self, wants: list[Want], kept: Mapping[tuple[str, int], _Seat]) -> dict[tuple[str, int], _Seat] | None:
        """Seat every want beside the kept ones, largest first; None where one finds no seat."""
        seats = dict(kept)
        taken = {host for seat in kept.values() for host in seat.hosts}
        for fits in sorted({self.fits[want.role.name] for want in wants}, key=len):
            alike = [want for want in wants if self.fits[want.role.name] == fits]
            for want, seat in self._joined([want for want in alike if want.cubes > 1], taken):
                seats[want.key] = seat
                taken.update(seat.hosts)
            for want in sorted((w for w in alike if w.cubes <= 1), key=lambda w: -prod(w.shape)):
                seat_or_none = self._domain(want, taken) or self._box(want, taken, seats)
                if seat_or_none is not None:
                    seats[want.key] = seat_or_none
                    taken.update(seat_or_none.hosts)
        return seats if len(seats) == len(kept) + len(wants) and self._are_exclusive(seats) else None

    def _joined(self, wants: list[Want], taken: set[HostId]) -> list[tuple[Want, _Seat]]:
        """Seat slices of several cubes: in classic pools of that very shape, or in cubes that switches join within one pod."""
        pools = [cube for cube in self.whole(wants[0].role, taken) if cube.classic] if wants else []
        seated, left = [], []
        for want in wants:
            pool = next((cube for cube in pools if cube.shape == want.shape), None)
            if pool is None:
                left.append(want)
            else:
                pools.remove(pool)
                seated.append((want, _Seat((pool.id,), pool.hosts)))
        partitions = [cube for cube in self.whole(left[0].role, taken) if not cube.classic] if left else []
        packed = pack([want.cubes for want in left], partitions) or []
        joined = [_Seat(tuple(c.id for c in cubes), tuple(h for c in cubes for h in c.hosts)) for cubes in packed]
        return seated + list(zip(left, joined, strict=False))

    def _domain(self, want: Want, taken: set[HostId]) -> _Seat | None:
        """Take a whole domain of the very shape: a partition for a one-cube slice, or a classic pool."""
        cube = next((c for c in self.whole(want.role, taken) if c.shape == want.shape), None)
        return _Seat((cube.id,), cube.hosts) if cube is not None else None

    def _box(self, want: Want, taken: set[HostId], seats: Mapping[tuple[str, int], _Seat]) -> _Seat | None:
        """Take an aligned box inside a partition, in the one that is fullest already, so that whole cubes stay whole."""
        vacancy, fits = self.vacancy, self.fits[want.role.name]
        own = {cube for seat in seats.values() for cube in seat.cubes}
        found = []
        for cube in self.cubes:
            if want.cubes or cube.classic or (vacancy.gang.exclusive_key and (cube.id in own or self._shared(cube))):
                continue
            free = frozenset(host for host in cube.hosts if host in fits and host not in taken)
            hosts = box_hosts(vacancy.fleet, cube, want.shape, free)
            if hosts is not None:
                found.append((vacancy.rank(cube), len(free), cube.id, hosts))
        best = min(found, default=None)
        return _Seat((best[2],), best[3]) if best is not None else None

    def _shared(self, cube: Cube) -> bool:
        """Whether another gang sits in the cube: exclusive topology lets no second one in (JobSet's anti-affinity)."""
        others = (gang for host in cube.hosts for gang in self.vacancy.fleet.gangs_on.get(host, ()))
        return any(gang != self.vacancy.gang.id for gang in others)

    def _are_exclusive(self, seats: Mapping[tuple[str, int], _Seat]) -> bool:
        """Whether exclusive topology can hold: one value of its label a slice, another for each slice."""
        key, hosts = self.vacancy.gang.exclusive_key, self.vacancy.fleet.hosts
        if key is None or key == self.vacancy.names.slice:
            return True  # the label of Slice objects is set when the slice is formed, after planning
        values = [{hosts[host].labels.get(key) for host in seat.hosts} for seat in seats.values()]
        firsts = {next(iter(each)) for each in values if len(each) == 1}
        return len(firsts) == len(values) and None not in firsts


@dataclass(frozen=True, slots=True)
class _Seat:
    cubes: tuple[CubeId, ...]
    hosts: tuple[HostId, ...]
    stays: bool = False


def _keepings(room: _Room, wants: list[Want]) -> list[dict[tuple[str, int], _Seat]]:
    """Give what to try: first with all slices kept that are whole and free where they sit, then with none."""
    crews = hosts_by_slice(room.vacancy.gang)
    kept = {}
    for want in wants:
        hosts = crews.get(want.key, frozenset())
        seat = _seat_of(room, want, hosts) if hosts and room.fits[want.role.name].issuperset(hosts) else None
        if seat is not None:
            kept[want.key] = seat
    return [kept, {}] if kept else [{}]


def _seat_of(room: _Room, want: Want, hosts: frozenset[HostId]) -> _Seat | None:
    """Give the seat that a slice has now, if it is one that could be planned."""
    fleet = room.vacancy.fleet
    cubes = {c for host in hosts if (c := fleet.hosts[host].cube) is not None}
    around = [fleet.cubes[cube] for cube in sorted(cubes)]
    if want.cubes or (len(around) == 1 and around[0].classic):
        fits = sum(prod(cube.shape) for cube in around) == prod(want.shape) and len({cube.pod for cube in around}) == 1
        fits = fits and all(cube.shape == want.shape for cube in around if cube.classic)
        ordered = tuple(host for cube in around for host in cube.hosts)
        return _Seat(tuple(c.id for c in around), ordered, stays=True) if fits and hosts == set(ordered) else None
    boxed = box_hosts(fleet, around[0], want.shape, hosts) if len(around) == 1 else None
    return _Seat((around[0].id,), boxed, stays=True) if boxed is not None and hosts == set(boxed) else None


def _crossed(room: _Room, seats: Mapping[tuple[str, int], _Seat]) -> str | None:
    """Say which roles could take each other's hosts; None where they cannot, or where it makes no difference.

    All planned hosts get one label, so that only the roles' own selectors keep roles of different size apart.
    """
    hosts: dict[str, set[HostId]] = {}
    for (role, _), seat in seats.items():
        hosts.setdefault(role, set()).update(seat.hosts)
    for one, other in combinations(room.vacancy.gang.roles, 2):
        together = hosts[one.name] | hosts[other.name]
        alike = one.hosts == other.hosts and together <= room.fits[one.name] and together <= room.fits[other.name]
        if not alike and (hosts[one.name] & room.fits[other.name] or hosts[other.name] & room.fits[one.name]):
            return f"roles {one.name!r} and {other.name!r} could take each other's hosts: their templates select the same ones"
    return None


def _plan(fleet: Fleet, gang: Gang, wants: list[Want], seats: Mapping[tuple[str, int], _Seat], now: datetime) -> Plan:
    crews = hosts_by_slice(gang)
    slices, reasons = [], []
    for want in wants:
        seat = seats[want.key]
        stays = seat.stays or crews.get(want.key) == frozenset(seat.hosts)
        slices.append(PlannedSlice(want.role.name, want.index, want.shape, seat.cubes, seat.hosts, stays))
        where = ", ".join(_described(fleet.cubes[cube]) for cube in seat.cubes)
        reasons.append(f"{want.role.name or gang.id.name} {want.index} {'stays in' if stays else 'goes to'} {where}")
    return Plan(gang.id, now, tuple(slices), tuple(reasons))


def _described(cube: Cube) -> str:
    words = [word for word, said in (("spare", cube.spare), (cube.state or "", bool(cube.state))) if said]
    return f"{cube.id.name} ({', '.join(words)})" if words else cube.id.name


def _no_fit(room: _Room, wants: list[Want], now: datetime) -> NoFit:
    vacancy = room.vacancy
    gang = vacancy.gang
    mine = sorted((c for c in vacancy.fleet.cubes.values() if c.id.cluster == gang.id.cluster), key=lambda c: c.id)
    rejected = []
    for cube in mine:
        reasons = [vacancy.why_not_whole(cube, role) for role in gang.roles]
        if reasons and all(reasons):
            rejected.append(Rejected(cube.id, reasons[0] or ""))
    free = len(mine) - len(rejected)
    needs = ", ".join(f"{sum(w.role == role for w in wants)} of {text_of(role.topology or ())}" for role in gang.roles)
    why = f"needs {needs}; {free} of {len(mine)} cubes are free as a whole"
    told = dominant(r.why for r in rejected)
    return NoFit(gang.id, now, f"{why}; the others: {told}" if told else why, tuple(rejected))
