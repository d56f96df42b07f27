"""Nodes in, hosts and cubes out.

A cube is the 4x4x4 partition that a node's label names; on classic pools it is the node pool, and where a pool's topology is
that of one host, each host is its own cube. Places come from ``sliceward.dev/host-index`` until the chips report theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from sliceward.topology.chips import agree, chips_of, whole_number
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields
from sliceward.topology.fleet import Cube, Host, Mark
from sliceward.topology.generations import GENERATIONS, Generation, Shape, shape_of, text_of
from sliceward.topology.health import Health
from sliceward.topology.ids import CubeId, HostId, PodId
from sliceward.topology.places import Positions, seated_hosts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sliceward.topology.names import Names
    from sliceward.topology.problems import Desk

_READY = {"True": Health.HEALTHY, "False": Health.UNHEALTHY}


@dataclass(frozen=True, slots=True)
class NodesRead:
    """What the nodes gave.

    ``names``: every node that was listed by a usable name, TPU host or not. ``blocks``: where a cube sits in its slice, counted
    in cubes along each dimension, if its chips told.
    """

    hosts: Mapping[HostId, Host]
    cubes: Mapping[CubeId, Cube]
    names: frozenset[str]
    blocks: Mapping[CubeId, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Seat:
    """A host and what its labels say about its cube."""

    host: Host
    shape: Shape | None
    classic: bool
    state: str | None
    spare: bool


def read_nodes(desk: Desk, nodes: Iterable[object], positions: Mapping[HostId, Positions]) -> NodesRead:
    """Read Kubernetes nodes; those that are no TPU hosts are passed over."""
    seats: dict[HostId, _Seat] = {}
    known: set[str] = set()
    for number, node in enumerate(nodes):
        name, seat = desk.once(("node", id(node)), (node,), partial(_seat, desk, node, number))
        if name:
            known.add(name)
        if seat is not None and seat.host.id in seats:
            desk.report("DoubledNode", str(seat.host.id), "two nodes have this name", "Give each cluster its own name")
        elif seat is not None:
            seats[seat.host.id] = seat
    hosts: dict[HostId, Host] = {}
    cubes: dict[CubeId, Cube] = {}
    blocks: dict[CubeId, tuple[int, ...]] = {}
    for cube_id, group in sorted(_by_cube(seats.values()).items(), key=_name):
        told = (positions.get(seat.host.id) for seat in group)
        reading = partial(_cube, desk, cube_id, group, positions)
        cube, seated, block = desk.once(("cube", cube_id.name), (*group, *told), reading)
        hosts.update((host.id, host) for host in seated)
        if cube is not None:
            cubes[cube_id] = cube
        if block is not None:
            blocks[cube_id] = block
    hosts.update((seat.host.id, seat.host) for seat in seats.values() if seat.host.cube is None)
    return NodesRead(dict(sorted(hosts.items(), key=_name)), cubes, frozenset(known), blocks)


def _name(item: tuple[HostId | CubeId, object]) -> str:
    """Sort what is all of one cluster and kind by its text: ids compare field by field in Python, which takes ten times as long."""
    return item[0].name


def _seat(desk: Desk, node: object, number: int) -> tuple[str, _Seat | None]:
    """Give the name of a node, "" where it has none that can be used, and its seat if it is a TPU host."""
    name, about = "", f"{desk.cluster}/node[{number}]"
    try:
        fields = Fields.of(node, "")
        meta = fields.at("metadata")
        host = HostId(desk.cluster, meta.text("name"))
        name, about = host.name, str(host)
        labels = meta.texts("labels")
        capacity = _capacity_of(fields.at("status").at("capacity"), desk.names)
        if desk.names.accelerator not in labels:
            if capacity:
                desk.report(
                    "MissingLabel", about, f"has chips but no label {desk.names.accelerator}", "Label the node as GKE does"
                )
            return name, None
        return name, _tpu_seat(desk, fields, host, labels, capacity)
    except Misconfigured as error:
        desk.set_aside(about, error)
        return name, None


def _tpu_seat(desk: Desk, node: Fields, host_id: HostId, labels: Mapping[str, str], capacity: int) -> _Seat | None:
    names, about = desk.names, str(host_id)
    generation = GENERATIONS.get(labels[names.accelerator])
    if generation is None:
        why = f"label {names.accelerator}={labels[names.accelerator]}"
        desk.report("UnknownAccelerator", about, why, f"Known are {', '.join(GENERATIONS)}")
        return None
    chips = _chips(desk, about, generation, labels.get(names.accelerator_count), capacity)
    if chips is None:
        return None
    name, shape, classic = _cube_of(desk, host_id, labels, generation, chips)
    block = labels.get(names.block)
    place = _Place(
        generation.label,
        chips,
        desk.named(CubeId, name) if name else None,
        desk.named(PodId, block) if block else None,
        whole_number(labels.get(names.host_index)),
    )
    host = _host(node, host_id, labels, place, names)
    spare = labels.get(names.spare) == "true"
    return _Seat(host, shape, classic, None if classic else labels.get(names.partition_state), spare)


class _Place(NamedTuple):
    """What the labels of a node say about where it is."""

    generation: str
    chips: int
    cube: CubeId | None
    pod: PodId | None
    number: int | None


def _chips(desk: Desk, about: str, generation: Generation, label: str | None, capacity: int) -> int | None:
    """Give the chips of a host: the label's word, else the capacity. Whatever of them contradicts is a problem; None: no host."""
    names, told = desk.names, whole_number(label)
    what_to_do = f"Correct {names.accelerator} or {names.accelerator_count}, or look at the node's device plugin"
    if label is not None and not told:
        desk.report("ContradictoryLabels", about, f"{names.accelerator_count}={label[:40]} is no number of chips", what_to_do)
    if told and capacity and not agree(generation, told, capacity):
        why = f"{names.accelerator_count}={told}, but its capacity is {capacity}; the label counts"
        desk.report("ContradictoryLabels", about, why, what_to_do)
    if not (counted := told or capacity):
        desk.report("MissingLabel", about, f"has neither {names.accelerator_count} nor capacity", "Label the node as GKE does")
        return None
    if (chips := chips_of(generation, counted)) is None:
        why = f"{counted} chips, but {generation.name} hosts have {' or '.join(map(str, generation.chips_a_host))}"
        desk.report("ContradictoryLabels", about, why, what_to_do)
    return chips


