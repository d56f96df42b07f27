"""Where boxes fit, against the definition: every chip of the box free, no link inside it condemned."""

from __future__ import annotations

import random
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.board import board_of, places_on
from sliceward.topology.torus import Torus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sliceward.topology.generations import Shape


def a_torus(draw: random.Random) -> Torus:
    shape = tuple(draw.randint(2, 8) for _ in range(draw.choice((2, 3))))
    return Torus(shape, tuple(length > 2 and draw.random() < 0.5 for length in shape))


def all_ahead(grid: NDArray[np.bool_], torus: Torus, offsets: list[range]) -> NDArray[np.bool_]:
    """Whether all places at these offsets from each place are there and set: the definition, offset by offset."""
    found = np.ones(torus.shape, np.bool_)
    for offset in product(*offsets):
        moved = np.roll(grid, [-steps for steps in offset], range(grid.ndim))
        for axis, steps in enumerate(offset):
            if steps and not torus.wrap[axis]:
                beyond = [slice(None)] * grid.ndim
                beyond[axis] = slice(torus.shape[axis] - steps, None)
                moved[tuple(beyond)] = False
        found &= moved
    return found


def by_definition(
    torus: Torus, box: Shape, free: NDArray[np.bool_], condemned: dict[int, NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    if any(length > room for length, room in zip(box, torus.shape, strict=True)):
        return np.zeros(torus.shape, np.bool_)
    found = all_ahead(free, torus, [range(length) for length in box])
    for axis, (length, room) in enumerate(zip(box, torus.shape, strict=True)):
        ring = torus.wrap[axis] and length == room
        inside = [range(n) for n in box]
        inside[axis] = range(length if ring else length - 1)
        if axis in condemned and inside[axis]:
            found &= all_ahead(~condemned[axis], torus, inside)
        if ring:
            found &= np.indices(torus.shape)[axis] == 0
    return found


def board(torus: Torus, grid: NDArray[np.bool_]) -> int:
    return board_of(torus, (tuple(int(n) for n in place) for place in np.argwhere(grid)))


@pytest.mark.parametrize("part", range(10))
def test_every_anchor_of_every_box_is_found_on_a_thousand_grids(part: int) -> None:
    for seed in range(1_000 * part, 1_000 * (part + 1)):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        torus = a_torus(draw)
        some = np.random.default_rng(seed)
        free = some.random(torus.shape) < draw.choice((0.7, 0.9, 0.97, 1.0))
        condemned = {axis: some.random(torus.shape) < 0.02 for axis in range(free.ndim) if draw.random() < 0.5}
        boxes = frozenset(tuple(draw.randint(1, length + (draw.random() < 0.05)) for length in torus.shape) for _ in range(3))
        found = anchors(torus, boxes, board(torus, free), {axis: board(torus, grid) for axis, grid in condemned.items()})
        for box in boxes:
            assert found[box] == board(torus, by_definition(torus, box, free, condemned)), (seed, torus, box)


def test_a_board_gives_back_its_places() -> None:
    torus = Torus((4, 3, 2), (True, True, False))
    places = [torus.coordinate(number) for number in range(prod(torus.shape)) if number % 5 == 0]
    assert list(places_on(torus, board_of(torus, places))) == places
