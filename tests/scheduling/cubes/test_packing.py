"""Slices over blocks: the packing of least cost, against all of them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.cubes.packing import Bin, NoPacking, Packing, packed
from sliceward.scheduling.cubes.together import Together, seats_together
from sliceward.scheduling.occupancy import Grade
from sliceward.scheduling.request import Over
from tests.scheduling.cubes.builders import any_terms, calm_block, gang, want

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sliceward.scheduling.cubes.block import Block
    from sliceward.scheduling.ground import Ground, GroundId, Seat, Terms, Want


def priced_by(table: list[list[int]]) -> Callable[[int, int], int]:
    return lambda cubes, slices: table[cubes][slices]


def test_the_packing_is_the_cheapest_of_all() -> None:
    for seed in range(600):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        sizes = [draw.randint(1, 5) for _ in range(draw.randint(1, 5))]
        tables = [[[draw.randint(0, 9) for _ in range(6)] for _ in range(draw.randint(1, 9))] for _ in range(draw.randint(1, 4))]
        bins = [Bin(len(table) - 1, priced_by(table)) for table in tables]
        costs = []
        for way in product(range(len(bins)), repeat=len(sizes)):
            cubes, slices = Counter[int](), Counter(way)
            for size, number in zip(sizes, way, strict=True):
                cubes[number] += size
            if all(cubes[number] <= bins[number].room for number in cubes):
                costs.append(sum(tables[number][cubes[number]][slices[number]] for number in cubes))
        found = packed(sizes, bins)
        if isinstance(found, Packing):
            assert found.cost == min(costs), seed
            loads = Counter[int]()
            for size, number in zip(sizes, found.bins, strict=True):
                loads[number] += size
            assert all(loads[number] <= bins[number].room for number in loads)
        else:
            assert not costs, seed
            assert found.surely


def test_many_slices_of_one_size_are_no_work() -> None:
    found = packed([2] * 1152, [Bin(144, lambda cubes, slices: cubes * (slices > 0))] * 16)
    assert isinstance(found, Packing)
    assert Counter(found.bins) == dict.fromkeys(range(16), 72)


def test_too_many_sizes_are_left_to_a_search() -> None:
    found = packed([size for size in range(1, 12) for _ in range(4)], [Bin(144, lambda cubes, slices: cubes + slices)] * 3)
    assert found == NoPacking(surely=False)


def every_way(grounds: dict[GroundId, Ground], wants: list[Want], by: Terms) -> Iterator[list[Seat]]:
    """Every choice of places, one slice after the other, each priced where the ones before it sit already."""
    if not wants:
        yield []
        return
    for key, ground in grounds.items():
        for place in ground.seats(wants[0]):
            seat = ground.priced(place, wants[0], by)
            after = ground.changed(ground.occupancy.taken(seat.hosts, gang("new")), seat.hosts)
            for rest in every_way({**grounds, key: after}, wants[1:], by):
                yield [seat, *rest]


def rank(seats: list[Seat], over: Over) -> int:
    counts = Counter(seat.ground for seat in seats)
    return {Over.CHEAPEST: 0, Over.PACKED: len(counts), Over.SPREAD: sum(n * n for n in counts.values())}[over]


@pytest.mark.parametrize("part", range(3))
def test_slices_of_cubes_over_blocks_cost_least_or_say_how_far_they_may_be_from_it(part: int) -> None:
    proven = 0
    for seed in range(100 * part, 100 * (part + 1)):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        blocks: dict[GroundId, Block] = {}
        for n in range(draw.randint(1, 3)):
            block = calm_block(draw, 3, prefix=f"b{n}").block
            blocks[block.id] = block
        sizes = draw.choice(([1, 1], [1, 1, 1], [2, 1], [2, 2], [2, 1, 1]))
        one = want(4, 4, 4, worst=draw.choice((Grade.HEALTHY, Grade.DEGRADED)), heals=draw.random() < 0.3)
        wants = [replace(one, shape=(4, 4, 4 * size)) for size in sizes]
        by, over = any_terms(draw), draw.choice(list(Over))
        found = seats_together(dict(blocks), Together(gang("new"), wants, over, {}), by)
        ways = [(rank(way, over), sum(seat.cost for seat in way)) for way in every_way(dict(blocks), wants, by)]
        if isinstance(found, NoPacking):
            assert found.surely
            assert not ways, seed
            continue
        seats, gap = found
        least, cost = min(ways), sum(seat.cost for seat in seats)
        assert rank(seats, over) == least[0], seed
        assert least[1] - 1e-6 <= cost <= least[1] * (1 + gap) + len(blocks) + 1e-6, seed
        assert len({host for seat in seats for host in seat.hosts}) == sum(sizes) * 16
        proven += gap == 0
    assert proven > 30