def _host(node: Fields, host_id: HostId, labels: Mapping[str, str], place: _Place, names: Names) -> Host:
    meta, spec, status = node.at("metadata"), node.at("spec"), node.at("status")
    annotations = meta.texts("annotations")
    conditions = status.pairs("conditions", "type", "status")
    return Host(
        id=host_id,
        generation=place.generation,
        chips=place.chips,
        cube=place.cube,
        pod=place.pod,
        index=place.number,
        instance_id=annotations.get(names.instance_id) or spec.text("providerID"),
        boot_id=status.at("nodeInfo").text("bootID"),
        ready=_READY.get(conditions.get(names.ready, ""), Health.UNKNOWN),
        cordoned=spec.flag("unschedulable"),
        marks=tuple(_marks(spec, names)),
        labels=labels,
        annotations=annotations,
        conditions=conditions,
        version=meta.text("resourceVersion"),
    )


def _marks(spec: Fields, names: Names) -> Iterator[Mark]:
    """Give the taints but for the one that every TPU node has."""
    for taint in spec.each("taints"):
        key, value, effect = taint.text("key"), taint.text("value"), taint.text("effect")
        if key != names.tpu_taint:
            yield Mark(key, value, effect, ours=key == names.out_of_service)


def _cube_of(
    desk: Desk, host: HostId, labels: Mapping[str, str], generation: Generation, chips: int
) -> tuple[str, Shape | None, bool]:
    """Give the cube's name, its shape and whether it is a classic pool; an empty name where labels do not tell."""
    names, about = desk.names, str(host)
    pool, told = labels.get(names.node_pool), labels.get(names.topology)
    if labels.get(names.partition_id) and generation.cube is not None:
        if told and not ((pools := shape_of(told)) and len(pools) == generation.dimensions and generation.is_whole_cubes(pools)):
            why = f"{names.topology}={told} beside a partition of {text_of(generation.cube)}; the partition counts"
            desk.report("ContradictoryLabels", about, why, "Correct the label")
        return labels[names.partition_id], generation.cube, False
    missing = [key for key, value in ((names.node_pool, pool), (names.topology, told)) if not value]
    if not pool or not told:
        desk.report("MissingLabel", about, f"no {' and no '.join(missing)}", "Label the node as GKE does; its cube is unknown")
        return "", None, False
    shape = shape_of(told)
    if shape is None or not generation.admits(shape) or any(x % y for x, y in zip(shape, generation.tray(chips), strict=True)):
        why = f"{names.topology}={told} is no shape of {generation.name} hosts with {chips} chips"
        desk.report("ContradictoryLabels", about, why, "Correct the label")
        return "", None, False
    return (host.name if generation.hosts(shape, chips) == 1 else pool), shape, True


