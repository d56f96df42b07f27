"""Where the hosts of a cube sit: index and coordinates, from what the chips report or else from labels.

Physical places are not published by Google; row by row, x fastest, over HOST_BOUNDS is the model until
``libtpu.sdk.slice.get_chip_coordinates`` has told (facts of the workload's process, handed in as ``positions``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.fleet import Host
from sliceward.topology.torus import coordinate_at, index_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.topology.generations import Generation, Shape
    from sliceward.topology.ids import CubeId, HostId
    from sliceward.topology.problems import Desk

Positions = tuple[tuple[int, ...], ...]
"""Coordinates in the slice of each chip of one host, by chip index."""


def seated_hosts(
    desk: Desk,
    cube_id: CubeId,
    hosts: list[Host],
    kind: tuple[Generation, Shape],
    positions: Mapping[HostId, Positions],
) -> tuple[list[Host], tuple[int, ...] | None]:
    """Give the cube's hosts with index and coordinates, in order, and the cube's block in its slice if observed."""
    generation, shape = kind
    observed = {host.id: positions[host.id] for host in hosts if host.id in positions}
    bounds = generation.host_bounds(shape, hosts[0].chips)
    if len(observed) == prod(bounds) == len(hosts):
        block = _block(observed, shape, hosts[0].chips)
        if block is not None:
            return _by_observation(desk, cube_id, hosts, (generation, shape), observed), block
        desk.report(
            "ContradictoryPositions",
            str(cube_id),
            "the coordinates that its chips report do not fill one cube, each place once",
            "Compare the hosts' coordinates; their index labels are used until then",
        )
    return _by_label(desk, cube_id, hosts, (generation, shape)), None


def _block(observed: Mapping[HostId, Positions], shape: Shape, chips: int) -> tuple[int, ...] | None:
    """Where the cube sits in its slice, in cubes; None if the coordinates do not fill exactly one cube."""
    places = [at for each in observed.values() for at in each]
    if any(len(each) != chips for each in observed.values()):
        return None
    if any(len(at) < len(shape) or min(at) < 0 or any(at[len(shape) :]) for at in places):
        return None
    blocks = {tuple(x // length for x, length in zip(at, shape, strict=False)) for at in places}
    return blocks.pop() if len(blocks) == 1 and len(set(places)) == len(places) == prod(shape) else None


def _by_observation(
    desk: Desk, cube_id: CubeId, hosts: list[Host], kind: tuple[Generation, Shape], observed: Mapping[HostId, Positions]
) -> list[Host]:
    generation, shape = kind
    tray, bounds = generation.tray(hosts[0].chips), generation.host_bounds(shape, hosts[0].chips)
    seated = []
    for host in hosts:
        inside = tuple(tuple(x % length for x, length in zip(at, shape, strict=False)) for at in observed[host.id])
        corner = tuple(min(axis) // part for axis, part in zip(zip(*inside, strict=True), tray, strict=True))
        seated.append(replace(host, coordinates=inside, index=index_at(bounds, corner)))
    moved = [b.id.name for a, b in zip(hosts, seated, strict=True) if a.index is not None and a.index != b.index]
    if moved:
        desk.report(
            "ContradictoryPositions",
            str(cube_id),
            f"{len(moved)} hosts sit elsewhere than their label {desk.names.host_index} says, e.g. {min(moved)}",
            "The observed places are used; correct the labels",
        )
    return sorted(seated, key=lambda host: (host.index, host.id))


def _by_label(desk: Desk, cube_id: CubeId, hosts: list[Host], kind: tuple[Generation, Shape]) -> list[Host]:
    generation, shape = kind
    chips, about = hosts[0].chips, str(cube_id)
    tray, bounds = generation.tray(chips), generation.host_bounds(shape, chips)
    if prod(bounds) == 1:
        hosts = [replace(host, index=0) for host in hosts]
    doubled = {index for index, count in Counter(host.index for host in hosts).items() if index is not None and count > 1}
    outside = {host.index for host in hosts if host.index is not None and host.index >= prod(bounds)}
    if None in {host.index for host in hosts}:
        nameless = sorted(host.id.name for host in hosts if host.index is None)
        why = f"{len(nameless)} of {len(hosts)} hosts have no index, e.g. {nameless[0]}"
        todo = f"Label them {desk.names.host_index}, or run the reporter in the job; they are not used by position"
        desk.report("MissingIndex", about, why, todo)
    for index in sorted(doubled):
        who = ", ".join(sorted(host.id.name for host in hosts if host.index == index))
        desk.report("DoubledIndex", about, f"index {index} is on {who}", "Correct the labels; none of them is used by position")
    for index in sorted(i for i in outside if i is not None):
        desk.report("ContradictoryLabels", about, f"index {index} is outside 0..{prod(bounds) - 1}", "Correct the label")
    seated = []
    for host in hosts:
        if host.index is None or host.index in doubled or host.index in outside:
            seated.append(replace(host, index=None))
            continue
        seated.append(_seated(host, _places_of(bounds, tray, chips, host.index)))
    return sorted(seated, key=lambda host: (host.index is None, host.index or 0, host.id))


@cache
def _places_of(bounds: Shape, tray: Shape, chips: int, index: int) -> Positions:
    """Give the places of the chips of host number ``index``: there are a few cubes and indices, and thousands of hosts."""
    corner = [at * part for at, part in zip(coordinate_at(bounds, index), tray, strict=True)]
    inside = (coordinate_at(tray, chip) for chip in range(chips))
    return tuple(tuple(a + b for a, b in zip(corner, at, strict=True)) for at in inside)


def _seated(host: Host, places: Positions) -> Host:
    """Give a host with the places of its chips; written out, because `dataclasses.replace` takes three times as long."""
    return Host(
        host.id, host.generation, host.chips, host.cube, host.pod, host.index, host.instance_id, host.boot_id, host.ready,
        host.cordoned, host.marks, host.labels, host.annotations, host.conditions, host.version, places,
    )  # fmt: skip
