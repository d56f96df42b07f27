"""Slices of several cubes are packed into TPU pods exactly."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from sliceward.scheduling.boxes import corners
from sliceward.scheduling.packing import pack
from sliceward.topology.fleet import Cube
from sliceward.topology.ids import CubeId, PodId


def some_cubes(counts: list[int]) -> list[Cube]:
    return [
        Cube(CubeId("c1", f"p{pod}-{n}"), "tpu7x", (4, 4, 4), (), 16, pod=PodId("c1", f"p{pod}"))
        for pod, count in enumerate(counts)
        for n in range(count)
    ]


@given(st.lists(st.integers(1, 5), max_size=5), st.lists(st.integers(0, 7), max_size=3))
def test_packing_finds_a_way_if_and_only_if_there_is_one(sizes: list[int], counts: list[int]) -> None:
    found = pack(sizes, some_cubes(counts))
    ways = product(range(len(counts)), repeat=len(sizes))
    possible = any(
        all(sum(size for size, pod in zip(sizes, way, strict=True) if pod == n) <= count for n, count in enumerate(counts))
        for way in ways
    )
    assert (found is not None) == possible
    if found is not None:
        assert [len(group) for group in found] == sizes
        assert all(len({cube.pod for cube in group}) == 1 for group in found)
        assert len({cube.id for group in found for cube in group}) == sum(sizes)


def test_many_slices_of_one_size_need_no_search() -> None:
    found = pack([2] * 1500, some_cubes([3001]))
    assert found is not None
    assert len(found) == 1500


def test_a_rest_that_is_known_to_have_no_way_is_not_searched_again() -> None:
    assert pack([4, 3, 3, 2], some_cubes([5, 5, 2])) is None
    assert pack([3, 3, 2, 2], some_cubes([4, 4, 2])) is None


def test_boxes_stand_at_multiples_of_themselves() -> None:
    assert list(corners((4, 4, 4), (2, 4, 4))) == [(0, 0, 0), (2, 0, 0)]
    assert len(list(corners((4, 4, 4), (2, 2, 1)))) == 16
    assert list(corners((4, 4), (2, 2, 1))) == []
    assert list(corners((4, 4, 4), (3, 1, 1))) == []
