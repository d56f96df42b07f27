"""ICI links of a fleet by the ids of their ends: inside a cube (copper) and between cubes (optical).

A chip's place comes from its host (`Host.coordinates`). Inside its cube a port leads to the next place. Through a face it
leads to the next cube of the same slice, in the order of the slice's cubes (row by row, x fastest), or round to the
opposite face of the same cube; who is there is known only while a slice is formed. Wrap rules: `Generation.wrap`.
Ports are numbered x+ x- y+ y- z+ z- = 0..5 (2D: 0..3), an assumption that docs/limits.md states.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.generations import GENERATIONS
from sliceward.topology.ids import ChipId, LinkId
from sliceward.topology.torus import Torus, coordinate_at, index_at

if TYPE_CHECKING:
    from sliceward.topology.fleet import Cube, Fleet, Slice
    from sliceward.topology.ids import CubeId
    from sliceward.topology.torus import Coordinate


def link_at(fleet: Fleet, chip: ChipId, port: int) -> LinkId | None:
    """Give the link behind a port; None where nothing is joined there, or where the fleet does not tell.

    Both ends give the same id.
    """
    there = neighbour_at(fleet, chip, port)
    return None if there is None else LinkId.between(chip, there)


def neighbour_at(fleet: Fleet, chip: ChipId, port: int) -> ChipId | None:
    """Give the chip that a port leads to."""
    host, place = fleet.hosts.get(chip.host_id), fleet.place_of(chip)
    cube = fleet.cubes.get(host.cube) if host is not None and host.cube is not None else None
    if cube is None or place is None or port not in range(2 * len(cube.shape)):
        return None
    inside = Torus(cube.shape, (False,) * len(cube.shape)).neighbour(place, port)
    if inside is not None:
        return fleet.chips_at(cube.id).get(inside)
    around = whole_slice_of(fleet, cube.id)
    return _through_face(fleet, (cube, place), around, port) if around is not None else None


def ends(link: LinkId) -> tuple[ChipId, ChipId]:
    """Give the two chips of a link, in sorted order."""
    return link.ends


def port_at(fleet: Fleet, chip: ChipId, link: LinkId) -> int | None:
    """Give the port of ``chip`` that ``link`` is plugged into; None where it is not one of its links now."""
    return next((port for port in ports_of(fleet, chip) if link_at(fleet, chip, port) == link), None)


def ports_of(fleet: Fleet, chip: ChipId) -> range:
    """Give the port numbers of a chip; none where its host is unknown."""
    host = fleet.hosts.get(chip.host_id)
    return range(GENERATIONS[host.generation].ports_a_chip) if host is not None and chip.index < host.chips else range(0)


def links_of_chip(fleet: Fleet, chip: ChipId) -> tuple[LinkId, ...]:
    """Give the links of a chip by port, leaving out ports that lead nowhere."""
    found = (link_at(fleet, chip, port) for port in ports_of(fleet, chip))
    return tuple(link for link in found if link is not None)


def links_of(fleet: Fleet, cube: CubeId) -> tuple[LinkId, ...]:
    """Give every link with an end in ``cube``, sorted: 144 inside a 4x4x4, and 96 through its faces while in a slice.

    A one-cube slice wraps to itself, so that there the 96 ends are 48 links.
    """
    hosts = fleet.cubes[cube].hosts if cube in fleet.cubes else ()
    chips = (ChipId(host.cluster, host.name, n) for host in hosts for n in range(fleet.hosts[host].chips))
    return tuple(sorted({link for chip in chips for link in links_of_chip(fleet, chip)}))


def is_between_cubes(fleet: Fleet, link: LinkId) -> bool:
    """Whether a link leaves a cube through a face, also when it comes round to the same cube.

    True as well where the places of its ends are unknown: what follows from "inside" is that a whole cube leaves service,
    and that needs to be certain. A link need not exist now to be asked about (its slice may have been moved away).
    """
    return not fleet.is_inside_one_cube(link)


def whole_slice_of(fleet: Fleet, cube: CubeId) -> Slice | None:
    """Give the slice that takes this cube whole, if there is exactly one whose cubes make up its shape."""
    found = []
    for name in fleet.slices_in.get(cube, ()):
        one = fleet.slices[name]
        known = [fleet.cubes[c] for c in one.cubes if c in fleet.cubes]
        shapes = {c.shape for c in known}
        if (
            one.shape
            and len(shapes) == 1
            and sum(prod(c.shape) for c in known) == prod(one.shape)
            and len(known) == len(one.cubes)
        ):
            found.append(one)
    return found[0] if len(found) == 1 else None


def _through_face(fleet: Fleet, start: tuple[Cube, Coordinate], around: Slice, port: int) -> ChipId | None:
    cube, place = start
    generation = GENERATIONS[cube.generation]
    if len(around.shape) != len(cube.shape) or any(a % b for a, b in zip(around.shape, cube.shape, strict=True)):
        return None
    grid = tuple(a // b for a, b in zip(around.shape, cube.shape, strict=True))
    block = coordinate_at(grid, around.cubes.index(cube.id))
    here = tuple(b * length + at for b, length, at in zip(block, cube.shape, place, strict=True))
    there = Torus(around.shape, generation.wrap(around.shape)).neighbour(here, port)
    if there is None:
        return None
    next_block = tuple(x // length for x, length in zip(there, cube.shape, strict=True))
    next_cube = around.cubes[index_at(grid, next_block)]
    inside = tuple(x % length for x, length in zip(there, cube.shape, strict=True))
    return fleet.chips_at(next_cube).get(inside)
