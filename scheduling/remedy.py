"""The smallest change that would make a gang fit, found by placing it where nothing stands in its way.

Each host that does stand in the way has a price, its chips; what the cheapest plan touches is the change. What is not needed of it
is left out, and the rest is proven: the gang is placed once more on the snapshot with nothing but the change made.
"""

from __future__ import annotations

from dataclasses import fields, replace
from enum import Enum
from typing import TYPE_CHECKING

from sliceward.scheduling.changes import applied
from sliceward.scheduling.costs import DAY, Costs
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.plan import Borrow, Open, Release, Repair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sliceward.scheduling.ground import Ground
    from sliceward.scheduling.occupancy import Bar
    from sliceward.scheduling.plan import Change, Plan
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import HostId

    Planner = Callable[[Snapshot, Request], Plan | None]

MOST_TRIED = 48
"""So many parts of a change are tried for whether it would help without them; a larger change has parts that may be too much."""


class _Way(Enum):
    """What is let go of to find room."""

    REPAIR = "repair"
    OPEN = "open"
    RELEASE = "release"


_WAYS = (
    frozenset({_Way.REPAIR}),
    frozenset({_Way.OPEN}),
    frozenset({_Way.RELEASE}),
    frozenset({_Way.REPAIR, _Way.OPEN}),
    frozenset(_Way),
)

_HOSTS_ALONE = Costs(**dict.fromkeys((item.name for item in fields(Costs)), 0.0) | {"failure": 1.0})
"""Nothing costs but the risk of hosts, which stands for their chips."""


def smallest_change(snapshot: Snapshot, request: Request, planned: Planner) -> tuple[Change, ...]:
    """Give the smallest change of the kinds that are looked at, by the chips that it touches; none where none helps."""
    short = lacking(snapshot, request)
    borrowed: list[Change] = [Borrow(request.tenant, request.generation, short)] if short else []
    funded = applied(snapshot, borrowed[0]) if borrowed else snapshot
    if borrowed and planned(funded, request) is not None:
        return tuple(borrowed)
    found = []
    priced = replace(request, lasts=DAY)
    for ways in _WAYS:
        plan = planned(_relaxed(funded, request, ways), priced)
        if plan is not None:
            changes = _pruned(snapshot, request, [*borrowed, *_touched(funded, request, plan, ways)], planned)
            if changes:
                found.append(changes)
    return min(found, key=lambda changes: _size(snapshot, changes), default=())


def would_fit(snapshot: Snapshot, request: Request, planned: Planner) -> bool:
    """Whether a request would fit if all were healthy, open and free."""
    short = lacking(snapshot, request)
    funded = applied(snapshot, Borrow(request.tenant, request.generation, short)) if short else snapshot
    return planned(_relaxed(funded, request, frozenset(_Way)), replace(request, lasts=DAY)) is not None


def lacking(snapshot: Snapshot, request: Request) -> int:
    """Count the chips that the tenant's quota lacks for as much as the gang cannot do without."""
    left = snapshot.quota_left((request.tenant, request.generation))
    if left is None:
        return 0
    running = snapshot.gangs.get(request.gang)
    has = snapshot.chips_of(running.hosts) if running is not None else 0
    needs = sum(asked.want.chips for asked in request.slices[: request.needed]) - has
    return max(0, needs - left) if needs > 0 else 0


def _relaxed(snapshot: Snapshot, request: Request, ways: frozenset[_Way]) -> Snapshot:
    """Take away what stands in the way, and price each host by the chips that stood in it; nothing else costs anything."""
    mine = [(key, ground) for key, ground in snapshot.grounds.items() if ground.generation == request.generation]
    standings: dict[HostId, Standing] = {}
    for _, ground in mine:
        in_the_way = _in_the_way(ground, request, ways)
        for host in [*in_the_way, *(host for host in ground.occupancy.standings if host not in in_the_way)]:
            known = ground.occupancy.standing(host)
            grade = Grade.HEALTHY if _Way.REPAIR in ways else known.grade
            standings[host] = Standing(grade, known.why, float(in_the_way.get(host, 0)))
    if _Way.RELEASE in ways:
        others = (key for key, each in snapshot.gangs.items() if key != request.gang and each.generation == request.generation)
        snapshot = applied(snapshot, Release(tuple(others)))
    if _Way.OPEN in ways:
        snapshot = applied(snapshot, Open(tuple(host for _, ground in mine for host in ground.occupancy.bars)))
    if _Way.REPAIR in ways:
        links = tuple(link for _, ground in mine for link in ground.occupancy.links)
        switches = tuple((key, name) for key, ground in mine for name in ground.occupancy.switches)
        snapshot = applied(snapshot, Repair((), links, switches))
    return replace(snapshot.with_standings(standings), costs=_HOSTS_ALONE)


