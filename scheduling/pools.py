"""Classic node pools behind the interface: each is one slice as it stands, which can be neither divided nor joined.

How a pool stands is found out once and kept until one of its hosts changes; pools that stand alike cost the same, so that of
thousands few are priced.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from sliceward.scheduling.ground import Seat, Seats, Shortage, Victims, generation_of, is_shape_of
from sliceward.scheduling.occupancy import Grade, Occupancy
from sliceward.scheduling.pricing import Facts, price_of
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS, text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sliceward.scheduling.ground import GroundId, Mix, Terms, Want
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import CubeId, GangId, HostId


@dataclass(frozen=True, slots=True)
class Pool:
    """One node pool. ``expected``: how many hosts its shape asks for; one with fewer is of no use as a whole."""

    id: CubeId
    shape: Shape
    hosts: tuple[HostId, ...]
    expected: int
    spare: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether all hosts are there."""
        return len(self.hosts) == self.expected


class _Now(NamedTuple):
    """How a pool stands. ``fine``: all there, healthy and open, whoever sits on it; ``passable``: the same, or degraded."""

    fine: bool
    passable: bool
    told: bool
    gangs: tuple[GangId, ...]

    def suits(self, worst: Grade) -> bool:
        """Whether a slice could have it if nobody sat there."""
        return self.passable if worst is Grade.DEGRADED else self.fine


