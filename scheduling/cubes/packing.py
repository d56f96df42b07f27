"""Slices of whole cubes over blocks: which go where, exactly, at the least cost; or that there is no way.

A slice lies in one block, so that this is bin packing. Slices of one size are alike, and a block only counts: so the state is how
many slices of each size are seated, and blocks are added one by one, each with every number of slices that it has room for. With one
size that is a small knapsack; with many sizes and many slices the states grow with the product of their counts, and past a limit
no answer is given.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

MOST_STEPS = 4_000_000
"""Numbers written down at most: about 10 ms."""

_NEVER = np.iinfo(np.int64).max // 4


@dataclass(frozen=True, slots=True)
class Bin:
    """One block: how many cubes are free, and what it costs that so many cubes of it are taken by so many slices (whole numbers)."""

    room: int
    cost: Callable[[int, int], int]


@dataclass(frozen=True, slots=True)
class Packing:
    """The bin of each slice, in the order that they were asked for, and what it costs in all."""

    bins: tuple[int, ...]
    cost: int


@dataclass(frozen=True, slots=True)
class NoPacking:
    """There is none; or (not ``surely``) too many ways would have to be looked at."""

    surely: bool


def packed(sizes: Sequence[int], bins: Sequence[Bin]) -> Packing | NoPacking:
    """Give each slice a bin so that all costs together are least; of equal packings that of the first bins filled most."""
    counts = sorted(Counter(sizes).items(), reverse=True)
    if sum(sizes) > sum(each.room for each in bins):
        return NoPacking(surely=True)
    kinds, most = tuple(size for size, _ in counts), tuple(count for _, count in counts)
    left_over = MOST_STEPS // prod(count + 1 for count in most)
    ways = []
    for each in bins:
        ways.append(list(islice(_ways(kinds, most, each.room), left_over + 1)))
        left_over -= len(ways[-1])
        if left_over < 0:
            return NoPacking(surely=False)
    least: NDArray[np.int64] = np.full([count + 1 for count in most], _NEVER)
    least[(0,) * len(most)] = 0
    steps: list[NDArray[np.int32]] = []
    for each, those in zip(bins, ways, strict=True):
        least, how = _with_bin(least, kinds, each, those)
        steps.append(how)
    if least[most] >= _NEVER:
        return NoPacking(surely=True)
    left, chosen = most, dict[int, list[int]]((size, []) for size in kinds)
    for number in range(len(bins) - 1, -1, -1):
        way = ways[number][int(steps[number][left])]
        for size, count in zip(kinds, way, strict=True):
            chosen[size] += [number] * count
        left = tuple(a - b for a, b in zip(left, way, strict=True))
    return Packing(tuple(chosen[size].pop() for size in sizes), int(least[most]))


def _ways(kinds: tuple[int, ...], most: tuple[int, ...], room: int) -> Iterator[tuple[int, ...]]:
    """Give every number of slices of each size that goes into a bin, most of the largest first."""
    if not kinds:
        yield ()
        return
    for count in range(min(most[0], room // kinds[0]), -1, -1):
        for rest in _ways(kinds[1:], most[1:], room - count * kinds[0]):
            yield (count, *rest)


def _with_bin(
    before: NDArray[np.int64], kinds: tuple[int, ...], each: Bin, ways: Sequence[tuple[int, ...]]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Give the least costs with one bin more, and which of its ways each takes."""
    least: NDArray[np.int64] = np.full(before.shape, _NEVER)
    how: NDArray[np.int32] = np.zeros(before.shape, np.int32)
    for number, way in enumerate(ways):
        cubes = sum(size * count for size, count in zip(kinds, way, strict=True))
        there = tuple(slice(count, None) for count in way)
        was = tuple(slice(0, length - count) for length, count in zip(before.shape, way, strict=True))
        offered = before[was] + (each.cost(cubes, sum(way)) if cubes else 0)
        better = offered < least[there]
        np.copyto(least[there], offered, where=better)
        how[there][better] = number
    return np.minimum(least, _NEVER), how
