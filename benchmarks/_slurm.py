"""Slurm's rule for a torus, written anew from what its documentation and behaviour tell (topology/torus3d): what we measure against.

For every configured box there is a grid of anchors, spaced like the box, which may run over an edge that wraps round. A job gets an
anchor all of whose nodes are idle and up: of those the one that breaks the fewest wholly free anchors of the next larger box, then
the one in the torus with the fewest idle nodes, then the first. It knows no other place, and no repair.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.torus.board import board_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Coordinate, Torus


def fixed_anchors(torus: Torus, box: Shape) -> tuple[tuple[Coordinate, int], ...]:
    """Give each anchor of a box with the board of its nodes; spaced like the box."""
    if any(length > room for length, room in zip(box, torus.shape, strict=True)):
        return ()
    found = []
    for corner in product(*(range(0, room, length) for length, room in zip(box, torus.shape, strict=True))):
        over = (at + length > room for at, length, room in zip(corner, box, torus.shape, strict=True))
        if any(beyond and not wraps for beyond, wraps in zip(over, torus.wrap, strict=True)):
            continue
        spans = ([(at + n) % room for n in range(length)] for at, length, room in zip(corner, box, torus.shape, strict=True))
        found.append((corner, board_of(torus, product(*spans))))
    return tuple(found)


def scan(anchors: Iterable[tuple[Coordinate, int]], idle: int) -> list[tuple[Coordinate, int]]:
    """Give the anchors that are wholly idle."""
    return [anchor for anchor in anchors if anchor[1] & idle == anchor[1]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a job goes: which torus, which box, from where, on which nodes."""

    torus: int
    box: Shape
    at: Coordinate
    nodes: int


class Slurm:
    """The rule over several equal tori. ``boxes`` by shape: the ways in which a shape may lie, all of them configured."""

    def __init__(self, torus: Torus, boxes: Mapping[Shape, Sequence[Shape]]) -> None:
        """Lay out the anchors, and which of the next larger shape each of them breaks."""
        self._anchors = {
            shape: [(box, *at) for box in lying for at in fixed_anchors(torus, box)] for shape, lying in boxes.items()
        }
        sizes = sorted({prod(shape) for shape, anchors in self._anchors.items() if anchors})
        larger = dict(pairwise(sizes))
        self._larger = {
            shape: [
                nodes for other, them in self._anchors.items() if prod(other) == larger.get(prod(shape)) for *_, nodes in them
            ]
            for shape in boxes
        }
        self._breaks = {
            shape: [[n for n, other in enumerate(self._larger[shape]) if other & nodes] for *_, nodes in anchors]
            for shape, anchors in self._anchors.items()
        }

    def choose(self, shape: Shape, idle: Sequence[int]) -> Choice | None:
        """Give the place of a job of this shape; ``idle``: by torus the nodes that are free and up."""
        best: tuple[tuple[int, int, int, int], Choice] | None = None
        for torus, free in enumerate(idle):
            whole = [nodes & free == nodes for nodes in self._larger[shape]]
            for number, (box, at, nodes) in enumerate(self._anchors[shape]):
                if nodes & free == nodes:
                    broken = sum(whole[other] for other in self._breaks[shape][number])
                    rank = (broken, free.bit_count(), torus, number)
                    if best is None or rank < best[0]:
                        best = (rank, Choice(torus, box, at, nodes))
        return best[1] if best else None
