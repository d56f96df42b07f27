"""Places among cubes, against the definition: every choice of cubes, every box, each priced from the facts."""

from __future__ import annotations

import random
from itertools import chain

import pytest

from sliceward.scheduling.occupancy import Grade
from tests.scheduling.cubes.builders import any_block, any_terms, any_want


@pytest.mark.parametrize("part", range(8))
def test_the_best_place_is_the_cheapest_of_all_on_2000_blocks(part: int) -> None:
    for seed in range(250 * part, 250 * (part + 1)):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        there, asked, by = any_block(draw), any_want(draw), any_terms(draw)
        places = there.places(asked)
        best = there.block.best(asked, by)
        assert (best is None) == (not places), seed
        assert there.block.seats(asked).count == len(places), seed
        if best is not None:
            prices = {frozenset(chain(*(hosts for _, hosts, _ in place))): there.price(place, asked, by) for place in places}
            assert best.cost == pytest.approx(prices[frozenset(best.hosts)]), seed
            assert best.cost == pytest.approx(min(prices.values())), seed


@pytest.mark.parametrize("part", range(2))
def test_every_place_is_given_once_with_its_grade(part: int) -> None:
    for seed in range(200 * part, 200 * (part + 1)):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        there, asked = any_block(draw, 4), any_want(draw)
        told = [(frozenset(seat.hosts), seat.grade) for seat in there.block.seats(asked)]
        true = [
            (frozenset(chain(*(hosts for _, hosts, _ in place))), max((g for _, _, g in place), key=list(Grade).index))
            for place in there.places(asked)
        ]
        assert sorted(told, key=str) == sorted(true, key=str) or (len(told) == len(true) and set(told) == set(true)), seed
        for seat in there.block.seats(asked):
            again = there.block.seat_of(asked, seat.hosts)
            assert again == seat, seed
