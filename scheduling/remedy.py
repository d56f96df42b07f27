"""The smallest change that would make a gang fit, by the chips that it touches; proven to be the smallest, or said not to be.

Comes in: a snapshot on which a request fits nowhere. Every host that is sick, closed or held, every gang, condemned link and lost switch is
a part with a size. For one slice the grounds know the cheapest parts to take away, as they know the cheapest victims; for several a plan is
made where nothing stands in the way at a price. What is not needed is left out, and the rest is proven by placing once more. It is the
smallest if it is no larger than what is needed at least, or if all that is smaller was tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from sliceward.scheduling.allowance import lacking
from sliceward.scheduling.changes import applied, joined, size_of
from sliceward.scheduling.clearing import sets_by_cost
from sliceward.scheduling.costs import DAY
from sliceward.scheduling.occupancy import Grade
from sliceward.scheduling.plan import Borrow, Open, Release, Repair
from sliceward.scheduling.relaxing import Way, accepted, bare, is_alike, is_for_others, laid_bare, relax, worth_trying
from sliceward.scheduling.remembered import remembered
from sliceward.topology.ids import GangId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sliceward.scheduling.ground import Ground, GroundId, Victims, Want
    from sliceward.scheduling.plan import Change, Plan
    from sliceward.scheduling.request import Request, SliceAsked
    from sliceward.scheduling.seating import Room
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import HostId

MOST_PRUNED = 48
"""Of a change of so many parts each is tried for whether the rest would help; a larger change has parts that may be too much."""

MOST_SETS = 4_096
"""So many sets of parts are looked at by their size, to see whether a smaller one would help."""

MOST_TRIED = 512
"""So many changes are tried by placing at most; on a large fleet, where each takes tens of milliseconds, `FEWEST_TRIED`."""

FEWEST_TRIED = 16

MOST_LOOKED = 600_000
"""So many hosts are looked at in all while changes are tried."""


class Asking(NamedTuple):
    """How a snapshot is asked. ``planned``: for a plan. ``fits``: whether there is one, None if nobody knows in time. ``room_of``: for what a gang sees."""

    planned: Callable[[Snapshot, Request], Plan | None]
    fits: Callable[[Snapshot, Request], bool | None]
    room_of: Callable[[Snapshot, Request], Room]


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would help, all of it together; nothing where nothing was found. ``smallest``: nothing smaller helps."""

    changes: tuple[Change, ...] = ()
    smallest: bool = True


def smallest_change(snapshot: Snapshot, request: Request, asking: Asking) -> Remedy:
    """Give the smallest change that helps, by the chips that it touches; a link or a switch counts as one."""
    search = _Search(snapshot, request, asking)
    short = lacking(snapshot, request)
    if short and search.helps(()):
        return Remedy((Borrow(request.tenant, request.generation, short),))
    search.from_nearest()
    if search.size > search.least:
        search.from_plans()
    if search.best is None and len(search.parts) <= MOST_PRUNED:
        search.offer(search.parts)
    smallest = search.best is None or search.size <= search.least or search.nothing_smaller()
    return Remedy(search.best or (), smallest)


def would_fit(snapshot: Snapshot, request: Request, asking: Asking) -> bool:
    """Whether a request would fit if all were healthy, open and free."""
    short = lacking(snapshot, request)
    funded = applied(snapshot, Borrow(request.tenant, request.generation, short)) if short else snapshot
    return asking.planned(relax(funded, request, frozenset(Way)), replace(request, lasts=DAY)) is not None


