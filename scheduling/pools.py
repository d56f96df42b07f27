"""Classic node pools behind the interface: each is one slice as it stands, which can be neither divided nor joined."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.ground import Seat, Seats, Shortage, Victims
from sliceward.scheduling.occupancy import Cause, Grade, Occupancy
from sliceward.scheduling.pricing import Facts, price_of

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


@dataclass(frozen=True)
class Pools:
    """All classic pools of one block and generation (a `Ground`). ``hosts`` with their chips."""

    id: GroundId
    generation: str
    pools: tuple[Pool, ...]
    hosts: Mapping[HostId, int]
    occupancy: Occupancy = field(default_factory=Occupancy)

    @cached_property
    def parts(self) -> Mapping[CubeId, tuple[HostId, ...]]:
        """The pools with their hosts."""
        return {pool.id: pool.hosts for pool in self.pools}

    def changed(self, occupancy: Occupancy, hosts: Collection[HostId]) -> Pools:  # noqa: ARG002 (nothing is kept that could go stale)
        """Give the ground with another occupancy."""
        anew = replace(self, occupancy=occupancy)
        anew.__dict__.update(parts=self.parts)
        return anew

    def seats(self, want: Want) -> Seats:
        """Give every free pool of the very shape."""
        found = [self._seat(pool) for pool in self._sound(want) if self._is_free(pool, want.worst)]
        return Seats(len(found), lambda: iter(found))

    def best(self, want: Want, terms: Terms) -> Seat | None:
        """Give the cheapest free pool."""
        return min((self.priced(seat, want, terms) for seat in self.seats(want)), key=lambda s: (s.cost, s.cubes), default=None)

    def priced(self, seat: Seat, want: Want, terms: Terms) -> Seat:
        """Give a pool with its price."""
        standings = tuple(self.occupancy.standings[host] for host in seat.hosts if host in self.occupancy.standings)
        spares = chain.from_iterable(pool.hosts for pool in self.pools if pool.spare)
        facts = Facts(
            loss=self.loss(seat, terms.mix),
            standings=standings,
            degraded=seat.grade is not Grade.HEALTHY,
            spare_chips=sum(self.hosts[host] for host in set(spares).intersection(seat.hosts)),
        )
        return replace(seat, price=price_of(want, terms, facts))

    def seat_of(self, want: Want, hosts: Collection[HostId]) -> Seat | None:
        """Give the pool that these hosts are."""
        held = set(hosts)
        pool = next((pool for pool in self._fitting(want) if len(pool.hosts) == pool.expected and held == set(pool.hosts)), None)
        return self._seat(pool) if pool is not None else None

    def mended(self, want: Want, held: Collection[HostId], out: Collection[HostId], terms: Terms) -> Seat | None:  # noqa: ARG002 (nothing of a pool can be replaced)
        """Give none: a pool stands as it is."""
        return None

    def room(self, want: Want) -> int:
        """Count the free pools of the very shape."""
        return self.seats(want).count

    def alive(self, shape: Shape) -> int:
        """Count the healthy free pools of a shape that are not spares."""
        return sum(pool.shape == shape and not pool.spare and self._is_alive(pool) for pool in self.pools)

    def loss(self, seat: Seat, mix: Mix) -> float:
        """Give the probability of the pool's own shape, if it is alive: it is the one place that is lost."""
        pools = (pool for pool in self.pools if pool.id in seat.cubes)
        alive = {pool.shape for pool in pools if not pool.spare and self._is_alive(pool)}
        return sum(probability for shape, probability in mix if shape in alive)

    def largest(self) -> Shape | None:
        """Give the shape of the largest healthy free pool."""
        free = (pool.shape for pool in self.pools if self._is_alive(pool))
        return max(free, key=lambda shape: (prod(shape), shape), default=None)

    def victims(self, want: Want, prices: Mapping[GangId, float]) -> Victims | None:
        """Give the cheapest pool by who sits in it."""
        found = []
        for pool in self._sound(want):
            gangs = sorted({self.occupancy.holders[host] for host in pool.hosts if host in self.occupancy.holders})
            emptied = self.occupancy.freed(pool.hosts)
            usable = len(pool.hosts) == pool.expected and all(emptied.is_usable(host, want.worst) for host in pool.hosts)
            if usable and all(gang in prices for gang in gangs):
                found.append(Victims(tuple(gangs), sum(prices[gang] for gang in gangs), self._seat(pool)))
        return min(found, key=lambda victims: (victims.cost, victims.seat.cubes), default=None)

    def short(self, want: Want) -> Shortage:
        """Say which pool of the shape lacks fewest hosts."""
        counts: dict[Cause, int] = {}
        for host in self.hosts:
            reason = self.occupancy.why_not(host, want.worst)
            if reason is not None:
                counts[reason[0]] = counts.get(reason[0], 0) + 1
        lacking = (
            tuple(host for host in pool.hosts if not self.occupancy.is_usable(host, want.worst))
            for pool in self._sound(want)
            if len(pool.hosts) == pool.expected
        )
        nearest = min((hosts for hosts in lacking if hosts), key=lambda hosts: (len(hosts), hosts), default=())
        return Shortage(counts, nearest, len(self.hosts) - sum(counts.values()))

    def _fitting(self, want: Want) -> Iterator[Pool]:
        return (pool for pool in self.pools if pool.shape == want.shape and want.generation == self.generation)

    def _sound(self, want: Want) -> Iterator[Pool]:
        return (pool for pool in self._fitting(want) if want.broken_links or not self._is_torn(pool))

    def _is_torn(self, pool: Pool) -> bool:
        """Whether a condemned link lies inside a pool."""
        links, hosts = self.occupancy.links, set(pool.hosts)
        return bool(links) and any(hosts.issuperset(end.host_id for end in link.ends) for link in links)

    def _is_alive(self, pool: Pool) -> bool:
        return self._is_free(pool, Grade.HEALTHY) and not self._is_torn(pool)

    def _is_free(self, pool: Pool, worst: Grade) -> bool:
        return len(pool.hosts) == pool.expected and all(self.occupancy.is_usable(host, worst) for host in pool.hosts)

    def _seat(self, pool: Pool) -> Seat:
        limps = any(self.occupancy.standing(host).grade is not Grade.HEALTHY for host in pool.hosts)
        degraded = limps or self._is_torn(pool)
        return Seat(self.id, pool.hosts, (pool.id,), pool.shape, grade=Grade.DEGRADED if degraded else Grade.HEALTHY)
