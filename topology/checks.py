"""Invariants of the fleet that are checked all the time: the pods of one child job sit in one slice.

A start while old pods of the gang still end can spread each slice over several cubes with every pod "Ready"; no object of
Kubernetes says so, only the pods' node names (measured with Kueue 0.19 and JobSet 0.12).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang, Role
    from sliceward.topology.ids import CubeId, GangId, HostId


@dataclass(frozen=True, slots=True)
class SliceMixed:
    """The live pods of one child job (role and slice index) sit in more cubes than its slice has."""

    gang: GangId
    role: str
    index: int
    cubes: tuple[CubeId, ...]
    why: str


def mixed_slices(fleet: Fleet) -> tuple[SliceMixed, ...]:
    """Give every child job whose pods do not sit in one slice, sorted by gang, role and index."""
    found = []
    for gang in sorted(fleet.gangs.values(), key=lambda g: g.id):
        for (role_name, index), hosts in sorted(hosts_by_slice(gang).items()):
            role = next((r for r in gang.roles if r.name == role_name), None)
            mixed = _mixed(fleet, gang, role, hosts) if role is not None else None
            if mixed is not None:
                cubes, why = mixed
                found.append(SliceMixed(gang.id, role_name, index, cubes, why))
    return tuple(found)


def hosts_by_slice(gang: Gang) -> Mapping[tuple[str, int], frozenset[HostId]]:
    """Give the hosts that hold live members, by (role, slice index)."""
    found: dict[tuple[str, int], set[HostId]] = {}
    for member in gang.members:
        if member.host is not None and not member.ended:
            found.setdefault((member.role, member.slice_index), set()).add(member.host)
    return {key: frozenset(hosts) for key, hosts in found.items()}


def _mixed(fleet: Fleet, gang: Gang, role: Role, hosts: frozenset[HostId]) -> tuple[tuple[CubeId, ...], str] | None:
    known = [fleet.hosts[host] for host in hosts if host in fleet.hosts]
    cubes = tuple(sorted({host.cube for host in known if host.cube is not None}))
    if gang.exclusive_key:
        values = sorted({host.labels.get(gang.exclusive_key, "") for host in known})
        if len(values) > 1:
            return cubes, f"{len(known)} pods in {len(values)} domains of {gang.exclusive_key}: {', '.join(values[:4])}"
    wanted = _cubes_wanted(fleet, role, cubes)
    if wanted is not None and len(cubes) > wanted:
        return cubes, f"{len(known)} pods in {len(cubes)} cubes, the slice has {wanted}"
    return None


def _cubes_wanted(fleet: Fleet, role: Role, cubes: tuple[CubeId, ...]) -> int | None:
    """Count the cubes that a slice of this role has; None where its shape is unknown."""
    known = [fleet.cubes[cube] for cube in cubes if cube in fleet.cubes]
    if role.topology is None or not known:
        return None
    edge = known[0].shape if known[0].classic else GENERATIONS[known[0].generation].cube
    return max(1, prod(role.topology) // prod(edge or known[0].shape))