@dataclass
class _Search:
    """``best``: the smallest change so far, and its ``size``. ``tried``: how many changes were."""

    snapshot: Snapshot
    request: Request
    asking: Asking
    best: tuple[Change, ...] | None = None
    size: float = inf
    least: float = 0.0
    tried: int = 0

    def from_nearest(self) -> None:
        """Offer what the grounds say for one slice, and note what is needed at least."""
        wants = {each.want: each for each in self.request.slices[: self.request.needed]}
        if self.room.domains is not None:
            return
        least = 0.0
        near: list[tuple[float, GroundId, tuple[HostId, ...]]] = []
        for asked in wants.values():
            near = [*self._nearest(asked, whole=False)]
            least = max(least, min((size for size, _, _ in near), default=inf))
            near += self._nearest(asked, whole=True) if self._is_broken else ()
        own = any(each.tenant == self.request.tenant and key != self.request.gang for key, each in self.snapshot.gangs.items())
        self.least = max(least, self._short) if own else least + self._short
        for size, key, hosts in sorted(near, key=lambda one: one[0])[:MOST_OFFERED] if self.request.needed == 1 else ():
            if size < self.size:
                self.offer(self._standing(key, hosts, frozenset(Way)))

    @cached_property
    def _is_broken(self) -> bool:
        """Whether a link is condemned, or a switch is lost, on a ground that the gang sees."""
        occupancies = (self.snapshot.grounds[key].occupancy for key in self.room.views[0])
        return any(each.links or each.switches for each in occupancies)

    @cached_property
    def _short(self) -> int:
        return lacking(self.snapshot, self.request)

    @cached_property
    def _most(self) -> int:
        """How many changes are tried at most."""
        return max(FEWEST_TRIED, min(MOST_TRIED, MOST_LOOKED // max(1, len(self.snapshot.ground_of))))

    def from_plans(self) -> None:
        """Offer what stands in the way of plans that are made where some things do not, at a price for each."""
        priced = replace(self.request, lasts=DAY)
        borrow = Borrow(self.request.tenant, self.request.generation, self._short)
        funded = applied(self.snapshot, borrow) if self._short else self.snapshot
        for ways in worth_trying(self.snapshot, self.request):
            plan = self.asking.planned(relax(funded, self.request, ways), priced)
            if plan is not None:
                self.offer(part for each in plan.slices for part in self._standing(each.ground, each.hosts, ways))

    def offer(self, parts: Iterable[Change]) -> None:
        """Take parts as the best if they help and are smaller, without those that are not needed: the largest are left out first."""
        left = sorted(dict.fromkeys(parts), key=lambda part: -self._size_of(part))
        if not self.helps(left):
            return
        for part in tuple(left) if len(left) <= MOST_PRUNED else ():
            if size_of(self.snapshot, self._with_quota(joined(left))) <= self.least or self.tried >= self._most:
                break
            rest = [other for other in left if other != part]
            if self.helps(rest):
                left = rest
        changes = self._with_quota(joined(left))
        size = size_of(self.snapshot, changes)
        if size < self.size:
            self.best, self.size = changes, size

    def nothing_smaller(self) -> bool:
        """Try all that is smaller, the smallest first; what helps is taken. Whether nothing that is smaller is left untried."""
        parts, sure = self.parts, True
        sizes = {number: float(self._size_of(part)) for number, part in enumerate(parts)}
        gains = [self._gain(part) for part in parts]
        for looked, (paid, numbers) in enumerate(sets_by_cost(sizes)):
            if paid >= self.size:
                return sure
            if looked >= MOST_SETS or self.tried >= self._most:
                return False
            if sum(gains[number] for number in numbers) < self._missing:
                continue
            chosen = [parts[number] for number in numbers]
            helps = self.helps(chosen)
            sure = sure and helps is not None
            changes = self._with_quota(joined(chosen))
            size = size_of(self.snapshot, changes)
            if helps and size < self.size:
                self.best, self.size = changes, size
        return sure

    def helps(self, parts: Sequence[Change]) -> bool | None:
        """Whether the request fits once parts are changed, and the quota that is short then is lent."""
        self.tried += 1
        return self.asking.fits(self._after(self._with_quota(joined(parts))), self.request)

    @cached_property
    def room(self) -> Room:
        """The grounds as the gang sees them."""
        return self.asking.room_of(self.snapshot, self.request)

    @cached_property
    def parts(self) -> list[Change]:
        """All that stands in the way anywhere."""
        found: list[Change] = []
        for key in self.room.views[0]:
            found += self._standing(key, self.snapshot.grounds[key].hosts, frozenset(Way))
        return [*dict.fromkeys(found)]

    @cached_property
    def _missing(self) -> int:
        """The chips that are needed and that the gang cannot use, at least."""
        request, room = self.request, self.room
        grounds = room.views[0].values()
        free = sum(
            chips
            for ground in grounds
            for host, chips in ground.hosts.items()
            if host not in ground.occupancy.holders and host not in ground.occupancy.bars and self._is_fine(ground, host)
        )
        return sum(asked.want.chips for asked in request.slices[: request.needed]) - free

    def _is_fine(self, ground: Ground, host: HostId) -> bool:
        return ground.occupancy.standing(host).grade in {Grade.HEALTHY, Grade.DEGRADED}

    def _gain(self, part: Change) -> int:
        return 0 if isinstance(part, Repair) and not part.hosts else self._size_of(part)

    def _size_of(self, part: Change) -> int:
        return size_of(self.snapshot, (part,))

    def _with_quota(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        """Add what has to be lent then: who goes of the same tenant leaves its quota."""
        account, gangs = (self.request.tenant, self.request.generation), self.snapshot.gangs
        going = (gang for change in changes if isinstance(change, Release) for gang in change.gangs)
        freed = sum(self.snapshot.counted(gang) for gang in going if (gangs[gang].tenant, gangs[gang].generation) == account)
        short = max(0, self._short - freed) if self._short else 0
        return (Borrow(self.request.tenant, self.request.generation, short), *changes) if short else changes

    def _after(self, changes: Iterable[Change]) -> Snapshot:
        after = self.snapshot
        for change in changes:
            after = applied(after, change)
        return after

    def _nearest(self, asked: SliceAsked, *, whole: bool) -> Iterator[tuple[float, GroundId, tuple[HostId, ...]]]:
        """Give for each ground the place that needs least, and how much. ``whole``: no link and no switch is repaired for it."""
        bared = bare(self.snapshot, self.request, whole=whole)
        for key, ground in self.asking.room_of(bared, self.request).grounds(asked).items():
            found = self._nearest_in(key, ground, asked.want, whole=whole)
            if found is not None:
                yield found.cost / (1 + found.gap), key, found.seat.hosts

    def _nearest_in(self, key: GroundId, bared: Ground, want: Want, *, whole: bool) -> Victims | None:
        """Give what is in the way in one ground; where it is the same for all gangs, it is found once for as long as nothing changes."""
        ground = self.snapshot.grounds[key]
        if not is_alike(self.snapshot, self.request, key) or laid_bare(ground, whole=whole) is not bared:
            return self._victims(key, bared, want)
        sizes = tuple(self.snapshot.sizes[gang] for gang in _gangs(ground))
        return remembered(bared, ("nearest", want, accepted(self.request), sizes), lambda: self._victims(key, bared, want))

    def _victims(self, key: GroundId, bared: Ground, want: Want) -> Victims | None:
        others, prices = self._held(key)
        occupancy = bared.occupancy
        filled = bared.changed(replace(occupancy, holders={**occupancy.holders, **others}), others) if others else bared
        return filled.victims(want, prices)

    def _held(self, key: GroundId) -> tuple[dict[HostId, GangId], dict[GangId, float]]:
        """Give the free hosts that stand in the way as if each were held by a gang of its name, and the size of each gang."""
        ground = self.snapshot.grounds[key]
        occupancy, chips = ground.occupancy, ground.hosts
        prices = {gang: float(self.snapshot.sizes[gang]) for gang in _gangs(ground) if gang != self.request.gang}
        closed = {host for host, bar in occupancy.bars.items() if is_for_others(bar, self.request)}
        sick = {host for host, each in occupancy.standings.items() if each.grade not in accepted(self.request)}
        others: dict[HostId, GangId] = {}
        for host in sorted(closed | sick):
            if occupancy.holders.get(host, self.request.gang) == self.request.gang:
                others[host] = GangId(host.cluster, "none", "Host", host.name)
                prices[others[host]] = float(chips[host] * ((host in closed) + (host in sick)))
        return others, prices

    def _standing(self, key: GroundId, hosts: Iterable[HostId], ways: frozenset[Way]) -> Iterator[Change]:
        """Say what stands in the way on hosts of a ground, one part at a time, the gangs first."""
        ground = self.snapshot.grounds[key]
        occupancy, those = ground.occupancy, list(hosts)
        inside = set(those)
        if Way.RELEASE in ways:
            held = {occupancy.holders[host] for host in inside if host in occupancy.holders} - {self.request.gang}
            yield from (Release((gang,)) for gang in sorted(held))
        if Way.OPEN in ways:
            yield from (
                Open((host,)) for host in those if host in occupancy.bars and is_for_others(occupancy.bars[host], self.request)
            )
        if Way.REPAIR in ways:
            fine = accepted(self.request)
            yield from (Repair((host,)) for host in those if occupancy.standing(host).grade not in fine)
            torn = (link for link in sorted(occupancy.links) if any(end.host_id in inside for end in link.ends))
            yield from (Repair(links=(link,)) for link in torn)
            yield from (Repair(switches=((key, name),)) for name in sorted(occupancy.switches))


MOST_OFFERED = 4
"""Of so many grounds the nearest place is tried."""


def _gangs(ground: Ground) -> tuple[GangId, ...]:
    """Give who sits on a ground; once for as long as nothing changes there."""
    return remembered(ground, ("gangs",), lambda: tuple(ground.occupancy.crews(ground.occupancy.holders)))