def _in_the_way(ground: Ground, request: Request, ways: frozenset[_Way]) -> Mapping[HostId, int]:
    """Give the chips of each host that stands in the way in one of these ways."""
    occupancy = ground.occupancy
    hosts: list[HostId] = []
    if _Way.REPAIR in ways:
        hosts += (host for host, each in occupancy.standings.items() if each.grade not in _fine(request))
    if _Way.OPEN in ways:
        hosts += (host for host, bar in occupancy.bars.items() if _is_for_others(bar, request))
    if _Way.RELEASE in ways:
        hosts += (host for host, gang in occupancy.holders.items() if gang != request.gang)
    return {host: ground.hosts[host] for host in hosts}


def _fine(request: Request) -> frozenset[Grade]:
    """Give the grades that all slices put up with."""
    tolerant = all(asked.want.worst is Grade.DEGRADED for asked in request.slices)
    return frozenset({Grade.HEALTHY, Grade.DEGRADED}) if tolerant else frozenset({Grade.HEALTHY})


def _is_for_others(bar: Bar, request: Request) -> bool:
    return bar.kept_for is None or bar.kept_for != request.gang


def _touched(snapshot: Snapshot, request: Request, plan: Plan, ways: frozenset[_Way]) -> list[Change]:
    """Say what stood where the plan goes, one part at a time, the gangs first."""
    gangs: list[Change] = []
    parts: list[Change] = []
    for planned in plan.slices:
        occupancy = snapshot.grounds[planned.ground].occupancy
        if _Way.RELEASE in ways:
            held = {occupancy.holders[host] for host in planned.hosts if host in occupancy.holders} - {request.gang}
            gangs += (Release((gang,)) for gang in sorted(held))
        if _Way.OPEN in ways:
            barred = ((host, occupancy.bars[host]) for host in planned.hosts if host in occupancy.bars)
            parts += (Open((host,)) for host, bar in barred if _is_for_others(bar, request))
        if _Way.REPAIR in ways:
            inside = set(planned.hosts)
            sick = (host for host in planned.hosts if occupancy.standing(host).grade not in _fine(request))
            parts += (Repair((host,)) for host in sick)
            parts += (Repair(links=(link,)) for link in sorted(occupancy.links) if {end.host_id for end in link.ends} <= inside)
            parts += (Repair(switches=((planned.ground, name),)) for name in sorted(occupancy.switches))
    return list(dict.fromkeys([*gangs, *parts]))


def _pruned(snapshot: Snapshot, request: Request, parts: list[Change], planned: Planner) -> tuple[Change, ...]:
    """Leave out every part without which the rest helps too, and prove the rest; nothing where not even all of it helps."""

    def helps(chosen: Iterable[Change]) -> bool:
        changed = snapshot
        for part in chosen:
            changed = applied(changed, part)
        return planned(changed, request) is not None

    if not parts or not helps(parts):
        return ()
    if len(parts) <= MOST_TRIED:
        for part in tuple(parts):
            rest = [other for other in parts if other != part]
            if rest and helps(rest):
                parts = rest
    return _joined(parts)


def _joined(parts: Sequence[Change]) -> tuple[Change, ...]:
    """Put parts of a kind together."""
    repairs = [part for part in parts if isinstance(part, Repair)]
    hosts = tuple(host for part in repairs for host in part.hosts)
    links = tuple(link for part in repairs for link in part.links)
    switches = tuple(switch for part in repairs for switch in part.switches)
    opened = tuple(host for part in parts if isinstance(part, Open) for host in part.hosts)
    gangs = tuple(gang for part in parts if isinstance(part, Release) for gang in part.gangs)
    found: list[Change] = [part for part in parts if isinstance(part, Borrow)]
    found += [Repair(hosts, links, switches)] if repairs else []
    found += [Open(opened)] if opened else []
    found += [Release(gangs)] if gangs else []
    return tuple(found)


def _size(snapshot: Snapshot, changes: Iterable[Change]) -> tuple[int, int]:
    """Count the chips that a change touches, and the kinds of it; a link or a switch counts as one."""
    chips = kinds = 0
    for change in changes:
        kinds += 1
        if isinstance(change, Repair):
            chips += snapshot.chips_of(change.hosts) + len(change.links) + len(change.switches)
        elif isinstance(change, Open):
            chips += snapshot.chips_of(change.hosts)
        elif isinstance(change, Borrow):
            chips += change.chips
        else:
            chips += sum(snapshot.chips_of(snapshot.gangs[gang].hosts) for gang in change.gangs)
    return chips, kinds
