"""The links of a whole fleet at once, as arrays: inside cubes from the places of the chips, through faces where a slice joins cubes.

The same links as `sliceward.topology.links` gives one by one, which would take seconds for 300,000 of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.topology.generations import GENERATIONS
from sliceward.topology.ids import HostId
from sliceward.topology.links import whole_slice_of
from sliceward.topology.torus import coordinate_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.detectors.passes.layout import Index
    from sliceward.topology.fleet import Cube, Fleet, Slice
    from sliceward.topology.ids import CubeId

AXES = "xyz"


@dataclass(frozen=True, slots=True, eq=False)
class Cables:
    """Links by the chips at their ends and the port of each; ``switch``: label of the optical switch between, -1 for copper; ``switches``: names."""

    one: Index
    other: Index
    port_one: Index
    port_other: Index
    switch: Index
    switches: tuple[str, ...]


def cables_of(cluster: str, hosts: Sequence[str], chips: Sequence[int], fleet: Fleet) -> Cables:
    """Give all links between chips of ``hosts``, which are numbered host after host, ``chips`` of each."""
    grids = _grids(cluster, hosts, chips, fleet)
    found = _Found()
    for grid in grids.values():
        for axis in range(grid.ndim):
            size = grid.shape[axis]
            found.add(axis, grid.take(range(size - 1), axis), grid.take(range(1, size), axis))
    joined: dict[Slice, None] = {}
    for cube in grids:
        around = whole_slice_of(fleet, cube)
        if around is not None:
            joined[around] = None
    for around in joined:
        _through_faces(found, fleet, around, grids)
    return found.cables()


class _Found:
    """Links as they are found, an array of each end at a time."""

    def __init__(self) -> None:
        self._ends: list[tuple[int, Index, Index, Index]] = []
        self._switches: dict[str, int] = {}

    def add(self, axis: int, one: Index, other: Index, switches: Sequence[str] = ()) -> None:
        labels = [self._switches.setdefault(name, len(self._switches)) for name in switches]
        one, other = one.ravel(), other.ravel()
        there = (one >= 0) & (other >= 0) & (one != other)
        switch = np.array(labels, dtype=np.intp) if labels else np.full(len(one), -1, dtype=np.intp)
        self._ends.append((axis, one[there], other[there], switch[there]))

    def cables(self) -> Cables:
        none = (0, *(np.zeros(0, dtype=np.intp),) * 3)
        found = [none, *self._ends]
        ports = np.concatenate([np.full(len(one), 2 * axis, dtype=np.intp) for axis, one, _, _ in found])
        one, other, switch = (np.concatenate([each[side] for each in found]) for side in (1, 2, 3))
        return Cables(one, other, ports, ports + 1, switch, tuple(self._switches))


def _grids(cluster: str, hosts: Sequence[str], chips: Sequence[int], fleet: Fleet) -> dict[CubeId, Index]:
    """Give the chip at each place of each cube, -1 where none or more than one says that it is there."""
    at: dict[CubeId, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
    first = 0
    for name, count in zip(hosts, chips, strict=True):
        host = fleet.hosts.get(HostId(cluster, name))
        if host is not None and host.cube is not None and host.cube in fleet.cubes:
            at[host.cube].extend((first + index, place) for index, place in enumerate(host.coordinates[:count]))
        first += count
    return {cube: _grid(fleet.cubes[cube], found) for cube, found in at.items() if found}


def _grid(cube: Cube, found: list[tuple[int, tuple[int, ...]]]) -> Index:
    grid, taken = np.full(cube.shape, -1, dtype=np.intp), np.zeros(cube.shape, dtype=np.intp)
    for member, place in found:
        if len(place) == grid.ndim and all(0 <= x < size for x, size in zip(place, cube.shape, strict=True)):
            grid[place] = member
            taken[place] += 1
    grid[taken > 1] = -1
    return grid


def _through_faces(found: _Found, fleet: Fleet, around: Slice, grids: dict[CubeId, Index]) -> None:
    """Add the links through which the cubes of a slice are joined, and its own opposite faces."""
    first = fleet.cubes[around.cubes[0]]
    generation = GENERATIONS[first.generation]
    if len(around.shape) != len(first.shape) or any(a % b for a, b in zip(around.shape, first.shape, strict=True)):
        return
    blocks = tuple(a // b for a, b in zip(around.shape, first.shape, strict=True))
    whole = np.full(around.shape, -1, dtype=np.intp)
    for number, cube in enumerate(around.cubes):
        at = coordinate_at(blocks, number)
        where = tuple(slice(b * size, (b + 1) * size) for b, size in zip(at, first.shape, strict=True))
        whole[where] = grids.get(cube, -1)
    wrap = generation.wrap(around.shape)
    optical = generation.cube is not None and not first.classic
    for axis, edge in enumerate(first.shape):
        names = _switch_names(first, axis, around.shape) if optical else ()
        for face in range(edge - 1, around.shape[axis], edge):
            beyond = (face + 1) % around.shape[axis]
            if beyond or wrap[axis]:
                found.add(axis, whole.take([face], axis), whole.take([beyond], axis), names)


def _switch_names(cube: Cube, axis: int, shape: tuple[int, ...]) -> list[str]:
    """Name the switch at each place of a face, in the order of a raveled plane: all cubes of a pod share it."""
    pod = cube.pod.name if cube.pod is not None else "pod"
    rest = [side for side in range(len(shape)) if side != axis]
    places = np.stack(
        [plane.ravel() % cube.shape[side] for plane, side in zip(np.indices([shape[r] for r in rest]), rest, strict=True)]
    )
    return [f"{pod}.{AXES[axis]}.{'-'.join(map(str, place))}" for place in places.T.tolist()]