def _by_cube(seats: Iterable[_Seat]) -> dict[CubeId, list[_Seat]]:
    groups: dict[CubeId, list[_Seat]] = {}
    for seat in seats:
        if seat.host.cube is not None:
            groups.setdefault(seat.host.cube, []).append(seat)
    return groups


def _cube(
    desk: Desk, cube_id: CubeId, seats: list[_Seat], positions: Mapping[HostId, Positions]
) -> tuple[Cube | None, list[Host], tuple[int, ...] | None]:
    first = seats[0]
    kinds = {(seat.host.generation, seat.host.chips, seat.shape, seat.classic) for seat in seats}
    pods = {seat.host.pod for seat in seats}
    if first.shape is None or len(kinds) > 1 or len(pods) > 1:
        what = "generations, chips a host or topologies" if len(kinds) > 1 else "TPU pods"
        desk.report("ContradictoryLabels", str(cube_id), f"its nodes name different {what}", "Correct the nodes' labels")
        return None, [replace(seat.host, cube=None, index=None) for seat in seats], None
    generation = GENERATIONS[first.host.generation]
    bounds = generation.host_bounds(first.shape, first.host.chips)
    seated, block = seated_hosts(desk, cube_id, [seat.host for seat in seats], (generation, first.shape), positions)
    if len(seated) != prod(bounds):
        why = f"{len(seated)} of {prod(bounds)} hosts of a {text_of(first.shape)}"
        desk.report("IncompleteCube", str(cube_id), why, "Wait for the missing nodes or repair them; nothing is placed here")
    cube = Cube(
        id=cube_id,
        generation=generation.label,
        shape=first.shape,
        hosts=tuple(host.id for host in seated),
        expected_hosts=prod(bounds),
        state=_state(desk, cube_id, seats),
        pod=first.host.pod,
        classic=first.classic,
        spare=all(seat.spare for seat in seats),
    )
    return cube, seated, block


def _state(desk: Desk, cube_id: CubeId, seats: list[_Seat]) -> str | None:
    """Google's word on the partition; where the nodes disagree, the worst of them, and that is a problem."""
    names = desk.names
    states = {seat.state for seat in seats if seat.state is not None}
    if len(states) > 1:
        desk.report("ContradictoryLabels", str(cube_id), f"partition states {', '.join(sorted(states))}", "The worst one counts")
    rank = {names.healthy: 0, names.degraded: 1}
    return max(states, key=lambda state: (rank.get(state, 2), state), default=None)


def _capacity_of(capacity: Fields, names: Names) -> int:
    """Kubernetes prints quantities as text; some emulators as numbers."""
    value = capacity.mapping.get(names.tpu_resource)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(value, 0)
    return whole_number(capacity.text(names.tpu_resource)) or 0
