"""What is left of a pod for the requests that are expected, remembered by value: equal pods are looked at once.

Of sixteen pods fifteen are as they were at the last decision, and many are empty alike. All functions here are of values alone; what
they remember is bounded (the arrays of 256 boxes: 5 MB for pods of 9,216 chips).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import fsum, prod
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.board import full_board
from sliceward.scheduling.torus.losses import (
    SHORT,
    SHORT_ERROR,
    UNIT,
    Arranged,
    Ways,
    arranged_soon,
    as_grids,
    in_the_way,
    loss_of,
    losses,
    set_numbers,
    weights_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sliceward.scheduling.torus.lattice import Lattice
    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Torus

Between = tuple[tuple[int, int], ...]
"""Condemned links by axis (`Breaks.between`), as a value."""


@dataclass(frozen=True)
class Prospect:
    """A pod, and the shapes that are expected on it with their probabilities."""

    lattice: Lattice
    mix: tuple[tuple[Shape, float], ...]

    @cached_property
    def weights(self) -> Mapping[Shape, int]:
        """The weight of each box (`weights_of`)."""
        return weights_of(self.lattice, self.mix)

    @cached_property
    def boxes(self) -> frozenset[Shape]:
        """All boxes that have one."""
        return frozenset(self.weights)

    @cached_property
    def _hash(self) -> int:
        return hash((self.lattice, self.mix))

    def __hash__(self) -> int:
        """Hash once: mixes are long."""
        return self._hash


@lru_cache(maxsize=64)
def prospect(lattice: Lattice, mix: tuple[tuple[Shape, float], ...]) -> Prospect:
    """Give the one prospect of a pod's kind and a mix."""
    return Prospect(lattice, mix)


@lru_cache(maxsize=64)
def by_size(lattice: Lattice, mix: tuple[tuple[Shape, float], ...]) -> Prospect:
    """Give the prospect in which one shape stands for all of about its size: of from 2^n to 2^(n+1) chips the likeliest, then the most compact.

    What a place destroys is much the same for shapes of about one size, and a legal catalogue has a hundred of them.
    """
    sizes: dict[int, list[tuple[Shape, float]]] = {}
    for shape, probability in mix:
        if lattice.boxes(shape):
            sizes.setdefault(prod(shape).bit_length(), []).append((shape, probability))
    found = []
    for those in sizes.values():
        shape, _ = min(those, key=lambda one: (-one[1], sum(one[0]), one[0]))
        found.append((shape, fsum(probability for _, probability in those)))
    return prospect(lattice, tuple(found))


@lru_cache(maxsize=128)
def alive(seen: Prospect, free: int, between: Between) -> Mapping[Shape, int]:
    """Give the anchors of every box of the mix."""
    return anchors(seen.lattice.hosts, seen.boxes, free, dict(between))


def loss(seen: Prospect, free: int, between: Between, places: int) -> float:
    """Give the expected places that are lost when these hosts are taken."""
    left = anchors(seen.lattice.hosts, seen.boxes, free & ~places, dict(between))
    return loss_of(seen.weights, alive(seen, free, between), left) / UNIT


@dataclass(frozen=True)
class Sight:
    """What of a pod is free, or will be: all that the price of a place depends on beside what is expected. Equal pods are looked at once.

    ``sitting``: the boards of gangs, one for each; ``ill``: hosts that are open and not healthy. ``open``: hosts that may be used once
    they are free and healthy. ``soon``: what a place counts that is not free, before it is halved
    for each gang and each ill host in it.
    """

    open: int
    ill: int
    sitting: tuple[int, ...]
    between: Between
    soon: float

    @cached_property
    def _hash(self) -> int:
        return hash((self.open, self.ill, self.sitting, self.between, self.soon))

    def __hash__(self) -> int:
        """Hash once: there are many boards."""
        return self._hash


@lru_cache(maxsize=256)
def losses_of(seen: Prospect, sight: Sight, box: Shape) -> NDArray[np.float64]:
    """Give for every place what a box from there takes, in `UNIT`."""
    found: NDArray[np.float64] = losses(_ready(seen, sight), (box,))[0]
    found.flags.writeable = False
    return found


@lru_cache(maxsize=8192)
def lowest(seen: Prospect, sight: Sight, box: Shape, fits: int) -> tuple[float, int]:
    """Give the least that a box takes from any of these anchors, in `UNIT`, and the lowest place number where it does."""
    numbers = set_numbers(seen.lattice.hosts, fits)
    found = losses_of(seen, sight, box)[numbers]
    least = int(found.argmin())
    return float(found[least]), int(numbers[least])


@lru_cache(maxsize=8192)
def least_of_each(seen: Prospect, sight: Sight, fits: tuple[tuple[Shape, int], ...]) -> tuple[float, ...]:
    """Give for each of some boxes what it takes at least from any of its anchors, of which there are some, in `UNIT`."""
    found = losses(_roughly(seen, sight), tuple(box for box, _ in fits)) * (1 - SHORT_ERROR)
    places = as_grids(seen.lattice.hosts, [board for _, board in fits]) > 0
    return tuple(np.where(places, found, np.inf).min(axis=1).tolist())


@lru_cache(maxsize=8)
def _ready(seen: Prospect, sight: Sight) -> Arranged:
    return arranged_soon(seen.lattice.hosts, seen.weights, _ways(seen, sight), sight.soon)


@lru_cache(maxsize=64)
def _roughly(seen: Prospect, sight: Sight) -> Arranged:
    return arranged_soon(seen.lattice.hosts, seen.weights, _ways(seen, sight), sight.soon, SHORT)


def _ways(seen: Prospect, sight: Sight) -> Ways:
    torus = seen.lattice.hosts
    amounts = _amounts(torus, sight.open, sight.ill, sight.sitting)
    whole = anchors(torus, seen.boxes, full_board(torus), dict(sight.between)) if sight.between else None
    return Ways(amounts, whole)


@lru_cache(maxsize=64)
def _amounts(torus: Torus, usable: int, ill: int, sitting: tuple[int, ...]) -> NDArray[np.float32]:
    found = in_the_way(torus, sitting, ill, full_board(torus) & ~usable)
    found.flags.writeable = False
    return found
