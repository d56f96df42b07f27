"""Where a hurt gang could go: asked of the fleet as all else is, in which the domain of the incident is sick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.remediations.weighing import told_by
from sliceward.scheduling.beside import Beside
from sliceward.scheduling.plan import NoFit, Plan
from sliceward.scheduling.refusal import in_words
from sliceward.scheduling.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.remediations.action import Target
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import HostId


_MOST_REASONS = 8


def why_not_whole(gang: Gang) -> str:
    """Say why a gang could not be kept whole wherever it is placed; "" where it can."""
    slices = sum(role.slices for role in gang.roles)
    if slices > 1 and gang.exclusive_key is None:
        return f"{gang.id} has {slices} slices and no exclusive topology: its pods could mix between slices"
    if any(role.tolerates_everything for role in gang.roles):
        return f"{gang.id} tolerates every taint: no mark keeps it off the sick hosts"
    return ""


def scene_of(target: Target) -> Scene:
    """Give the fleet as the scheduler sees it: the domain is sick, and other runs keep what they keep by now."""
    told = {} if target.gang is None or target.progress is None else {target.gang.id: told_by(target.progress)}
    scene = target.scene() if target.scene is not None else Scene(target.fleet, target.now, Beside(lost=target.lost, told=told))
    sick = dict.fromkeys(target.sick, "another incident") | dict.fromkeys(
        target.domain, target.text or f"incident {target.incident}"
    )
    known = {host: why for host, why in sick.items() if host not in scene.beside.sick}
    scene = scene.knowing(known, target.reserved)
    return scene if target.gang is None else scene.healing(target.gang.id, stopped=bool(target.facts.get("suspended")))


def plan(target: Target, gang: Gang, *, avoid: Iterable[str] = (), scene: Scene | None = None) -> Plan | NoFit:
    """Place the gang on healthy hosts beside ``avoid``.

    Hosts with an open incident are no healthy room. Where nothing else fits, a slice may stay on those outside the domain that the
    gang held before: that is no worse than now, and moving the rest is better.
    """
    named = set(avoid)
    hosts = frozenset(host for host in target.fleet.hosts if host.name in named) if named else frozenset()
    scene = scene or scene_of(target)
    found = _placed(gang, scene, hosts)
    before = held_before(target, gang)
    kept = {host for host in target.sick if host.name in before and host not in target.domain}
    if isinstance(found, NoFit) and kept:
        again = _placed(gang, scene.forgiving(kept), hosts)
        return found if isinstance(again, NoFit) else again
    return found


def _placed(gang: Gang, scene: Scene, avoid: frozenset[HostId]) -> Plan | NoFit:
    request = scene.request(gang, avoid=avoid)
    if isinstance(request, NoFit):
        return request
    return scene.placed(request)


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
