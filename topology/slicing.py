"""Which chips ICI joins for whom: slices from Slice objects, from classic node pools, and from where gangs sit."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields
from sliceward.topology.fleet import Slice
from sliceward.topology.generations import GENERATIONS, Shape, shape_of
from sliceward.topology.ids import CubeId, HostId, SliceId
from sliceward.topology.torus import index_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.topology.gangs import Gang, Member, Role
    from sliceward.topology.ids import GangId
    from sliceward.topology.nodes import NodesRead
    from sliceward.topology.problems import Desk


def read_slices(
    desk: Desk, slices: Iterable[object], nodes: NodesRead, gangs: Mapping[GangId, Gang]
) -> tuple[dict[SliceId, Slice], dict[GangId, Gang]]:
    """Give all slices, and the gangs with the names of the slices that they sit in."""
    found = {one.id: one for one in _formed(desk, slices, nodes)}
    for cube in nodes.cubes.values():
        if cube.classic and SliceId(desk.cluster, cube.id.name) not in found:
            name = SliceId(desk.cluster, cube.id.name)
            found[name] = Slice(name, cube.shape, (cube.id,), cube.hosts, None)
    seated: dict[GangId, Gang] = {}
    there: dict[CubeId, list[SliceId]] = {}
    for formed in found.values():
        for cube_id in formed.cubes:
            there.setdefault(cube_id, []).append(formed.id)
    for gang in gangs.values():
        sits_in = []
        for role, index, crew in _crews(gang):
            one = _slice_of(gang, role, index, crew, (nodes, found, there))
            if one is not None:
                found[one.id] = one
                sits_in.append(one.id)
        seated[gang.id] = replace(gang, slices=tuple(sits_in))
    return dict(sorted(found.items())), seated


def _formed(desk: Desk, slices: Iterable[object], nodes: NodesRead) -> list[Slice]:
    """Slice objects (``accelerator.gke.io/v1beta1``): whole partitions, or one sub-partition below a cube."""
    formed = []
    for number, value in enumerate(slices):
        about = f"{desk.cluster}/Slice[{number}]"
        try:
            fields = Fields.of(value, "")
            one = SliceId(desk.cluster, fields.at("metadata").text("name"))
            about = str(one)
            formed.append(_formed_slice(desk, one, fields.at("spec"), nodes))
        except Misconfigured as error:
            desk.set_aside(about, error)
    return formed


def _formed_slice(desk: Desk, one: SliceId, spec: Fields, nodes: NodesRead) -> Slice:
    told = spec.text("topology")
    shape = shape_of(told)
    if shape is None:
        raise Misconfigured("spec.topology", f"{told!r} is no shape", "Shapes look like 4x4x8")
    cubes: list[CubeId] = []
    hosts: list[HostId] = []
    for partition in spec.words("partitionIds"):
        cube = nodes.cubes.get(CubeId(desk.cluster, partition))
        if cube is not None:
            cubes.append(cube.id)
            hosts.extend(cube.hosts)
            continue
        label = desk.names.sub_partition_id.replace("{shape}", told)
        inside = [host for host in nodes.hosts.values() if host.labels.get(label) == partition]
        if not inside:
            desk.report(
                "UnknownCube", str(one), f"no node carries partition {partition}", "The slice cannot be whole; see its status"
            )
        hosts.extend(host.id for host in inside)
        cubes.extend(sorted({host.cube for host in inside if host.cube is not None}))
    return Slice(one, shape, tuple(cubes), tuple(hosts), None)


def _crews(gang: Gang) -> list[tuple[Role, int, list[Member]]]:
    """Live members on known or unknown hosts by role and slice index, in the order of the roles."""
    crews: dict[tuple[str, int], list[Member]] = {}
    for member in gang.members:
        if member.host is not None and not member.ended:
            crews.setdefault((member.role, member.slice_index), []).append(member)
    order = {role.name: (n, role) for n, role in enumerate(gang.roles)}
    return [
        (order[name][1], index, crews[name, index])
        for name, index in sorted(crews, key=lambda k: (k[0] in order and order[k[0]][0], k[1]))
        if name in order
    ]


def _slice_of(
    gang: Gang,
    role: Role,
    index: int,
    crew: list[Member],
    known: tuple[NodesRead, Mapping[SliceId, Slice], Mapping[CubeId, list[SliceId]]],
) -> Slice | None:
    """Give the slice that one child job sits in, by the name that its kind of slice has; None where it sits nowhere known."""
    nodes, slices, there = known
    hosts = {m.host for m in crew if m.host in nodes.hosts}
    lowest: dict[CubeId, int] = {}
    for member in crew:
        cube = nodes.hosts[member.host].cube if member.host is not None and member.host in nodes.hosts else None
        if cube is not None:
            rank = member.rank if member.rank is not None else role.hosts
            lowest[cube] = min(rank, lowest.get(cube, rank))
    if not lowest:
        return None
    first = min(lowest)
    formed = (slices[name] for name in there.get(first, ()))
    around = [one for one in formed if one.gang is None and hosts <= set(one.hosts)]
    if around:
        smallest = min(around, key=lambda one: (len(one.hosts), one.id))
        return replace(smallest, gang=gang.id, role=role.name, index=index)
    name = f"{gang.id.namespace}.{gang.id.name}" + (f"-{role.name}-{index}" if role.name else "")
    order = _in_torus_order(nodes, tuple(lowest), role.topology) or tuple(sorted(lowest, key=lambda c: (lowest[c], c)))
    return Slice(
        id=SliceId(gang.id.cluster, name),
        shape=_shape(nodes, role, order, len(hosts)),
        cubes=order,
        hosts=tuple(host for cube in order for host in nodes.cubes[cube].hosts if host in hosts),
        gang=gang.id,
        role=role.name,
        index=index,
    )


def _in_torus_order(nodes: NodesRead, cubes: tuple[CubeId, ...], shape: Shape | None) -> tuple[CubeId, ...] | None:
    """Order cubes by where their chips say that they sit; None where not all told, or not one each."""
    blocks = {cube: nodes.blocks[cube] for cube in cubes if cube in nodes.blocks}
    if shape is None or len(blocks) < len(cubes) or len(set(blocks.values())) < len(cubes):
        return None
    grid = GENERATIONS[nodes.cubes[cubes[0]].generation].cube_grid(shape)
    if any(at >= length for block in blocks.values() for at, length in zip(block, grid, strict=True)):
        return None
    return tuple(sorted(cubes, key=lambda cube: index_at(grid, blocks[cube])))


def _shape(nodes: NodesRead, role: Role, cubes: tuple[CubeId, ...], hosts: int) -> Shape:
    """Give the slice's shape; () where nobody told and more than one is possible."""
    if role.topology is not None:
        return role.topology
    cube = nodes.cubes[cubes[0]]
    return (
        cube.shape
        if len(cubes) == 1 and hosts == len(cube.hosts) and role.hosts * role.chips_per_host == prod(cube.shape)
        else ()
    )
