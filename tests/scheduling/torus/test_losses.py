"""What a place destroys: the sums over whole grids, against counting one anchor after the other."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.board import board_of, full_board, places_on
from sliceward.scheduling.torus.footprint import covered, footprint, inside, places_of, touching
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.losses import UNIT, arranged, box_sums, loss_of, losses, weights_of
from sliceward.topology.torus import Torus

Shape = tuple[int, ...]


def a_torus(draw: random.Random, longest: int = 5) -> Torus:
    shape = tuple(draw.randint(1, longest) for _ in range(draw.choice((2, 3))))
    return Torus(shape, tuple(length > 2 and draw.random() < 0.6 for length in shape))


def a_board(draw: random.Random, torus: Torus, share: float) -> int:
    return board_of(torus, (torus.coordinate(n) for n in range(torus.size) if draw.random() < share))


def a_box(draw: random.Random, torus: Torus) -> Shape:
    return tuple(draw.randint(1, length) for length in torus.shape)


@pytest.mark.parametrize("part", range(4))
def test_every_place_loses_what_counting_finds(part: int) -> None:
    for seed in range(100 * part, 100 * (part + 1)):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        torus = a_torus(draw)
        boxes = {a_box(draw, torus): draw.randint(0, UNIT) for _ in range(6)}
        free = a_board(draw, torus, draw.choice((0.8, 1.0)))
        alive = anchors(torus, frozenset(boxes), free, {})
        box = a_box(draw, torus)
        found = losses(arranged(torus, boxes, alive), (a_box(draw, torus), box))[1]
        for at in places_on(torus, inside(torus, box)):
            taken = footprint(torus, box, at)
            expected = sum(
                weight
                for other, weight in boxes.items()
                for there in places_on(torus, alive[other])
                if footprint(torus, other, there) & taken
            )
            after = anchors(torus, frozenset(boxes), free & ~taken, {})
            assert found[torus.index(at)] == expected == loss_of(boxes, alive, after), (seed, box, at)


@pytest.mark.parametrize("seed", range(100))
def test_dilations_are_what_their_boxes_say(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 (a story told again)
    torus = a_torus(draw, 6)
    box, some = a_box(draw, torus), a_board(draw, torus, 0.1)
    within = inside(torus, box)
    assert within == anchors(torus, frozenset({box}), (1 << torus.size) - 1, {})[box]
    feet = {at: footprint(torus, box, at) for at in places_on(torus, within)}
    assert touching(torus, box, some) == board_of(torus, (at for at, foot in feet.items() if foot & some))
    together = 0
    for at, foot in feet.items():
        assert board_of(torus, places_of(torus, box, at)) == foot
        if some >> torus.index(at) & 1:
            together |= foot
    assert covered(torus, box, some & within) == together


@pytest.mark.parametrize("seed", range(40))
def test_amounts_are_summed_over_each_box(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 (a story told again)
    torus = a_torus(draw)
    box = a_box(draw, torus)
    amounts = np.array([float(draw.randint(0, 1000)) for _ in range(torus.size)])
    found = box_sums(torus, amounts, box)
    for at in places_on(torus, inside(torus, box)):
        assert found[torus.index(at)] == sum(amounts[torus.index(place)] for place in places_of(torus, box, at))


def test_equal_places_cost_exactly_the_same() -> None:
    pod = Lattice(Torus((16, 16, 16), (True, True, True)), (2, 2, 1))
    shapes = [(2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4), (4, 4, 4), (4, 4, 8), (4, 8, 8), (8, 8, 8)]
    weights = weights_of(pod, tuple((shape, 1 / 7 / (n + 1)) for n, shape in enumerate(shapes)))
    alive = anchors(pod.hosts, frozenset(weights), (1 << pod.hosts.size) - 1, {})
    assert len(set(losses(arranged(pod.hosts, weights, alive), ((2, 2, 4),))[0])) == 1


def test_what_is_lost_together_is_counted_once() -> None:
    torus, boxes = Torus((4, 4), (True, True)), frozenset({(2, 2)})
    alive = anchors(torus, boxes, full_board(torus), {})
    one, other = footprint(torus, (1, 1), (0, 0)), footprint(torus, (1, 1), (1, 0))
    left = [anchors(torus, boxes, full_board(torus) & ~taken, {}) for taken in (one, other, one | other)]
    assert [loss_of({(2, 2): UNIT}, alive, after) / UNIT for after in left] == [4, 4, 6]


def test_a_shape_that_the_pod_cannot_hold_weighs_nothing() -> None:
    pod = Lattice(Torus((4, 4, 4), (True, True, True)), (2, 2, 1))
    assert weights_of(pod, (((8, 8, 8), 0.5), ((2, 2, 1), 0.5))) == {(1, 1, 1): UNIT // 2}
    assert sorted(weights_of(pod, (((2, 2, 4), 1.0),))) == [(1, 1, 4), (1, 2, 2), (2, 1, 2)]
