"""A snapshot in which some of what stands in the way does not, at a price: hosts cost their chips, and nothing else costs anything.

What a plan made there would use and cannot use is what would have to change. What is the same for all gangs is worked out once for as long as
a ground stays as it is.
"""

from __future__ import annotations

from dataclasses import fields, replace
from enum import Enum
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import Costs
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.remembered import remembered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.ground import Ground, GroundId
    from sliceward.scheduling.occupancy import Bar
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import HostId


class Way(Enum):
    """What is let go of to find room."""

    REPAIR = "repair"
    OPEN = "open"
    RELEASE = "release"


_TOGETHER = (
    frozenset({Way.REPAIR}),
    frozenset({Way.OPEN}),
    frozenset({Way.RELEASE}),
    frozenset({Way.REPAIR, Way.OPEN}),
    frozenset(Way),
)

_HOSTS_ALONE = Costs(**dict.fromkeys((item.name for item in fields(Costs)), 0.0) | {"failure": 1.0})
"""Nothing costs but the risk of hosts, which stands for their chips."""


def worth_trying(snapshot: Snapshot, request: Request) -> list[frozenset[Way]]:
    """Give the ways that let go of anything, each once; the gentlest first."""
    occupancies = [ground.occupancy for ground in snapshot.grounds.values() if ground.generation == request.generation]
    there = {
        Way.REPAIR: any(each.standings or each.links or each.switches for each in occupancies),
        Way.OPEN: any(each.bars for each in occupancies),
        Way.RELEASE: any(each.holders for each in occupancies),
    }
    found = (frozenset(way for way in ways if there[way]) for ways in _TOGETHER)
    return list(dict.fromkeys(ways for ways in found if ways))


def relax(snapshot: Snapshot, request: Request, ways: frozenset[Way]) -> Snapshot:
    """Take away what stands in the way, and price each host by the chips that stood in it; nothing else costs anything."""
    mine = {key: ground for key, ground in snapshot.grounds.items() if ground.generation == request.generation}
    eased = {key: ease(ground, request, ways, alike=is_alike(snapshot, request, key)) for key, ground in mine.items()}
    gangs, usage, sizes, pays = dict(snapshot.gangs), dict(snapshot.usage), dict(snapshot.sizes), dict(snapshot.pays)
    for gang in snapshot.gangs.values() if Way.RELEASE in ways else ():
        if gang.id != request.gang and gang.generation == request.generation:
            del gangs[gang.id]
            usage[gang.tenant, gang.generation] -= sizes.pop(gang.id) + pays.pop(gang.id, 0)
    grounds = {**snapshot.grounds, **eased}
    return replace(snapshot, grounds=grounds, gangs=gangs, usage=usage, sizes=sizes, pays=pays, costs=_HOSTS_ALONE)


def bare(snapshot: Snapshot, request: Request, *, whole: bool) -> Snapshot:
    """Take away all that stands in the way but gangs, for who asks which of them it would take to go; nothing is priced.

    ``whole``: condemned links and lost switches stay.
    """
    mine = {key: laid_bare(each, whole=whole) for key, each in snapshot.grounds.items() if each.generation == request.generation}
    return replace(snapshot, grounds={**snapshot.grounds, **mine})


def laid_bare(ground: Ground, *, whole: bool) -> Ground:
    """Let all hosts of one ground be healthy and open; once for as long as it stays as it is."""
    known = ground.occupancy
    joined = replace(known, standings={}, bars={})
    left = joined if whole else replace(joined, links=frozenset(), switches=frozenset())
    return remembered(ground, ("bare", whole), lambda: ground.changed(left, dict.fromkeys([*known.standings, *known.bars])))


def is_alike(snapshot: Snapshot, request: Request, key: GroundId) -> bool:
    """Whether a ground is to a gang what it is to others: it holds nothing there, and nothing is kept for it."""
    own, bars = snapshot.gangs.get(request.gang), snapshot.grounds[key].occupancy.bars.values()
    holds = own is not None and any(snapshot.ground_of[host] == key for host in own.hosts)
    return not holds and not any(bar.kept_for == request.gang for bar in bars)


def ease(ground: Ground, request: Request, ways: frozenset[Way], *, alike: bool) -> Ground:
    """Take away what stands in the way in one ground; once for all gangs to whom it is ``alike``."""
    if not alike:
        return _let_go(ground, request, ways)
    return remembered(ground, ("eased", ways, accepted(request)), lambda: _let_go(ground, request, ways))


def _let_go(ground: Ground, request: Request, ways: frozenset[Way]) -> Ground:
    known = ground.occupancy
    in_the_way = _in_the_way(ground, request, ways)
    standings: dict[HostId, Standing] = {}
    alike: dict[tuple[int, int], Standing] = {}
    for host in [*in_the_way, *(host for host in known.standings if host not in in_the_way)]:
        before, chips = known.standing(host), in_the_way.get(host, 0)
        after = alike.get((id(before), chips))
        if after is None:
            grade = Grade.HEALTHY if Way.REPAIR in ways else before.grade
            after = alike[id(before), chips] = Standing(grade, before.why, float(chips))
        standings[host] = after
    occupancy = replace(known, standings=standings)
    if Way.RELEASE in ways:
        occupancy = replace(occupancy, holders={host: gang for host, gang in known.holders.items() if gang == request.gang})
    if Way.OPEN in ways:
        occupancy = replace(occupancy, bars={})
    if Way.REPAIR in ways:
        occupancy = replace(occupancy, links=frozenset(), switches=frozenset())
    changed = dict.fromkeys([*standings, *known.bars])
    return ground.changed(occupancy, changed)


def _in_the_way(ground: Ground, request: Request, ways: frozenset[Way]) -> Mapping[HostId, int]:
    """Give the chips of each host that stands in the way in one of these ways."""
    occupancy = ground.occupancy
    hosts: list[HostId] = []
    if Way.REPAIR in ways:
        hosts += (host for host, each in occupancy.standings.items() if each.grade not in accepted(request))
    if Way.OPEN in ways:
        hosts += (host for host, bar in occupancy.bars.items() if is_for_others(bar, request))
    if Way.RELEASE in ways:
        hosts += (host for host, gang in occupancy.holders.items() if gang != request.gang)
    return {host: ground.hosts[host] for host in hosts}


def accepted(request: Request) -> frozenset[Grade]:
    """Give the grades that all slices put up with."""
    tolerant = all(asked.want.worst is Grade.DEGRADED for asked in request.slices)
    return frozenset({Grade.HEALTHY, Grade.DEGRADED}) if tolerant else frozenset({Grade.HEALTHY})


def is_for_others(bar: Bar, request: Request) -> bool:
    """Whether what closes a host closes it to the gang."""
    return bar.kept_for is None or bar.kept_for != request.gang
