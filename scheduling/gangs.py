"""A gang as a request: what its roles ask for, on which hosts their pods could run; and whether roles keep apart where they start.

A gang of which too little is known is not placed by a guess.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Cause, Grade
from sliceward.scheduling.plan import NoFit
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.spares import LOWEST
from sliceward.topology.generations import GENERATIONS, text_of
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.scheduling.plan import Plan
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang, Role
    from sliceward.topology.ids import HostId


def request_of(
    fleet: Fleet, gang: Gang, now: datetime, *, avoid: frozenset[HostId] = frozenset(), heals: bool = False
) -> Request | NoFit:
    """Give what a gang asks for, or why that cannot be said. ``heals``: its place was lost, so that spares are for it.

    Spares are also for gangs of the lowest priority, by favour: they go as soon as a repair needs the room.
    Degraded parts are accepted, at their price: GKE's slice controller does the same unless told otherwise.
    """
    why = _why_unclear(gang)
    if why:
        return NoFit(gang.id, now, Cause.SHAPE, why)
    generation, spared = gang.generation or "", heals or gang.priority < LOWEST
    slices = tuple(
        SliceAsked(role.name, index, Want(generation, role.topology or (), worst=Grade.DEGRADED, heals=spared))
        for role in gang.roles
        for index in range(role.slices)
    )
    return Request(
        gang.id,
        gang.tenant,
        slices,
        fewest=gang.fewest,
        priority=gang.priority,
        avoid=avoid,
        unsuited={role.name: _unsuited(fleet, gang, role) for role in gang.roles},
        domains=_domains(fleet, gang),
    )


def crossed(request: Request, plan: Plan) -> NoFit | None:
    """Say which roles could take each other's hosts; None where they cannot, or where it makes no difference.

    All planned hosts get one label, so that only the roles' own selectors keep roles of different size apart.
    """
    hosts: dict[str, set[HostId]] = {}
    sizes: dict[str, int] = {}
    for piece in plan.slices:
        hosts.setdefault(piece.role, set()).update(piece.hosts)
        sizes[piece.role] = len(piece.hosts)
    for one, other in combinations(hosts, 2):
        not_one, not_other = (set(request.unsuited.get(role, ())) for role in (one, other))
        alike = sizes[one] == sizes[other] and not (hosts[one] | hosts[other]) & (not_one | not_other)
        if not alike and (hosts[one] - not_other or hosts[other] - not_one):
            why = f"roles {one!r} and {other!r} could take each other's hosts: their templates select the same ones"
            return NoFit(plan.gang, plan.at, Cause.SHAPE, why)
    return None


def why_unsuited(fleet: Fleet, host_id: HostId, role: Role) -> str:
    """Say why pods of a role could not run on a host; "" where they could.

    Our own label and that of a slice still to be formed come later and are not asked for.
    """
    host = fleet.hosts[host_id]
    if host.chips != role.chips_per_host:
        return f"has {host.chips} chips, the pods ask for {role.chips_per_host}"
    missing = [key for key, value in _asked(role).items() if host.labels.get(key) != value]
    return f"lacks label {missing[0]}={role.node_selector[missing[0]]}" if missing else ""


def _asked(role: Role) -> dict[str, str]:
    later = {NAMES.gang, NAMES.slice, NAMES.slice_topology}
    return {key: value for key, value in sorted(role.node_selector.items()) if key not in later}


def _unsuited(fleet: Fleet, gang: Gang, role: Role) -> Mapping[HostId, str]:
    """Give the hosts of the gang's generation on which its pods could not run, and why."""
    asked, chips, generation, cluster = _asked(role).items(), role.chips_per_host, gang.generation, gang.id.cluster
    return {
        host_id: why_unsuited(fleet, host_id, role)
        for host_id, host in fleet.hosts.items()
        if not (host.chips == chips and asked <= host.labels.items())
        and host.generation == generation
        and host_id.cluster == cluster
    }


def _domains(fleet: Fleet, gang: Gang) -> Mapping[HostId, str] | None:
    """Give the domain of each host where the gang asks for exclusive topology; a label that slices get later is none yet."""
    key = gang.exclusive_key
    if key is None or key == NAMES.slice:
        return None
    return {
        host.id: host.labels[key] for host in fleet.hosts.values() if key in host.labels and host.id.cluster == gang.id.cluster
    }


def _why_unclear(gang: Gang) -> str:
    if gang.generation is None or gang.generation not in GENERATIONS:
        return "the gang's TPU generation is unknown; its template should select the accelerator"
    total = sum(role.slices for role in gang.roles)
    if total > 1 and gang.exclusive_key is None:
        return f"the gang has {total} slices and no exclusive topology: nothing would keep its slices whole"
    if not total:
        return "the gang has no slice that could be placed"
    kind = GENERATIONS[gang.generation]
    for role in gang.roles:
        if role.topology is None or not kind.admits(role.topology):
            shape = text_of(role.topology) if role.topology else f"{role.hosts * role.chips_per_host} chips"
            name = role.name or gang.id.name
            return f"the shape of role {name!r} ({shape}) is not one of {kind.name} that is known for certain"
    return ""
