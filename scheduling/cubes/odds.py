"""How many cubes will be there: what a block can give at best, and how many spares make a gang sure of its own.

A cube is there if all its hosts are. Hosts fail independently of each other here, which optics and power do not: hold one more.
"""

from __future__ import annotations

from itertools import accumulate
from math import comb
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence


def whole(availability: float, hosts: int) -> float:
    """Give the probability that a cube of so many hosts is whole.

    Raises:
        Misconfigured: the availability of a host is no probability.
    """
    return _probability(availability, "availability of a host") ** hosts


def healthy(cubes: int, each: float) -> list[float]:
    """Give the probability of 0, 1, .. ``cubes`` healthy ones among cubes that are whole with probability ``each`` (binomial)."""
    _probability(each, "probability of a whole cube")
    return [comb(cubes, n) * each**n * (1 - each) ** (cubes - n) for n in range(cubes + 1)]


def healthy_of(each: Sequence[float]) -> list[float]:
    """Give the same for cubes each with its own probability (Poisson's binomial distribution), by convolution."""
    odds = [1.0]
    for one in each:
        _probability(one, "probability of a whole cube")
        odds = [a * (1 - one) + b * one for a, b in zip([*odds, 0.0], [0.0, *odds], strict=True)]
    return odds


def most_usable(cubes: int, wanted: int, each: float) -> float:
    """Give the largest share of a block that slices of ``wanted`` cubes can use on average: E[floor(K / n)] n / C.

    Switches reach it: any n healthy cubes make a slice (Jouppi et al., TPU v4, ISCA 2023, figure 4).
    """
    if not 0 < wanted <= cubes:
        return 0.0
    return sum(odds * (n // wanted) for n, odds in enumerate(healthy(cubes, each))) * wanted / cubes


def spares_for(wanted: int, each: float, target: float, most: int = 4096) -> int | None:
    """Give how many cubes beyond ``wanted`` make that many healthy ones with probability ``target``; None: not even ``most`` do."""
    _probability(target, "target")
    for spares in range(most + 1):
        if sum(healthy(wanted + spares, each)[wanted:]) >= target:
            return spares
    return None


def surely(each: Sequence[float], target: float) -> int:
    """Give how many of these cubes, each with its own probability, are healthy at once with probability ``target`` at least."""
    _probability(target, "target")
    at_least = list(accumulate(reversed(healthy_of(each))))[::-1]
    return max((n for n, odds in enumerate(at_least) if odds >= target - _ROUNDING), default=0)


_ROUNDING = 1e-12


def _probability(value: float, what: str) -> float:
    if not 0 <= value <= 1:
        raise Misconfigured(what, f"is {value}", "Give a probability, from 0 to 1")
    return value
