"""One gang against all that it may displace: what each of those costs, and the cheapest of them that make room.

A victim costs::

    chips x (drain + placement + formation + restart + steps since its checkpoint + again for each earlier displacement
             + the time that it queues, if it finds no other place) x weight ^ priorities below its own

as in `prices` and `Costs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from sliceward.scheduling.allowance import lacking
from sliceward.scheduling.clearing import Clearing, clearing, sets_by_cost, without
from sliceward.scheduling.place import room_of
from sliceward.scheduling.prices import lost_steps, pace_of, stop_and_start
from sliceward.scheduling.rights import REMEMBERED, Right, Rights
from sliceward.topology.ids import GangId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.scheduling.clearing import Prices
    from sliceward.scheduling.ground import Terms
    from sliceward.scheduling.request import Request, SliceAsked
    from sliceward.scheduling.seating import Room
    from sliceward.scheduling.snapshot import Snapshot

MOST_SETS = 4_096
"""So many sets of a tenant's own gangs are looked at where its quota is short."""

MOST_BRANCHES = 64
"""So many ways to leave each tenant its own chips are looked at."""

MOST_STEPS = 64
"""So many steps of priority multiply a price; more would make numbers that mean nothing."""


@dataclass(frozen=True)
class Contest:
    """A request and its rights."""

    snapshot: Snapshot
    request: Request
    rights: Rights

    @property
    def asked(self) -> Sequence[SliceAsked]:
        """The slices that the gang cannot do without; nobody is displaced for more."""
        return self.request.slices[: self.request.needed]

    def cleared(self, prices: Prices) -> Clearing | None:
        """Give the cheapest victims that make room and leave every tenant what is its own; None where none were found.

        Where the tenant has too little quota left, gangs of its own go for that first, in every way that frees enough.
        """
        best: Clearing | None = None
        own = {gang: prices[gang] for gang in self.own}
        nothing: list[tuple[float, tuple[GangId, ...]]] = [(0.0, ())]
        sets = sets_by_cost(own) if self.lacking > 0 else iter(nothing)
        for branch, (paid, forced) in enumerate(sets):
            if branch >= MOST_SETS or (best is not None and paid >= best.cost):
                break
            if self.counted(forced) < self.lacking:
                continue
            found = self._beside(forced, prices)
            if found is not None and (best is None or paid + found.cost < best.cost):
                best = Clearing(tuple(sorted((*forced, *found.gangs))), paid + found.cost, found.gap)
        return best

    def _beside(self, forced: tuple[GangId, ...], prices: Prices) -> Clearing | None:
        """Give the cheapest victims beside those that go anyway, so that every tenant keeps what is its own."""
        asked = self.asked
        room = without(self.room, forced) if forced else self.room
        others = {gang: price for gang, price in prices.items() if gang not in forced}
        start = clearing(room, asked, others, self.terms)
        heap = [(start.cost, 0, frozenset[GangId](), start)] if start is not None else []
        for branch in range(1, MOST_BRANCHES):
            if not heap:
                return None
            _, _, kept, found = heappop(heap)
            over = self.rights.over(found.gangs)
            if not over:
                return found
            for number, gang in enumerate(reversed(over)):
                keeps = kept | {gang}
                other = clearing(room, asked, {each: price for each, price in others.items() if each not in keeps}, self.terms)
                if other is not None:
                    heappush(heap, (other.cost, branch * len(prices) + number, keeps, other))
        return None

    def price_of(self, gang: GangId, *, moved: bool) -> float:
        """Give what a victim costs that finds another place, or (not ``moved``) that ends and queues."""
        return self.prices[gang] if moved else self.prices[gang] + self._queues[gang]

    def chips(self, gang: GangId) -> int:
        """Count the chips that a gang holds."""
        return self.snapshot.sizes[gang]

    def counted(self, gangs: Iterable[GangId]) -> int:
        """Count the chips of quota that would be free without some gangs."""
        return sum(map(self.snapshot.counted, gangs))

    @cached_property
    def prices(self) -> Prices:
        """What each that may be displaced costs if it finds another place."""
        return {gang: self._price(gang) * self._weight(gang) for gang in sorted(self.rights.right)}

    def _price(self, gang: GangId) -> float:
        """Price an interruption: what it takes to stop and start, the steps that are lost, and more for each time before."""
        costs, running, chips = self.snapshot.costs, self.snapshot.gangs[gang], self.chips(gang)
        pace = pace_of(running, costs, now=self.snapshot.now)
        again = sum(time > self.snapshot.now - REMEMBERED for time in running.displaced) * costs.again
        return stop_and_start(chips, pace).total + lost_steps(chips, pace).total + chips * again

    @cached_property
    def _queues(self) -> Prices:
        """What more each costs if it ends."""
        return {gang: self.chips(gang) * self.snapshot.costs.queue * self._weight(gang) for gang in self.prices}

    def _weight(self, gang: GangId) -> float:
        return self.snapshot.costs.weight ** self._steps[self.snapshot.gangs[gang].priority]

    @cached_property
    def own(self) -> list[GangId]:
        """Those of the same tenant that may go."""
        return [gang for gang, right in sorted(self.rights.right.items()) if right is Right.IN_QUEUE]

    @cached_property
    def lacking(self) -> int:
        """The chips that the tenant's quota lacks for the gang."""
        return lacking(self.snapshot, self.request)

    @cached_property
    def ends(self) -> float:
        """What has to be paid at least because some end: the chips that are free nowhere have to come from somewhere."""
        return self.ends_of(self.prices)

    def ends_of(self, gangs: Iterable[GangId]) -> float:
        """Give what is paid at least beside their prices because some of these gangs end, or parts of them could."""
        missing, paid = self.missing, 0.0
        for each, chips in sorted(
            (self._queues[gang] / self.chips(gang), self.chips(gang)) for gang in gangs if self.chips(gang)
        ):
            if missing <= 0:
                break
            paid += each * min(chips, missing)
            missing -= chips
        return paid if missing <= 0 else float("inf")

    @cached_property
    def missing(self) -> int:
        """The chips that the gang needs and that are free nowhere, at least."""
        grounds = self.room.views[0].values()
        free = (chips for ground in grounds for host, chips in ground.hosts.items() if host not in ground.occupancy.holders)
        return sum(asked.want.chips for asked in self.asked) - sum(free)

    @cached_property
    def _steps(self) -> Mapping[int, int]:
        """How many priorities there are below each."""
        priorities = sorted({self.snapshot.gangs[gang].priority for gang in self.rights.right})
        return {priority: min(step, MOST_STEPS) for step, priority in enumerate(priorities)}

    @cached_property
    def room(self) -> Room:
        """The grounds as the gang sees them, all others in their places."""
        return room_of(self.snapshot, self.request)

    @cached_property
    def terms(self) -> Terms:
        """What places cost."""
        return self.snapshot.terms(self.request.generation, self.request.lasts)
