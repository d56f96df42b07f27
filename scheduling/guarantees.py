"""What tenants are promised in whole cells, and which of it can no longer be kept.

A guarantee is a number of cells of a shape (`Quota.cells`). When hosts fail, cells that are still owed may be more than those that
could be had; then some tenant has lost something, and is told before it asks (Zhao et al., "HiveD", OSDI 2020: doomed cells).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.cubes.block import Block
from sliceward.scheduling.cubes.expected import whole_cubes
from sliceward.scheduling.cubes.packing import Bin, NoPacking, packed
from sliceward.scheduling.ground import Want
from sliceward.scheduling.quota import Account
from sliceward.scheduling.spares import LOWEST
from sliceward.topology.generations import GENERATIONS, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.ground import Ground, GroundId
    from sliceward.scheduling.snapshot import Snapshot

Cells = Mapping[Account, Mapping[Shape, int]]
"""By tenant and accelerator label: how many of each shape, in chips."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How one guarantee stands: its cells, those that are owed, and of these ``surely`` lost; ``short``: doomed for all together."""

    tenant: str
    generation: str
    shape: Shape
    cells: int
    owed: int
    short: int
    surely: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """Cells of one shape that are owed and cannot be had.

    ``owed``: by tenant, beside what it holds. ``left``: healthy cells that nobody holds once the larger cells that are owed have
    theirs. ``surely``: by tenant, cells that it could not have even if nobody else were owed any.
    """

    generation: str
    shape: Shape
    owed: Mapping[str, int]
    left: int
    surely: Mapping[str, int]

    @property
    def short(self) -> int:
        """How many are doomed."""
        return sum(self.owed.values()) - self.left


def owed(snapshot: Snapshot, cells: Cells) -> dict[Account, dict[Shape, int]]:
    """Give the cells that each tenant may still ask for: those of its guarantee that its gangs do not fill already.

    Gangs of the lowest priority sit by favour and fill none.
    """
    found: dict[Account, dict[Shape, int]] = {}
    for account, shapes in sorted(cells.items()):
        mine = [gang for gang in snapshot.gangs.values() if (gang.tenant, gang.generation) == account and gang.priority >= LOWEST]
        left = _unfilled(shapes, Counter(prod(each.shape) for gang in mine for each in gang.slices if each.shape))
        found[account] = {shape: count for shape, count in left.items() if count}
    return found


def _unfilled(cells: Mapping[Shape, int], held: Counter[int]) -> dict[Shape, int]:
    """Let slices, by their chips, fill cells: each the smallest that holds it; several share one that is larger."""
    left, shared = dict(cells), 0
    shapes = sorted(cells, key=lambda shape: (prod(shape), shape))
    for chips, count in sorted(held.items(), reverse=True):
        for _ in range(count):
            fitting = [shape for shape in shapes if prod(shape) >= chips and left[shape] > 0]
            if shared >= chips and not any(prod(shape) == chips for shape in fitting):
                shared -= chips
            elif fitting:
                left[fitting[0]] -= 1
                shared += prod(fitting[0]) - chips
    return left


def kept(snapshot: Snapshot, cells: Cells) -> tuple[Kept, ...]:
    """Give every guarantee as it stands, by tenant, generation and shape."""
    left, lost = owed(snapshot, cells), {(each.generation, each.shape): each for each in doomed(snapshot, cells)}
    found = []
    for (tenant, generation), shapes in sorted(cells.items()):
        for shape, count in sorted(shapes.items()):
            still = left[tenant, generation].get(shape, 0)
            gone = lost.get((generation, shape)) if still else None
            short, surely = (gone.short, gone.surely.get(tenant, 0)) if gone is not None else (0, 0)
            found.append(Kept(tenant, generation, shape, count, still, short, surely))
    return tuple(found)


def doomed(snapshot: Snapshot, cells: Cells) -> tuple[Doomed, ...]:
    """Give the shapes of which more cells are owed than can be had, largest first; with none, every guarantee can be kept.

    Cells that are owed are given out in thought, the largest first: that is exact inside cubes, where boxes halve, and over blocks,
    where whole cubes are packed. Elsewhere each shape is judged by itself, and what is told is surely so. Who sits somewhere by
    favour goes for it.
    """
    for gang in [key for key, each in sorted(snapshot.gangs.items()) if each.priority < LOWEST]:
        snapshot = snapshot.without_gang(gang)
    asked: dict[str, dict[Shape, dict[str, int]]] = {}
    for (tenant, generation), shapes in owed(snapshot, cells).items():
        for shape, count in shapes.items():
            asked.setdefault(generation, {}).setdefault(shape, {})[tenant] = count
    found: list[Doomed] = []
    for generation, wanted in sorted(asked.items()):
        grounds = [each for _, each in sorted(snapshot.grounds.items(), key=_name) if each.generation == generation]
        found += _of_generation(generation, grounds, wanted)
    return tuple(found)


def _name(item: tuple[GroundId, Ground]) -> str:
    return str(item[0])


def _of_generation(generation: str, grounds: Sequence[Ground], shapes: Mapping[Shape, Mapping[str, int]]) -> list[Doomed]:
    blocks = [ground for ground in grounds if isinstance(ground, Block)]
    others = [ground for ground in grounds if not isinstance(ground, Block)]
    given: dict[Shape, int] = {}
    found = []
    for shape in sorted(shapes, key=lambda shape: (-prod(shape), shape)):
        tenants = shapes[shape]
        elsewhere = sum(ground.room(Want(generation, shape)) for ground in others)
        wanted = sum(tenants.values())
        left = min(wanted, elsewhere) + _left(blocks, generation, given, (shape, max(0, wanted - elsewhere)))
        given[shape] = max(0, min(wanted, left) - elsewhere)
        if left < wanted:
            alone = elsewhere + sum(block.room(Want(generation, shape)) for block in blocks)
            surely = {tenant: count - alone for tenant, count in tenants.items() if count > alone}
            found.append(Doomed(generation, shape, dict(tenants), left, surely))
    return found


def _left(blocks: Sequence[Block], generation: str, given: Mapping[Shape, int], asked: tuple[Shape, int]) -> int:
    """Count the cells of a shape, at most those that are asked for, that blocks have beside the larger ones that are given out."""
    shape, most = asked
    size = whole_cubes(generation, shape)
    if size:
        cube = GENERATIONS[generation].cube or ()
        bins = [Bin(block.room(Want(generation, cube)), lambda _cubes, _slices: 0) for block in blocks]
        taken = [whole_cubes(generation, larger) for larger, count in given.items() for _ in range(count)]
        return next((count for count in range(most, 0, -1) if _may_fit([*taken, *[size] * count], bins)), 0)
    here = sum(block.room(Want(generation, shape)) for block in blocks)
    gone = sum(count * prod(larger) // prod(shape) for larger, count in given.items())
    return max(0, min(most, here - gone))


def _may_fit(sizes: Sequence[int], bins: Sequence[Bin]) -> bool:
    found = packed(sizes, bins)
    return not isinstance(found, NoPacking) or not found.surely
