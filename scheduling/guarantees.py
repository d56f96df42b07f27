"""What tenants are promised in whole cells, and which of it can no longer be kept.

A guarantee is a number of cells of a shape: chips alone would not do, because chips that lie badly train nobody's model. When hosts
fail, cells that are still owed may be more than those that could be had; then some tenant has lost something, and is told before
it asks (Zhao et al., "HiveD", OSDI 2020: cells that are doomed). In YAML::

    guarantees:
      research: {tpu7x: {4x8x8: 2, 4x4x4: 6}}
      ml: {tpu7x: {2x2x4: 8}}
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.cubes.block import Block
from sliceward.scheduling.cubes.expected import whole_cubes
from sliceward.scheduling.cubes.packing import Bin, NoPacking, packed
from sliceward.scheduling.ground import Want
from sliceward.scheduling.spares import LOWEST
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields
from sliceward.topology.generations import GENERATIONS, Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.ground import Ground
    from sliceward.scheduling.snapshot import Snapshot

Cell = tuple[str, Shape]
"""Accelerator label and shape in chips."""


@dataclass(frozen=True, slots=True)
class Guarantees:
    """Cells by tenant. ``lowest``: gangs of less priority sit anywhere by favour, use up no guarantee and stand in nobody's way."""

    cells: Mapping[str, Mapping[Cell, int]] = field(default_factory=dict)
    lowest: int = LOWEST

    @classmethod
    def from_mapping(cls, mapping: object, *, where: str = "guarantees") -> Guarantees:
        """Read ``{tenant: {generation: {shape: cells}}}``.

        Raises:
            Misconfigured: with the path of the key: a generation that is unknown, a shape that it has not, a number that is none.
        """
        names = {kind.name: kind for kind in GENERATIONS.values()} | dict(GENERATIONS)
        cells: dict[str, dict[Cell, int]] = {}
        top = Fields.of(mapping if mapping is not None else {}, where)
        for tenant in top.mapping:
            if not isinstance(tenant, str) or not tenant:
                raise Misconfigured(where, f"{tenant!r} is no tenant", "Tenants are texts: quote a number")
            for told in top.at(tenant).mapping:
                if told not in names:
                    raise Misconfigured(
                        f"{where}.{tenant}.{told}", "is no TPU generation", f"Known are {', '.join(sorted(names))}"
                    )
                kind, counts = names[told], top.at(tenant).at(told)
                for text in counts.mapping:
                    shape = shape_of(str(text))
                    if shape is None or not kind.admits(shape):
                        raise Misconfigured(
                            f"{where}.{tenant}.{told}.{text}", f"is no shape of {kind.name}", "Shapes look like 4x4x8"
                        )
                    cells.setdefault(tenant, {})[kind.label, shape] = counts.integer(text)
        return cls(cells)


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


def owed(snapshot: Snapshot, guarantees: Guarantees) -> dict[str, dict[Cell, int]]:
    """Give, by tenant, the cells that it may still ask for: those of its guarantee that its gangs do not fill already."""
    found: dict[str, dict[Cell, int]] = {}
    for tenant, cells in sorted(guarantees.cells.items()):
        left = dict(cells)
        mine = [gang for gang in snapshot.gangs.values() if gang.tenant == tenant and gang.priority >= guarantees.lowest]
        for generation in sorted({generation for generation, _ in cells}):
            held = Counter(
                prod(each.shape) for gang in mine if gang.generation == generation for each in gang.slices if each.shape
            )
            _fill(left, generation, held)
        found[tenant] = {cell: count for cell, count in left.items() if count}
    return found


def _fill(left: dict[Cell, int], generation: str, held: Counter[int]) -> None:
    """Let slices, by their chips, fill cells: each of the smallest that holds it; several share one that is larger."""
    shapes = sorted((shape for kind, shape in left if kind == generation), key=lambda shape: (prod(shape), shape))
    room = 0
    for chips, count in sorted(held.items(), reverse=True):
        for _ in range(count):
            fitting = [shape for shape in shapes if prod(shape) >= chips and left[generation, shape] > 0]
            if room >= chips and not any(prod(shape) == chips for shape in fitting):
                room -= chips
            elif fitting:
                left[generation, fitting[0]] -= 1
                room += prod(fitting[0]) - chips


def doomed(snapshot: Snapshot, guarantees: Guarantees) -> tuple[Doomed, ...]:
    """Give the shapes of which more cells are owed than can be had, largest first; with none, every guarantee can be kept.

    Cells that are owed are given out in thought, the largest first: that is exact inside cubes, where boxes halve, and over blocks,
    where whole cubes are packed. Elsewhere each shape is judged by itself, and what is told is surely so. Who sits somewhere by
    favour goes for it.
    """
    for gang in [key for key, each in sorted(snapshot.gangs.items()) if each.priority < guarantees.lowest]:
        snapshot = snapshot.without_gang(gang)
    asked: dict[str, dict[Shape, dict[str, int]]] = {}
    for tenant, cells in owed(snapshot, guarantees).items():
        for (generation, shape), count in cells.items():
            asked.setdefault(generation, {}).setdefault(shape, {})[tenant] = count
    found: list[Doomed] = []
    for generation, shapes in sorted(asked.items()):
        grounds = [
            snapshot.grounds[key] for key in sorted(snapshot.grounds, key=str) if snapshot.grounds[key].generation == generation
        ]
        found += _of_generation(generation, grounds, shapes)
    return tuple(found)


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
