"""Slurm's rule as it is told, and our placement beside it: on its own legal sets, and on lattices of cubes that fail."""

from __future__ import annotations

import random
from itertools import combinations
from math import prod

import pytest

from benchmarks._slurm import Slurm, fixed_anchors
from sliceward.scheduling.costs import Costs
from sliceward.scheduling.torus.board import board_of, full_board, places_on
from sliceward.scheduling.torus.footprint import footprint
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.outlook import Sight, alive, lowest, prospect
from sliceward.topology.torus import Torus

NODES = Torus((4, 4, 2), (True, True, False))
"""32 nodes: the torus of Slurm's own test."""

CUBES = Lattice(Torus((4, 4, 4), (True, True, True)), (1, 1, 1))
"""64 cubes, each one place."""


@pytest.mark.parametrize(("box", "legal"), [((2, 2, 1), 8), ((2, 2, 2), 4), ((4, 4, 2), 1)], ids=str)
def test_slurms_legal_places_are_as_many_as_its_own_test_says(box: tuple[int, ...], legal: int) -> None:
    assert len(fixed_anchors(NODES, box)) == legal


def test_slurm_has_six_pairs_for_two_segments() -> None:
    boards = [nodes for _, nodes in fixed_anchors(NODES, (2, 2, 2))]
    assert sum(not one & other for one, other in combinations(boards, 2)) == 6


def test_slurm_breaks_the_fewest_places_of_the_next_size() -> None:
    rule = Slurm(NODES, {box: [box] for box in ((2, 2, 1), (2, 2, 2))})
    idle = full_board(NODES) & ~board_of(NODES, [(2, 2, 0)])
    choice = rule.choose((2, 2, 1), [idle])
    assert choice is not None
    assert choice.at == (2, 2, 1)


def test_of_equal_places_slurm_takes_that_in_the_fuller_torus() -> None:
    rule = Slurm(NODES, {(2, 2, 1): [(2, 2, 1)]})
    choice = rule.choose((2, 2, 1), [full_board(NODES), full_board(NODES) & ~1])
    assert choice is not None
    assert choice.torus == 1


def test_slurm_has_no_place_where_one_node_of_each_is_down() -> None:
    rule = Slurm(NODES, {(2, 2, 2): [(2, 2, 2)]})
    assert rule.choose((2, 2, 2), [full_board(NODES) & ~board_of(NODES, [(x, y, 0) for x in (1, 3) for y in (0, 2)])]) is None


TABLE = [
    ((1, 2, 2), 700, {0.99: 0.72, 0.995: 0.83, 0.999: 0.95}),
    ((2, 2, 2), 2_000, {0.99: 0.49, 0.995: 0.64, 0.999: 0.89}),
    ((2, 2, 4), 2_000, {0.99: 0.30, 0.995: 0.49, 0.999: 0.82}),
]
"""Share of chips usable in slices of one size on 64 cubes without switches, by host availability: a randomised search of 60 draws."""


@pytest.mark.parametrize(("size", "draws", "shares"), TABLE, ids=str)
def test_slices_of_one_size_use_as_much_as_a_search_for_the_best_packing(
    size: tuple[int, ...], draws: int, shares: dict[float, float]
) -> None:
    for availability, share in shares.items():
        draw = random.Random(f"{availability}")  # noqa: S311 (a story told again)
        slices = sum(len(placed(size, whole_cubes(draw, availability))) for _ in range(draws))
        assert slices * prod(size) / 64 / draws >= share - 0.03, availability


@pytest.mark.parametrize("size", [(2, 4, 4), (3, 4, 4)], ids=str)
@pytest.mark.parametrize("availability", [0.99, 0.995, 0.999])
def test_of_slices_of_which_one_or_two_fit_as_many_are_placed_as_can_be(size: tuple[int, ...], availability: float) -> None:
    draw = random.Random(f"{size} {availability}")  # noqa: S311 (a story told again)
    for _ in range(2_000):
        free = whole_cubes(draw, availability)
        fits = alive(prospect(CUBES, ((size, 1.0),)), free, ())
        seats = [footprint(CUBES.hosts, box, at) for box, board in fits.items() for at in places_on(CUBES.hosts, board)]
        most = 2 if any(not one & other for one, other in combinations(seats, 2)) else min(len(seats), 1)
        assert len(placed(size, free)) == most


def whole_cubes(draw: random.Random, availability: float) -> int:
    """Draw the cubes all of whose 16 hosts are up."""
    return sum(1 << n for n in range(64) if draw.random() < availability**16)


def placed(size: tuple[int, ...], free: int) -> list[int]:
    """Place slices one after the other, each where it takes the fewest places from the next."""
    torus, seen, found = CUBES.hosts, prospect(CUBES, ((size, 1.0),)), list[int]()
    everything = full_board(torus)
    down = everything & ~free
    while any((fits := alive(seen, free, ())).values()):
        sight = Sight(everything, down, tuple(found), (), Costs().soon)
        (_, number), box = min((lowest(seen, sight, box, board), box) for box, board in fits.items() if board)
        found.append(footprint(torus, box, torus.coordinate(number)))
        free &= ~found[-1]
    return found
