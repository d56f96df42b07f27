"""Slices of several cubes are packed into TPU pods if and only if there is a way."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.place import planned
from sliceward.scheduling.request import Request, SliceAsked
from tests.builders import NOW, a_fleet, gang_id

if TYPE_CHECKING:
    from sliceward.topology.fleet import Fleet


def some_cubes(counts: list[int]) -> Fleet:
    """Give TPU pods of so many cubes each."""
    builder = a_fleet().with_cubes(0)
    for pod, count in enumerate(counts):
        builder = builder.and_cubes(count, block=f"b{pod}", prefix=f"p{pod}")
    return builder.build()


def asking(sizes: list[int]) -> Request:
    """Ask for slices of so many cubes each."""
    wants = [SliceAsked(f"r{size}", n, Want("tpu7x", (4, 4, 4 * size))) for n, size in enumerate(sizes)]
    return Request(gang_id("g"), "t", tuple(wants))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.lists(st.integers(0, 7), max_size=3))
def test_packing_finds_a_way_if_and_only_if_there_is_one(sizes: list[int], counts: list[int]) -> None:
    found = planned(snapshot_of(some_cubes(counts), NOW), asking(sizes))
    ways = product(range(len(counts)), repeat=len(sizes))
    possible = any(
        all(sum(size for size, pod in zip(sizes, way, strict=True) if pod == n) <= count for n, count in enumerate(counts))
        for way in ways
    )
    assert (found is not None) == possible
    if found is not None:
        assert [len(piece.cubes) for piece in found.slices] == sizes
        assert len(found.cubes) == sum(sizes)


def test_many_slices_of_one_size_need_no_search() -> None:
    large = some_cubes([301])
    found = planned(snapshot_of(large, NOW), asking([2] * 150))
    assert found is not None
    assert len(found.cubes) == 300