@dataclass(frozen=True)
class Pools:
    """All classic pools of one block and generation (a `Ground`). ``hosts`` with their chips."""

    id: GroundId
    generation: str
    pools: tuple[Pool, ...]
    hosts: Mapping[HostId, int]
    occupancy: Occupancy = field(default_factory=Occupancy)

    def check(self) -> None:
        """Refuse a pool that is there twice, has no shape of its kind, or is whole with other chips than its shape has."""
        kind = generation_of(self.generation)
        for pool_id, times in Counter(pool.id for pool in self.pools).items():
            if times > 1:
                raise Misconfigured(str(pool_id), "is there twice", "Give each pool once")
        for pool in self.pools:
            if not is_shape_of(kind, pool.shape):
                raise Misconfigured(str(pool.id), f"has shape {text_of(pool.shape)}, which {kind.name} has not", "Correct it")
            chips = sum(self.hosts.get(host, 0) for host in pool.hosts)
            if not pool.hosts or (pool.is_whole and chips != prod(pool.shape)):
                why = f"is whole with {chips} chips, its shape {text_of(pool.shape)} has {prod(pool.shape)}"
                raise Misconfigured(str(pool.id), why, "Correct its shape, or the hosts that it has and expects")

    @cached_property
    def parts(self) -> Mapping[CubeId, tuple[HostId, ...]]:
        """The pools with their hosts."""
        return {pool.id: pool.hosts for pool in self.pools}

    @cached_property
    def memo(self) -> dict[tuple[object, ...], object]:
        """What was found out of just this ground."""
        return {}

    def changed(self, occupancy: Occupancy, hosts: Collection[HostId]) -> Pools:
        """Look again at the pools of these hosts."""
        anew = replace(self, occupancy=occupancy)
        anew.__dict__.update(parts=self.parts, _numbers=self._numbers, _of_shape=self._of_shape, _chips=self._chips)
        if "_now" in self.__dict__:
            now = list(self._now)
            for number in {self._numbers[host] for host in hosts if host in self._numbers}:
                now[number] = _now_of(self.pools[number], occupancy)
            anew.__dict__["_now"] = tuple(now)
        return anew

    def seats(self, want: Want) -> Seats:
        """Give every free pool of the very shape."""
        found = [self.pools[number] for number in self._free(want)]
        return Seats(len(found), lambda: map(self._seat, found))

    def best(self, want: Want, terms: Terms) -> Seat | None:
        """Give the cheapest free pool; of those of whose hosts nothing is said the first stands for all that are alike."""
        tried: dict[object, Seat] = {}
        for number in self._free(want):
            pool = self.pools[number]
            alike = number if self._now[number].told else (pool.spare, number in self._torn, self._chips[number])
            before = tried.get(alike)
            if before is None or (pool.id,) < before.cubes:
                tried[alike] = self._seat(pool)
        priced = (self.priced(seat, want, terms) for seat in tried.values())
        return min(priced, key=lambda seat: (seat.cost, seat.cubes), default=None)

    def priced(self, seat: Seat, want: Want, terms: Terms) -> Seat:
        """Give a pool with its price."""
        standings = tuple(self.occupancy.standings[host] for host in seat.hosts if host in self.occupancy.standings)
        number = self._numbers[seat.hosts[0]]
        facts = Facts(
            loss=self.loss(seat, terms.mix),
            standings=standings,
            degraded=seat.grade is not Grade.HEALTHY,
            spare_chips=self._chips[number] if self.pools[number].spare else 0,
        )
        return replace(seat, price=price_of(want, terms, facts))

    def seat_of(self, want: Want, hosts: Collection[HostId]) -> Seat | None:
        """Give the pool that these hosts are."""
        held = set(hosts)
        number = next((self._numbers[host] for host in held if host in self._numbers), None)
        pool = self.pools[number] if number is not None else None
        if pool is None or (pool.shape, self.generation) != (want.shape, want.generation) or not pool.is_whole:
            return None
        return self._seat(pool) if held == set(pool.hosts) else None

    def mended(self, want: Want, held: Collection[HostId], out: Collection[HostId], terms: Terms) -> Seat | None:  # noqa: ARG002 (nothing of a pool can be replaced)
        """Give none: a pool stands as it is."""
        return None

    def room(self, want: Want) -> int:
        """Count the free pools of the very shape."""
        return sum(1 for _ in self._free(want))

    def alive(self, shape: Shape) -> int:
        """Count the healthy free pools of a shape that are not spares."""
        return sum(self._is_alive(number) and not self.pools[number].spare for number in self._of_shape.get(shape, ()))

    def loss(self, seat: Seat, mix: Mix) -> float:
        """Give the probability of the pool's own shape, if it is alive: it is the one place that is lost."""
        number = self._numbers[seat.hosts[0]]
        pool = self.pools[number]
        if pool.spare or not self._is_alive(number):
            return 0
        return sum(probability for shape, probability in mix if shape == pool.shape)

    def largest(self) -> Shape | None:
        """Give the shape of the largest healthy free pool."""
        free = (shape for shape, numbers in self._of_shape.items() if any(map(self._is_alive, numbers)))
        return max(free, key=lambda shape: (prod(shape), shape), default=None)

    def victims(self, want: Want, prices: Mapping[GangId, float]) -> Victims | None:
        """Give the cheapest pool by who sits in it."""
        found = []
        for number in self._sound(want):
            now = self._now[number]
            if now.suits(want.worst) and all(gang in prices for gang in now.gangs):
                found.append((sum(prices[gang] for gang in now.gangs), self.pools[number].id, number))
        if not found:
            return None
        cost, _, number = min(found)
        return Victims(self._now[number].gangs, cost, self._seat(self.pools[number]))

    def short(self, want: Want) -> Shortage:
        """Say which pool of the shape lacks fewest hosts."""
        reasons = (self.occupancy.why_not(host, want.worst) for host in self.hosts)
        counts = Counter(reason[0] for reason in reasons if reason is not None)
        lacking = (
            tuple(host for host in pool.hosts if not self.occupancy.is_usable(host, want.worst))
            for pool in map(self.pools.__getitem__, self._sound(want))
            if pool.is_whole
        )
        nearest = min((hosts for hosts in lacking if hosts), key=lambda hosts: (len(hosts), hosts), default=())
        return Shortage(dict(counts), nearest, len(self.hosts) - counts.total())

    # ── what is kept ────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _numbers(self) -> Mapping[HostId, int]:
        """The number of each host's pool."""
        return {host: number for number, pool in enumerate(self.pools) for host in pool.hosts}

    @cached_property
    def _of_shape(self) -> Mapping[Shape, Collection[int]]:
        """The numbers of the pools of each shape."""
        found: dict[Shape, list[int]] = {}
        for number, pool in enumerate(self.pools):
            found.setdefault(pool.shape, []).append(number)
        return found

    @cached_property
    def _chips(self) -> tuple[int, ...]:
        """The chips of each pool."""
        return tuple(sum(self.hosts[host] for host in pool.hosts) for pool in self.pools)

    @cached_property
    def _now(self) -> tuple[_Now, ...]:
        return tuple(_now_of(pool, self.occupancy) for pool in self.pools)

    @cached_property
    def _torn(self) -> frozenset[int]:
        """The numbers of the pools inside which a condemned link lies; a lost switch is a lost link of all that it joins of whole cubes."""
        kind = GENERATIONS[self.generation]
        joined = (number for number, pool in enumerate(self.pools) if kind.is_whole_cubes(pool.shape))
        lost = frozenset(joined) if self.occupancy.switches else frozenset()
        ends = ({self._numbers.get(end.host_id, -1) for end in link.ends} for link in self.occupancy.links)
        return lost.union(pool for pools in ends if len(pools) == 1 for pool in pools if pool >= 0)

    def _fitting(self, want: Want) -> Collection[int]:
        return self._of_shape.get(want.shape, ()) if want.generation == self.generation else ()

    def _sound(self, want: Want) -> Iterator[int]:
        return (number for number in self._fitting(want) if want.broken_links or number not in self._torn)

    def _free(self, want: Want) -> Iterator[int]:
        now = self._now
        return (number for number in self._sound(want) if not now[number].gangs and now[number].suits(want.worst))

    def _is_alive(self, number: int) -> bool:
        now = self._now[number]
        return now.fine and not now.gangs and number not in self._torn

    def _seat(self, pool: Pool) -> Seat:
        limps = any(self.occupancy.standing(host).grade is not Grade.HEALTHY for host in pool.hosts)
        degraded = limps or self._numbers[pool.hosts[0]] in self._torn
        return Seat(self.id, pool.hosts, (pool.id,), pool.shape, grade=Grade.DEGRADED if degraded else Grade.HEALTHY)


def _now_of(pool: Pool, occupancy: Occupancy) -> _Now:
    known, bars, holders = occupancy.standings, occupancy.bars, occupancy.holders
    grades = {known[host].grade for host in pool.hosts if host in known}
    is_open = pool.is_whole and not any(host in bars for host in pool.hosts)
    gangs = {holders[host] for host in pool.hosts if host in holders}
    return _Now(
        fine=is_open and grades <= {Grade.HEALTHY},
        passable=is_open and grades <= {Grade.HEALTHY, Grade.DEGRADED},
        told=bool(grades),
        gangs=tuple(sorted(gangs)),
    )
