"""All that a decision is made from, at one instant: frozen, checked when it is built, and changed by making another one.

Comes in: grounds with who sits where, gangs that run, promises, quota. What contradicts itself is refused by name, because a
plan made from it would be wrong. A change gives a new snapshot that shares all else, so that "what if" is these same functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from sliceward.scheduling.costs import LONGEST, Costs, checked_cost
from sliceward.scheduling.ground import Ground, GroundId, Mix, Terms, checked_mix
from sliceward.scheduling.mix import usual_mix
from sliceward.scheduling.occupancy import Bar, Cause, Occupancy, Standing
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS, Shape, text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from sliceward.scheduling.quota import Account
    from sliceward.topology.ids import GangId, HostId, LinkId


@dataclass(frozen=True, slots=True)
class HeldSlice:
    """A slice that runs, and the hosts that it holds; fewer than its shape has while it starts or ends. ``shape``: () if unknown."""

    role: str
    index: int
    shape: Shape
    hosts: tuple[HostId, ...]


@dataclass(frozen=True, slots=True)
class Running:
    """A gang that holds hosts.

    ``checkpointed``: when it last saved itself; ``restarts_in``, ``checkpoints_every``, ``step``: seconds, as far as they are
    known. ``displaced``: when it was displaced before. ``fewest`` and ``most``: the slices that it can do with and can use, 0 where
    it is not elastic. ``lasts``: seconds that it will still run.
    """

    id: GangId
    tenant: str
    generation: str
    slices: tuple[HeldSlice, ...]
    priority: int = 0
    checkpointed: datetime | None = None
    checkpoints_every: float | None = None
    step: float | None = None
    restarts_in: float | None = None
    displaced: tuple[datetime, ...] = ()
    fewest: int = 0
    most: int = 0
    lasts: float | None = None

    def __post_init__(self) -> None:
        """Refuse figures that are none, a shape that its generation does not have, and a range that is none."""
        known = (self.checkpoints_every, self.step, self.restarts_in, self.lasts)
        for seconds in known:
            if seconds is not None:
                checked_cost(seconds, f"{self.id}: seconds", most=LONGEST)
        kind = GENERATIONS.get(self.generation)
        for held in self.slices:
            if held.shape and kind is not None and not kind.admits(tuple(sorted(held.shape))) and not kind.admits(held.shape):
                raise Misconfigured(str(self.id), f"has shape {text_of(held.shape)}, which {kind.name} has not", "Correct it")
        if not 0 <= self.fewest <= self.most:
            why = f"can do with {self.fewest} slices and use {self.most}"
            raise Misconfigured(str(self.id), why, "The fewest slices are no more than the most; both 0 where it is not elastic")
        times = (*self.displaced, *([self.checkpointed] if self.checkpointed is not None else []))
        if any(time.tzinfo is None for time in times):
            raise Misconfigured(str(self.id), "has a time without a zone", "Give times with their zone")

    @property
    def hosts(self) -> tuple[HostId, ...]:
        """All hosts that it holds."""
        return tuple(host for held in self.slices for host in held.hosts)


@dataclass(frozen=True, slots=True)
class Promise:
    """A host that is kept for a gang, until a time or (None) until it is taken back."""

    gang: GangId
    until: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """Make it with `of`, which checks it; the changes check what they change.

    ``quota``: nominal chips by tenant and generation; who is not named has no limit. ``protected``: tenants whose gangs within
    their quota are never displaced by others. ``mix``: expected requests by generation; where none are said, the usual ones. ``ground_of``: where each host is. ``usage``: chips held. ``sizes``: chips that each gang holds.
    """

    now: datetime
    grounds: Mapping[GroundId, Ground]
    ground_of: Mapping[HostId, GroundId]
    gangs: Mapping[GangId, Running] = field(default_factory=dict)
    usage: Mapping[Account, int] = field(default_factory=dict)
    sizes: Mapping[GangId, int] = field(default_factory=dict)
    promises: Mapping[HostId, Promise] = field(default_factory=dict)
    quota: Mapping[Account, int] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()
    mix: Mapping[str, Mix] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)

    @classmethod
    def of(  # noqa: PLR0913 (one argument a kind of object)
        cls,
        now: datetime,
        grounds: Iterable[Ground],
        *,
        gangs: Iterable[Running] = (),
        promises: Mapping[HostId, Promise] | None = None,
        quota: Mapping[Account, int] | None = None,
        protected: Iterable[str] = (),
        mix: Mapping[str, Mix] | None = None,
        costs: Costs | None = None,
    ) -> Self:
        """Build a snapshot of grounds on which nobody sits yet; let the gangs sit down, keep the promises.

        Raises:
            Misconfigured: with the name of the object that cannot be: a host in two grounds, a gang there twice, on hosts that do
                not exist or that another one holds, negative quota, a mix that is none, a time without zone.
        """
        if now.tzinfo is None:
            raise Misconfigured("snapshot", f"its time {now} has no zone", "Give a time with its zone")
        empty = cls(
            now,
            {},
            {},
            quota=_checked_quota(quota or {}),
            protected=frozenset(protected),
            mix={generation: checked_mix(each, f"mix of {generation}") for generation, each in (mix or {}).items()},
            costs=costs or Costs(),
        )
        return empty.with_grounds(grounds).with_gangs(gangs).with_promises(promises or {})

    def with_grounds(self, grounds: Iterable[Ground]) -> Self:
        """Add blocks, pools or trees. Raises like `of`."""
        all_of, where = dict(self.grounds), dict(self.ground_of)
        for ground in grounds:
            if ground.id in all_of:
                raise Misconfigured(str(ground.id), "is there twice", "Give each pod or pool once")
            all_of[ground.id] = ground
            for host in ground.hosts:
                if where.setdefault(host, ground.id) != ground.id:
                    raise Misconfigured(str(host), f"lies in {where[host]} and in {ground.id}", "A host has one place")
        return replace(self, grounds=all_of, ground_of=where)

    def with_gang(self, gang: Running) -> Self:
        """Let a gang sit down on free hosts. Raises like `of`."""
        return self.with_gangs((gang,))

    def with_gangs(self, gangs: Iterable[Running]) -> Self:
        """Let gangs sit down. Raises like `of`."""
        all_of, usage, sizes = dict(self.gangs), dict(self.usage), dict(self.sizes)
        taken: dict[GroundId, dict[HostId, GangId]] = {}
        for gang in gangs:
            if gang.id in all_of:
                raise Misconfigured(str(gang.id), "runs already", "Let it go first, or give it once")
            all_of[gang.id] = gang
            account = (gang.tenant, gang.generation)
            for host in gang.hosts:
                there = taken.setdefault(self._ground_of(host, gang.id), {})
                holder = there.get(host) or self.grounds[self.ground_of[host]].occupancy.holders.get(host)
                if holder is not None:
                    why = f"is held by {holder} and by {gang.id}"
                    raise Misconfigured(str(host), why, "Two gangs never hold the same chips: correct one of them")
                there[host] = gang.id
            sizes[gang.id] = self.chips_of(gang.hosts)
            usage[account] = usage.get(account, 0) + sizes[gang.id]
        changes = {}
        for ground, holders in taken.items():
            occupancy = self.grounds[ground].occupancy
            changes[ground] = (replace(occupancy, holders={**occupancy.holders, **holders}), holders.keys())
        return replace(self._with(changes), gangs=all_of, usage=usage, sizes=sizes)

    def without_gang(self, gang: GangId) -> Self:
        """Let a gang go; who does not run is gone already."""
        return self.without_gangs((gang,))

    def without_gangs(self, gangs: Iterable[GangId]) -> Self:
        """Let gangs go; who does not run is gone already."""
        going = [self.gangs[gang] for gang in dict.fromkeys(gangs) if gang in self.gangs]
        if not going:
            return self
        hosts = [host for gang in going for host in gang.hosts]
        changes = {ground: (self.grounds[ground].occupancy.freed(inside), inside) for ground, inside in self._by_ground(hosts)}
        usage, left, sizes = dict(self.usage), dict(self.gangs), dict(self.sizes)
        for gang in going:
            usage[gang.tenant, gang.generation] -= sizes.pop(gang.id)
            del left[gang.id]
        return replace(self._with(changes), gangs=left, usage=usage, sizes=sizes)

    def with_standing(self, host: HostId, standing: Standing) -> Self:
        """Know something else of a host."""
        ground = self._ground_of(host)
        return self._with({ground: (self.grounds[ground].occupancy.marked(host, standing), (host,))})

    def with_standings(self, standings: Mapping[HostId, Standing]) -> Self:
        """Know something else of hosts."""
        changes = {}
        for ground, hosts in self._by_ground(standings):
            occupancy = self.grounds[ground].occupancy
            known = {**occupancy.standings, **{host: standings[host] for host in hosts}}
            changes[ground] = (replace(occupancy, standings=known), hosts)
        return self._with(changes)

    def with_bars(self, bars: Mapping[HostId, Bar]) -> Self:
        """Close hosts."""
        return self._with(
            {
                ground: (self.grounds[ground].occupancy.barred({host: bars[host] for host in hosts}), hosts)
                for ground, hosts in self._by_ground(bars)
            }
        )

    def without_bars(self, hosts: Iterable[HostId]) -> Self:
        """Open hosts to all but promises."""
        opened = list(hosts)
        anew = self._with(
            {ground: (self.grounds[ground].occupancy.opened(each), each) for ground, each in self._by_ground(opened)}
        )
        return anew.with_bars({host: _bar(self.promises[host]) for host in opened if host in self.promises})

    def with_promises(self, promises: Mapping[HostId, Promise]) -> Self:
        """Keep hosts for gangs. A promise that has run out is none; one of a host that is closed to all opens nothing."""
        for host, promise in promises.items():
            self._ground_of(host, promise.gang)
            if promise.until is not None and promise.until.tzinfo is None:
                raise Misconfigured(str(host), "is promised until a time without a zone", "Give a time with its zone")
        live = {host: each for host, each in promises.items() if each.until is None or each.until > self.now}
        bars = {host: _bar(each) for host, each in live.items() if not self._is_closed_to_all(host)}
        return replace(self.with_bars(bars), promises={**self.promises, **live})

    def without_promises(self, hosts: Iterable[HostId]) -> Self:
        """Take promises back."""
        gone = {host for host in hosts if host in self.promises}
        left = {host: each for host, each in self.promises.items() if host not in gone}
        return replace(self, promises=left).without_bars(host for host in gone if not self._is_closed_to_all(host))

    def with_links(self, ground: GroundId, condemned: Iterable[LinkId]) -> Self:
        """Have exactly these links of a ground condemned."""
        return self._with({self._known(ground): (self.grounds[ground].occupancy.with_links(condemned), ())})

    def with_switches(self, ground: GroundId, lost: Iterable[str]) -> Self:
        """Have exactly these optical switches of a ground lost."""
        return self._with({self._known(ground): (self.grounds[ground].occupancy.with_switches(lost), ())})

    def with_quota(self, quota: Mapping[Account, int]) -> Self:
        """Have other limits for these tenants."""
        return replace(self, quota={**self.quota, **_checked_quota(quota)})

    def at(self, now: datetime) -> Self:
        """Let time pass: promises run out."""
        over = [host for host, each in self.promises.items() if each.until is not None and each.until <= now]
        return replace(self.without_promises(over), now=now)

    def later(self, seconds: float) -> Self:
        """Let so much time pass."""
        return self.at(self.now + timedelta(seconds=seconds))

    def terms(self, generation: str, lasts: float | None) -> Terms:
        """Give what prices depend on for a gang of a generation that will run so long."""
        return Terms(
            self.costs, self.mix.get(generation) or usual_mix(generation), self.now, self.costs.lasts if lasts is None else lasts
        )

    def chips_of(self, hosts: Iterable[HostId]) -> int:
        """Count the chips of hosts."""
        return sum(self.grounds[self.ground_of[host]].hosts[host] for host in hosts)

    def quota_left(self, account: Account) -> int | None:
        """Count the chips that a tenant may still take; None: no limit. Negative where it holds more than its quota."""
        return self.quota[account] - self.usage.get(account, 0) if account in self.quota else None

    def _is_closed_to_all(self, host: HostId) -> bool:
        bar = self.grounds[self.ground_of[host]].occupancy.bars.get(host)
        return bar is not None and bar.kept_for is None

    def _with(self, changes: Mapping[GroundId, tuple[Occupancy, Collection[HostId]]]) -> Self:
        if not changes:
            return self
        anew = {ground: self.grounds[ground].changed(occupancy, hosts) for ground, (occupancy, hosts) in changes.items()}
        return replace(self, grounds={**self.grounds, **anew})

    def _by_ground(self, hosts: Iterable[HostId]) -> Iterable[tuple[GroundId, list[HostId]]]:
        found: dict[GroundId, list[HostId]] = {}
        for host in hosts:
            found.setdefault(self._ground_of(host), []).append(host)
        return found.items()

    def _ground_of(self, host: HostId, gang: GangId | None = None) -> GroundId:
        if host not in self.ground_of:
            where = str(gang) if gang is not None else str(host)
            raise Misconfigured(
                where, f"{host} does not exist" if gang is not None else "does not exist", "Name a host of a ground"
            )
        return self.ground_of[host]

    def _known(self, ground: GroundId) -> GroundId:
        if ground not in self.grounds:
            raise Misconfigured(str(ground), "is no ground of the snapshot", f"There are {', '.join(map(str, self.grounds))}")
        return ground


def _bar(promise: Promise) -> Bar:
    return Bar(Cause.RESERVED, f"promised to {promise.gang.name}", promise.gang)


def _checked_quota(quota: Mapping[Account, int]) -> Mapping[Account, int]:
    for (tenant, generation), chips in quota.items():
        if isinstance(chips, bool) or not isinstance(chips, int) or chips < 0:
            raise Misconfigured(f"quota of {tenant} for {generation}", f"is {chips!r}", "Give chips, 0 or more")
    return quota
