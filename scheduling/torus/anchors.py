"""Every place at which a box of chips fits into a torus: exactly, for a whole catalogue of boxes at once.

The anchor of a box is its place of the lowest coordinates; a box may run over an edge that wraps round. It fits where all of its
chips are free and no link inside it is condemned. Where it goes round a whole ring, all places of the ring begin the same box,
whose anchor is the one at 0, and the link that closes the ring lies inside it.

A run of chips along an axis is two overlapping shorter runs, so that a box is found in few steps, each of which doubles a run
over the whole board at once (erosion by a box, in the words of image processing). What two boxes of a catalogue share along the
first axes is done once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sliceward.scheduling.torus.board import full_board, layers, stride_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Torus


def anchors(torus: Torus, boxes: frozenset[Shape], free: int, condemned: Mapping[int, int]) -> dict[Shape, int]:
    """Give for each box the board of its anchors.

    ``boxes``: lengths in chips along the torus' own axes; what is longer than the torus fits nowhere. ``free``: the chips that may
    be used. ``condemned``: by axis the chips whose link in the rising direction must not lie inside a box.
    """
    found = dict.fromkeys(boxes, 0)
    chips = _recipe(torus, boxes, None)
    made = chips.cooked(free)
    for box, at, first in chips.results:
        found[box] = made[at] & first if first else made[at]
    for axis, links in condemned.items():
        inside = _recipe(torus, boxes, axis)
        made = inside.cooked(full_board(torus) & ~links)
        for box, at, _ in inside.results:
            found[box] &= made[at]
    return found


def touched_by_each(torus: Torus, box: Shape, boards: Sequence[int]) -> NDArray[np.uint8]:
    """Give for each board, as a row of 0 and 1 in the order of places, the anchors from which a box holds one of its places.

    Anchors of which a box runs out of the torus may be told as well. All boards are one long number, which each step moves at once.
    """
    width, room = (torus.size + 7) // 8, -(-len(boards) // _TOGETHER) * _TOGETHER
    told = int.from_bytes(b"".join(board.to_bytes(width, "little") for board in boards), "little")
    full = _repeated(full_board(torus), width, room)
    clear = _recipe_of_many(torus, box, width, room).cooked(full & ~told)[-1]
    raw = (full & ~clear).to_bytes(room * width, "little")
    rows = np.frombuffer(raw, np.uint8, count=len(boards) * width).reshape(len(boards), width)
    return np.unpackbits(rows, axis=1, count=torus.size, bitorder="little")


_TOGETHER = 16
"""Boards beside each other come in multiples of so many, so that few recipes are written."""


class _Step(NamedTuple):
    """Join a board that is made already with itself, moved: towards lower places, and over the edge of a ring."""

    source: int
    down: int
    inside: int
    up: int
    over: int


@dataclass(frozen=True, slots=True)
class _Recipe:
    """The steps that make all boards of a catalogue from one: ``results`` tell which board is whose, and its mask if any."""

    steps: tuple[_Step, ...]
    results: tuple[tuple[Shape, int, int], ...]

    def cooked(self, start: int) -> list[int]:
        """Give the first board and those that each step makes."""
        made = [start]
        for source, down, inside, up, over in self.steps:
            board = made[source]
            ahead = board >> down & inside
            if over:
                ahead |= board << up & over
            made.append(board & ahead)
        return made


@cache
def _recipe(torus: Torus, boxes: frozenset[Shape], links: int | None) -> _Recipe:
    """Write down how to find the boxes' chips, or the chips that their links along the axis ``links`` leave."""
    writing = _Writing(torus)
    results = []
    for box in sorted(boxes):
        lengths = box if links is None else _leaving(torus, box, links)
        if all(0 < length <= room for length, room in zip(lengths, torus.shape, strict=True)):
            results.append((box, writing.board_of(lengths), _first_of_rings(torus, box)))
    return _Recipe(tuple(writing.steps), tuple(results))


@lru_cache(maxsize=128)
def _recipe_of_many(torus: Torus, box: Shape, width: int, count: int) -> _Recipe:
    """Write down how to find a box's chips on so many boards beside each other, of which each takes ``width`` bytes.

    No step leads from one board to another: what it moves over an edge is masked out.
    """
    once = _recipe(torus, frozenset({box}), None)
    steps = (
        step._replace(inside=_repeated(step.inside, width, count), over=_repeated(step.over, width, count)) for step in once.steps
    )
    return _Recipe(tuple(steps), ())


def _repeated(board: int, width: int, count: int) -> int:
    return int.from_bytes(board.to_bytes(width, "little") * count, "little")


@dataclass(slots=True)
class _Writing:
    """A recipe that is being written: which board holds what, by the lengths of its runs along the first axes."""

    torus: Torus
    steps: list[_Step] = field(default_factory=list)
    boards: dict[Shape, int] = field(default_factory=lambda: {(): 0})

    def board_of(self, lengths: Shape) -> int:
        """Give the number of the board of these runs, with the steps to it."""
        if lengths not in self.boards:
            *before, length = lengths
            if length == 1:
                self.boards[lengths] = self.board_of(tuple(before))
            else:
                half = (length + 1) // 2
                known = (have for have in range(length - 1, half, -1) if (*before, have) in self.boards)
                have = next(known, half)
                source = self.board_of((*before, have))
                self.steps.append(self._step(source, len(before), length - have))
                self.boards[lengths] = len(self.steps)
        return self.boards[lengths]

    def _step(self, source: int, axis: int, moved: int) -> _Step:
        length, stride = self.torus.shape[axis], stride_of(self.torus, axis)
        over = layers(self.torus, axis, length - moved, length) if self.torus.wrap[axis] else 0
        return _Step(source, moved * stride, layers(self.torus, axis, 0, length - moved), (length - moved) * stride, over)


def _leaving(torus: Torus, box: Shape, axis: int) -> Shape:
    links = box[axis] if _closes(torus, box, axis) else box[axis] - 1
    return (*box[:axis], links, *box[axis + 1 :])


def _first_of_rings(torus: Torus, box: Shape) -> int:
    """Give the mask of a box that goes round a ring; 0 where it goes round none."""
    mask = full_board(torus)
    for axis in range(len(box)):
        if _closes(torus, box, axis):
            mask &= layers(torus, axis, 0, 1)
    return mask if mask != full_board(torus) else 0


def _closes(torus: Torus, box: Shape, axis: int) -> bool:
    return torus.wrap[axis] and box[axis] == torus.shape[axis]
