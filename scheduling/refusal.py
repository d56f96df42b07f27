"""Why a gang finds no place: one reason that weighs most, the counts behind it, and the smallest change that would help."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from sliceward.scheduling.allowance import lacking
from sliceward.scheduling.occupancy import Cause
from sliceward.scheduling.plan import Borrow, NoFit, Rejected, Release, Repair, told
from sliceward.scheduling.remedy import smallest_change, would_fit
from sliceward.scheduling.remembered import remembered
from sliceward.topology.generations import GENERATIONS, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.scheduling.ground import Ground, GroundId
    from sliceward.scheduling.occupancy import Grade
    from sliceward.scheduling.plan import Change
    from sliceward.scheduling.remedy import Asking
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.seating import Room
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import HostId


_HELD = "held by "

MOST_NAMED = 3
"""Of so many holders each is named."""


def refused(snapshot: Snapshot, request: Request, room: Room, asking: Asking) -> NoFit:
    """Say why a request found no place; ``asking`` is how it is asked again on changed snapshots."""
    needs = f"needs {_needs(request)}"
    if not room.views[0]:
        why = f"{needs}; there is no {GENERATIONS[request.generation].name} in {request.gang.cluster}"
        return NoFit(request.gang, snapshot.now, Cause.SHAPE, why)
    chips, free = _counted(room, request)
    rejected, parts = _rejected(room, request)
    surely = asking.fits(snapshot, request) is not None
    remedy = smallest_change(snapshot, request, asking)
    helps = remedy.changes
    cause = _cause(snapshot, request, helps, free)
    short = lacking(snapshot, request)
    if short:
        left = snapshot.quota_left((request.tenant, request.generation))
        needs = f"quota of {request.tenant} for {request.generation}: {left} chips left, {short} more needed; {needs}"
    why = f"{needs}; {parts - len(rejected)} of {parts} {_unit(room)} are free as a whole"
    commonest = _commonest(no.why for no in rejected)
    why += f"; the others: {commonest}" if commonest else ""
    if not helps:
        cause = Cause.QUOTA if short else _cause_without_help(chips, free, request)
        if would_fit(snapshot, replace(request, avoid=frozenset()), asking):
            cause = Cause.RESERVED if request.avoid and not short else cause
        else:
            why += "; it could not be held whatever were healthy and free"
    why += "" if surely else "; not all ways could be looked at in time"
    return NoFit(request.gang, snapshot.now, cause, why, chips, free, helps, rejected, surely, remedy.smallest)


def in_words(no: NoFit) -> str:
    """Say a refusal and what would help in one line."""
    helps = " and ".join(told(change) for change in no.helps)
    return no.why + (f"; what would help{'' if no.smallest else ', though less may do'}: {helps}" if helps else "")


def _cause_without_help(chips: Mapping[Cause, int], free: int, request: Request) -> Cause:
    """Name what weighs most where nothing helps: hosts that are missing or sick, or else what is asked for itself."""
    needed = sum(asked.want.chips for asked in request.slices[: request.needed])
    return Cause.SICK if free < needed <= free + chips.get(Cause.SICK, 0) else Cause.SHAPE


def _cause(snapshot: Snapshot, request: Request, helps: Sequence[Change], free: int) -> Cause:
    """Name what weighs most, by what would help."""
    if any(isinstance(change, Borrow) for change in helps):
        return Cause.QUOTA
    released = next((change for change in helps if isinstance(change, Release)), None)
    if released is not None:
        if free >= sum(asked.want.chips for asked in request.slices[: request.needed]):
            return Cause.FRAGMENTATION
        accounts = {(snapshot.gangs[gang].tenant, request.generation) for gang in released.gangs}
        borrowing = all((snapshot.quota_left(account) or 0) < 0 for account in accounts)
        return Cause.FAIRNESS if borrowing else Cause.HELD
    if any(isinstance(change, Repair) for change in helps):
        return Cause.SICK
    return Cause.RESERVED


def _counted(room: Room, request: Request) -> tuple[Mapping[Cause, int], int]:
    """Count chips that the first slice cannot use, by cause, and those that it can."""
    asked = request.slices[0]
    chips: Counter[Cause] = Counter()
    free = 0
    for ground in room.grounds(asked).values():
        closed, more = _tally(ground, asked.want.worst)
        chips += closed
        free += more
    return dict(sorted(chips.items())), free


def _reasons(ground: Ground, worst: Grade) -> Mapping[HostId, tuple[Cause, str]]:
    """Say of each host that cannot be used why; once for as long as nothing changes there, and in one value for all of a gang."""

    def found() -> Mapping[HostId, tuple[Cause, str]]:
        occupancy = ground.occupancy
        reasons: dict[HostId, tuple[Cause, str]] = {}
        for hosts in occupancy.crews(occupancy.holders).values():
            held = Cause.HELD, f"held by {occupancy.holders[hosts[0]].name}"
            reasons.update(dict.fromkeys(hosts, held))
        for host in (*occupancy.bars, *occupancy.standings):
            reason = occupancy.why_not(host, worst)
            if reason is not None:
                reasons[host] = reason
        return reasons

    return remembered(ground, ("reasons", worst), found)


def _tally(ground: Ground, worst: Grade) -> tuple[Counter[Cause], int]:
    """Count the chips of one ground that cannot be used, by cause, and those that can; once for as long as nothing changes there."""

    def counted() -> tuple[Counter[Cause], int]:
        chips: Counter[Cause] = Counter()
        reasons, sizes = _reasons(ground, worst), set(ground.hosts.values())
        if len(sizes) == 1:
            alike = {id(reason): reason for reason in reasons.values()}
            for each, hosts in Counter(map(id, reasons.values())).items():
                chips[alike[each][0]] += hosts * max(sizes)
        else:
            for host, (cause, _) in reasons.items():
                chips[cause] += ground.hosts[host]
        return chips, sum(ground.hosts.values()) - chips.total()

    return remembered(ground, ("tally", worst), counted)


def _rejected(room: Room, request: Request) -> tuple[tuple[Rejected, ...], int]:
    """Say of each cube, pool or pod why no slice can have the whole of it; and count all of them."""
    roles = list({asked.role: asked for asked in request.slices}.values())
    found: list[Rejected] = []
    parts = 0
    for key in room.views[0]:
        told = [_whys(room.grounds(asked)[key], asked.want.worst) for asked in roles]
        parts += len(told[0])
        found += [Rejected(part, why) for part, why in told[0].items() if all(each[part] for each in told)]
    return tuple(found), parts


def _whys(ground: Ground, worst: Grade) -> Mapping[GroundId, str]:
    """Say of each part of a ground why it cannot be used as a whole; once for as long as nothing changes there."""

    def found() -> Mapping[GroundId, str]:
        reasons = _reasons(ground, worst)
        if not ground.parts:
            return {ground.id: _why(reasons, len(ground.hosts))}
        whole = sorted(ground.parts.items(), key=lambda item: str(item[0]))
        return {part: _why({host: reasons[host] for host in hosts if host in reasons}, len(hosts)) for part, hosts in whole}

    return remembered(ground, ("whys", worst), found)


def _why(reasons: Mapping[HostId, tuple[Cause, str]], count: int) -> str:
    """Say the commonest reason of so many hosts: ``held by llm (16 of 16 hosts, e.g. a)``; "" where all hosts are free."""
    if not reasons:
        return ""
    why, most = min(Counter(reason for _, reason in reasons.values()).items(), key=lambda pair: (-pair[1], pair[0]))
    first = min((host for host, reason in reasons.items() if reason[1] == why), key=attrgetter("cluster", "name"))
    more = f", and {len(reasons) - most} hosts for other reasons" if len(reasons) > most else ""
    return f"{why} ({most} of {count} hosts, e.g. {first.name}){more}"


def _commonest(reasons: Iterable[str]) -> str:
    """Say what most parts are rejected for, hosts' names and counts left out: ``5 held by llm, 1 cordoned``; many holders are counted."""
    counts = Counter(reason.partition(" (")[0] for reason in reasons)
    holders = [why for why in counts if why.startswith(_HELD)]
    if len(holders) > MOST_NAMED:
        counts[f"{_HELD}{len(holders)} others"] = sum(counts.pop(why) for why in holders)
    return ", ".join(f"{count} {why}" for why, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:4])


def _needs(request: Request) -> str:
    counts = Counter((asked.role, asked.want.shape) for asked in request.slices[: request.needed])
    return ", ".join(f"{count} of {text_of(shape)}" for (_, shape), count in counts.items())


def _unit(room: Room) -> str:
    return "cubes" if any(ground.parts for ground in room.views[0].values()) else "pods"
