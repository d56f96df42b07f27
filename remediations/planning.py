"""Where a hurt gang could go: placement asked with what must be avoided, and quota."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.gangs import crossed, request_of
from sliceward.scheduling.place import place
from sliceward.scheduling.plan import NoFit, Plan
from sliceward.scheduling.quota import held
from sliceward.scheduling.refusal import in_words
from sliceward.scheduling.snapshot import Promise
from sliceward.topology.gangs import GangState
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.remediations.action import Target
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import HostId


_MOST_REASONS = 8
_ALIVE = frozenset({GangState.RUNNING, GangState.SUSPENDED})


def why_not_whole(gang: Gang) -> str:
    """Say why a gang could not be kept whole wherever it is placed; "" where it can."""
    slices = sum(role.slices for role in gang.roles)
    if slices > 1 and gang.exclusive_key is None:
        return f"{gang.id} has {slices} slices and no exclusive topology: its pods could mix between slices"
    if any(role.tolerates_everything for role in gang.roles):
        return f"{gang.id} tolerates every taint: no mark keeps it off the sick hosts"
    return ""


def why_no_quota(target: Target, gang: Gang) -> str:
    """Say why the quota does not allow the gang to run; "" where it does, or where no quota is set.

    A move needs only what the gang does not hold yet, so that a tenant over its quota can still be healed.
    """
    left = target.quota_left.get((gang.tenant, gang.generation or ""))
    needs = 0 if target.facts.get("suspended") else gang.chips - held(target.fleet, gang)
    if left is None or needs <= max(0, left):
        return ""
    return f"quota of {gang.tenant} for {gang.generation}: {left} chips left, {needs} needed"


def present(target: Target) -> Snapshot:
    """Give the fleet as the scheduler sees it, with what other runs keep."""
    snapshot = target.snapshot() if target.snapshot is not None else snapshot_of(target.fleet, target.now)
    kept = {host: Promise(gang) for host, gang in target.reserved.items() if host in snapshot.ground_of}
    return snapshot.without_promises(kept).with_promises(kept)


def plan(target: Target, gang: Gang, *, avoid: Iterable[str] = (), snapshot: Snapshot | None = None) -> Plan | NoFit:
    """Place the gang on hosts outside the domain, outside other gangs' placement labels and beside ``avoid``.

    Hosts with another open incident are no healthy room. Where nothing else fits, a slice may stay on those that the gang
    held before: that is no worse than now, and moving the rest is better.
    """
    named = set(avoid)
    shunned = shunned_for(target, gang) | {host for host in target.fleet.hosts if named and host.name in named}
    snapshot = snapshot or present(target)
    found = _placed(target, gang, snapshot, shunned | target.sick)
    kept = {host for host in target.sick if host.name in held_before(target, gang)}
    if isinstance(found, NoFit) and kept:
        again = _placed(target, gang, snapshot, shunned | (target.sick - kept))
        return found if isinstance(again, NoFit) else again
    return found


def shunned_for(target: Target, gang: Gang) -> frozenset[HostId]:
    """Give the hosts that are not for this gang: those of the domain, and those that are labelled for another living gang."""
    fleet = target.fleet
    living = {other.id.key for other in fleet.gangs.values() if other.id != gang.id and other.state in _ALIVE}
    elsewhere = (host.id for host in fleet.hosts.values() if host.labels.get(NAMES.gang) in living)
    return frozenset({*target.domain, *elsewhere})


def asked_by(target: Target, gang: Gang, avoid: frozenset[HostId]) -> Request | NoFit:
    """Give what the gang asks for, beside hosts that it must avoid."""
    return request_of(target.fleet, gang, target.now, avoid=avoid, heals=True)


def _placed(target: Target, gang: Gang, snapshot: Snapshot, avoid: frozenset[HostId]) -> Plan | NoFit:
    request = asked_by(target, gang, avoid)
    if isinstance(request, NoFit):
        return request
    found = place(snapshot, request)
    return found if isinstance(found, NoFit) else crossed(request, found) or found


def held_before(target: Target, gang: Gang | None) -> frozenset[str]:
    """Give the hosts that the gang held when it was first planned for, by name."""
    noted = target.facts.get("held_hosts")
    now = () if gang is None else (host.name for host in gang.hosts)
    return frozenset(now if noted is None else map(str, noted))


def facts_of(found: Plan, gang: Gang, target: Target) -> dict[str, Any]:
    """Give what later steps need of a plan, as JSON."""
    slices = [
        {
            "role": piece.role,
            "index": piece.index,
            "cubes": [str(cube) for cube in piece.cubes],
            "hosts": sorted(host.name for host in piece.hosts),
        }
        for piece in found.slices
    ]
    hosts = sorted(host.name for host in found.hosts)
    return {
        "gang": str(gang.id),
        "gang_uid": gang.uid,
        "gang_key": gang.id.key,
        "planned_hosts": hosts,
        "planned_slices": slices,
        "held_hosts": sorted(held_before(target, gang)),
    }


def reasons_of(refusal: NoFit) -> str:
    """Say why nothing fits and what would help, with the first few cubes that were looked at."""
    return in_words(refusal) + "".join(f"; {no.part.name} {no.why}" for no in refusal.rejected[:_MOST_REASONS])
