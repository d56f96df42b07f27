"""What is left of a pod for the requests that are expected, remembered by value: equal pods are looked at once.

Of sixteen pods fifteen are as they were at the last decision, and many are empty alike. All functions here are of values alone; what
they remember is bounded (the arrays of 256 boxes: 5 MB for pods of 9,216 chips).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.losses import (
    SHORT,
    SHORT_ERROR,
    UNIT,
    Arranged,
    arranged,
    as_grids,
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

Between = tuple[tuple[int, int], ...]
"""Condemned links by axis (`Breaks.between`), as a value."""


_FEW = 16
"""Of sixteen pods, with the losses of sixteen shapes as a bound one or two have to be looked into, with six up to all."""


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
def likeliest(lattice: Lattice, mix: tuple[tuple[Shape, float], ...]) -> Prospect:
    """Give the prospect of the few shapes that are asked for most: what they lose is most of what all lose, and never more."""
    return prospect(lattice, tuple(sorted(mix, key=lambda one: (-one[1], one[0]))[:_FEW]) if len(mix) > _FEW else mix)


@lru_cache(maxsize=128)
def alive(seen: Prospect, free: int, between: Between) -> Mapping[Shape, int]:
    """Give the anchors of every box of the mix."""
    return anchors(seen.lattice.hosts, seen.boxes, free, dict(between))


def loss(seen: Prospect, free: int, between: Between, places: int) -> float:
    """Give the expected places that are lost when these hosts are taken."""
    left = anchors(seen.lattice.hosts, seen.boxes, free & ~places, dict(between))
    return loss_of(seen.weights, alive(seen, free, between), left) / UNIT


@lru_cache(maxsize=256)
def losses_of(seen: Prospect, free: int, between: Between, box: Shape) -> NDArray[np.float64]:
    """Give for every place what a box from there takes, in `UNIT`."""
    found: NDArray[np.float64] = losses(_ready(seen, free, between), (box,))[0]
    found.flags.writeable = False
    return found


@lru_cache(maxsize=8192)
def lowest(seen: Prospect, free: int, between: Between, box: Shape, fits: int) -> tuple[float, int]:
    """Give the least that a box takes from any of these anchors, in `UNIT`, and the lowest place number where it does."""
    numbers = set_numbers(seen.lattice.hosts, fits)
    found = losses_of(seen, free, between, box)[numbers]
    least = int(found.argmin())
    return float(found[least]), int(numbers[least])


@lru_cache(maxsize=8192)
def least_of_each(seen: Prospect, free: int, between: Between, fits: tuple[tuple[Shape, int], ...]) -> tuple[float, ...]:
    """Give for each of some boxes what it takes at least from any of its anchors, of which there are some, in `UNIT`."""
    found = losses(_roughly(seen, free, between), tuple(box for box, _ in fits)) * (1 - SHORT_ERROR)
    places = as_grids(seen.lattice.hosts, [board for _, board in fits]) > 0
    return tuple(np.where(places, found, np.inf).min(axis=1).tolist())


@lru_cache(maxsize=64)
def _ready(seen: Prospect, free: int, between: Between) -> Arranged:
    return arranged(seen.lattice.hosts, seen.weights, alive(seen, free, between))


@lru_cache(maxsize=64)
def _roughly(seen: Prospect, free: int, between: Between) -> Arranged:
    return arranged(seen.lattice.hosts, seen.weights, alive(seen, free, between), SHORT)
