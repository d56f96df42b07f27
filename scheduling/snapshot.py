"""All that a decision is made from, at one instant: frozen, checked when it is built, and changed by making another one.

Comes in: grounds with who sits where, gangs that run, promises, quota. What contradicts itself is refused by name, because a
plan made from it would be wrong. A change gives a new snapshot that shares all else, so that "what if" is these same functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import prod
from typing import TYPE_CHECKING, Self

from sliceward.scheduling.costs import LONGEST, MOST, Costs, checked_cost, checked_priority
from sliceward.scheduling.ground import (
    Checked,
    Ground,
    GroundId,
    Mix,
    Terms,
    checked_mix,
    cluster_of,
    generation_of,
    is_shape_of,
)
from sliceward.scheduling.mix import usual_mix
from sliceward.scheduling.occupancy import Bar, Cause, Occupancy, Standing
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS, Shape, text_of
from sliceward.topology.ids import CubeId, HostId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from sliceward.scheduling.quota import Account
    from sliceward.topology.fleet import Problem
    from sliceward.topology.ids import GangId, LinkId


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
        """Refuse figures that are none, shapes that its generation does not have, a slice twice, and a range that is none."""
        where = str(self.id)
        known = (self.checkpoints_every, self.step, self.restarts_in, self.lasts)
        for seconds in known:
            if seconds is not None:
                checked_cost(seconds, f"{where}: seconds", most=LONGEST)
        checked_priority(self.priority, where)
        if self.generation not in GENERATIONS:
            raise Misconfigured(
                where, f"is of generation {self.generation!r}, which is unknown", f"Known: {', '.join(GENERATIONS)}"
            )
        kind = GENERATIONS[self.generation]
        for held in self.slices:
            if held.shape and not is_shape_of(kind, held.shape):
                raise Misconfigured(where, f"has shape {text_of(held.shape)}, which {kind.name} has not", "Correct it")
        keys = [(held.role, held.index) for held in self.slices]
        if len(set(keys)) < len(keys):
            role, index = next(key for key in keys if keys.count(key) > 1)
            raise Misconfigured(where, f"has slice {index} of role {role!r} twice", "Number the slices of a role")
        if not all(map(_is_count, (self.fewest, self.most))) or self.fewest > self.most:
            why = f"can do with {self.fewest} slices and use {self.most}"
            raise Misconfigured(where, why, "The fewest slices are no more than the most; both 0 where it is not elastic")
        for time in (*self.displaced, *([self.checkpointed] if self.checkpointed is not None else [])):
            _check_time(time, where)

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
    their quota are never displaced by others. ``mix``: expected requests by generation; where none are said, the usual ones. ``ground_of``: where each host is. ``usage``: chips that count by quota. ``sizes``: chips that each gang holds;
    ``pays``: those that count for it beside, because its pods are still to come.
    ``set_aside``: what of a fleet that was read could not be used as it is, and is planned around.
    """

    now: datetime
    grounds: Mapping[GroundId, Ground]
    ground_of: Mapping[HostId, GroundId]
    gangs: Mapping[GangId, Running] = field(default_factory=dict)
    usage: Mapping[Account, int] = field(default_factory=dict)
    sizes: Mapping[GangId, int] = field(default_factory=dict)
    pays: Mapping[GangId, int] = field(default_factory=dict)
    promises: Mapping[HostId, Promise] = field(default_factory=dict)
    quota: Mapping[Account, int] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()
    mix: Mapping[str, Mix] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    set_aside: tuple[Problem, ...] = ()

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
            Misconfigured: with the name of the object that cannot be: a host in two grounds, a ground on which somebody sits, a gang
                there twice, on hosts that do not exist, that another one holds or that are not of its kind, a host promised twice,
                negative quota, a mix that is none, a time without zone.
        """
        _check_time(now, "snapshot")
        empty = cls(
            now,
            {},
            {},
            quota=_checked_quota(quota or {}),
            protected=frozenset(protected),
            mix={generation: checked_mix(each, generation) for generation, each in (mix or {}).items()},
            costs=costs or Costs(),
        )
        return empty.with_grounds(grounds).with_gangs(gangs).with_promises(promises or {})

    def with_grounds(self, grounds: Iterable[Ground]) -> Self:
        """Add blocks, pools or trees. Raises like `of`."""
        all_of, where = dict(self.grounds), dict(self.ground_of)
        for ground in grounds:
            if ground.id in all_of:
                raise Misconfigured(str(ground.id), "is there twice", "Give each pod or pool once")
            _check_ground(ground)
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
        all_of, usage, sizes, pays = dict(self.gangs), dict(self.usage), dict(self.sizes), dict(self.pays)
        taken: dict[GroundId, dict[HostId, GangId]] = {}
        for gang in gangs:
            if gang.id in all_of:
                raise Misconfigured(str(gang.id), "runs already", "Let it go first, or give it once")
            no = self.objection(gang)
            if no is not None:
                raise no
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
            came = min(pays.get(gang.id, 0), sizes[gang.id])
            usage[account] = usage.get(account, 0) + sizes[gang.id] - came
            if came:
                pays[gang.id] -= came
        changes = {}
        for ground, holders in taken.items():
            occupancy = self.grounds[ground].occupancy
            changes[ground] = (replace(occupancy, holders={**occupancy.holders, **holders}), holders.keys())
        return replace(self._with(changes), gangs=all_of, usage=usage, sizes=sizes, pays=pays)

    def objection(self, gang: Running) -> Misconfigured | None:
        """Say why a gang cannot sit where it says that it does, whoever else sits there; None where it can."""
        for held in gang.slices:
            for host in held.hosts:
                ground = self.grounds.get(self.ground_of[host]) if host in self.ground_of else None
                if ground is None:
                    return Misconfigured(str(gang.id), f"{host} does not exist", "Name a host of a ground")
                if host.cluster != gang.id.cluster:
                    return Misconfigured(str(gang.id), f"holds {host} of another cluster", "A gang lies in one cluster")
                if ground.generation != gang.generation:
                    why = f"is of {gang.generation} and holds {host} of {ground.generation}"
                    return Misconfigured(str(gang.id), why, "Correct the generation of one of them")
            chips = self.chips_of(held.hosts)
            if held.shape and chips > prod(held.shape):
                why = f"slice {held.index} of role {held.role!r} holds {chips} chips for a shape of {text_of(held.shape)}"
                return Misconfigured(str(gang.id), why, "Correct its shape, or its hosts")
        return None

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
        usage, left, sizes, pays = dict(self.usage), dict(self.gangs), dict(self.sizes), dict(self.pays)
        for gang in going:
            usage[gang.tenant, gang.generation] -= sizes.pop(gang.id) + pays.pop(gang.id, 0)
            del left[gang.id]
        return replace(self._with(changes), gangs=left, usage=usage, sizes=sizes, pays=pays)

    def paying(self, pays: Iterable[tuple[GangId, Account, int]]) -> Self:
        """Count so many chips for gangs beside those that they hold."""
        usage, more = dict(self.usage), dict(self.pays)
        for gang, account, chips in pays:
            usage[account] = usage.get(account, 0) + chips
            more[gang] = more.get(gang, 0) + chips
        return replace(self, usage=usage, pays=more)

    def counted(self, gang: GangId) -> int:
        """Count the chips that count for a gang by quota."""
        return self.sizes.get(gang, 0) + self.pays.get(gang, 0)

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
            before = self.promises.get(host)
            if before is not None and before.gang != promise.gang:
                why = f"is promised to {before.gang} and to {promise.gang}"
                raise Misconfigured(str(host), why, "Take the first promise back before the second is made")
        live = {host: each for host, each in promises.items() if each.until is None or each.until > self.now}
        bars = {host: _bar(each) for host, each in live.items() if not self._is_closed_to_all(host)}
        return replace(self.with_bars(bars), promises={**self.promises, **live})

    def without_promises(self, hosts: Iterable[HostId]) -> Self:
        """Take promises back."""
        gone = {host for host in hosts if host in self.promises}
        left = {host: each for host, each in self.promises.items() if host not in gone}
        return replace(self, promises=left).without_bars(host for host in gone if not self._is_closed_to_all(host))

    def with_links(self, ground: GroundId, condemned: Iterable[LinkId]) -> Self:
        """Have exactly these links of a ground condemned; each has an end there."""
        known, links = self.grounds[self._known(ground)], frozenset(condemned)
        for link in links:
            if not any(end.host_id in known.hosts for end in link.ends):
                raise Misconfigured(str(link), f"has no end in {ground}", "Name a link of one of its hosts")
        return self._with({ground: (known.occupancy.with_links(links), ())})

    def with_switches(self, ground: GroundId, lost: Iterable[str]) -> Self:
        """Have exactly these optical switches of a ground lost."""
        known, switches = self.grounds[self._known(ground)], frozenset(lost)
        kind = generation_of(known.generation)
        if switches and kind.cube is None:
            raise Misconfigured(str(ground), f"is of {kind.name}, which has no optical switches", "Name a ground of cubes")
        return self._with({ground: (known.occupancy.with_switches(switches), ())})

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
        where = f"quota of {tenant} for {generation}"
        if not _is_count(chips) or chips > MOST:
            raise Misconfigured(where, f"is {chips!r}", f"Give chips, 0 to {MOST:g}")
        if generation not in GENERATIONS:
            raise Misconfigured(where, "is for an unknown generation", f"Known are {', '.join(GENERATIONS)}")
    return quota


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


_YEARS = range(1900, 9000)
"""Of times: spans of `LONGEST` before and after them are times as well."""


def _check_time(time: datetime, where: str) -> None:
    if time.tzinfo is None:
        raise Misconfigured(where, f"has a time without a zone, {time}", "Give a time with its zone")
    if time.year not in _YEARS:
        raise Misconfigured(
            where, f"has the time {time}, which is none of this age", f"Give a year from {_YEARS[0]} to {_YEARS[-1]}"
        )


def _check_ground(ground: Ground) -> None:
    """Refuse a ground on which somebody sits, of which more is said than it has, or with hosts that cannot be."""
    occupancy, cluster = ground.occupancy, cluster_of(ground.id)
    generation_of(ground.generation)
    for host, chips in ground.hosts.items():
        if host.cluster != cluster or chips < 1:
            raise Misconfigured(str(host), f"has {chips} chips, in {ground.id}", "Give hosts with chips, of the ground's cluster")
    for host, gang in occupancy.holders.items():
        raise Misconfigured(str(host), f"is held by {gang}, which does not run", "Let gangs sit down on empty grounds")
    for host in (*occupancy.standings, *occupancy.bars):
        if host not in ground.hosts:
            raise Misconfigured(str(host), f"is none of {ground.id}", "Say of hosts what they are where they lie")
    _check_parts(ground)
    if isinstance(ground, Checked):
        ground.check()


def _check_parts(ground: Ground) -> None:
    """Refuse a host in two parts of a ground, or in a part alone."""
    part_of = dict[HostId, CubeId]()
    for part, hosts in ground.parts.items():
        for host in hosts:
            if host not in ground.hosts:
                raise Misconfigured(str(host), f"is none of {ground.id}, but lies in {part}", "Give the ground all its hosts")
            if host in part_of:
                raise Misconfigured(str(host), f"lies in {part_of[host]} and in {part}", "A host has one place")
            part_of[host] = part
