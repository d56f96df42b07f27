"""Whom to displace so that enough cubes are free: a knapsack cover, exact.

A gang that goes frees all cubes that it holds, and its price is the same however many. So the cheapest set of gangs whose cubes add
up to what is missing is a knapsack turned round (Martello and Toth, Knapsack Problems, 1990, chapter 2), found by dynamic
programming over the number of cubes. Where several gangs sit in one cube (slices below a cube) it is free only when all of them
have gone: such gangs hang together, and of each such cluster all ways to empty some of its cubes are weighed first, as one thing
that can be had in several sizes. A cluster too large for that is emptied cheapest cube first, and the answer states how far it may
be from the best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sliceward.topology.ids import GangId

Crews = dict[tuple["GangId", ...], int]
"""How many cubes hold exactly these gangs, sorted."""

_MOST_SETS = 12
"""Different crews of cubes in one cluster of which all subsets are weighed: 4,096."""


class Offer(NamedTuple):
    """One way to free cubes: how many, for how much, by the going of whom."""

    cubes: int
    price: float
    gangs: tuple[GangId, ...]


@dataclass(frozen=True, slots=True)
class Cover:
    """The gangs that go, sorted, and what they cost. ``least``: no set costs less; the same as ``cost`` where it is exact."""

    gangs: tuple[GangId, ...]
    cost: float
    least: float

    @property
    def gap(self) -> float:
        """By which share it may be dearer than the cheapest."""
        return self.cost / self.least - 1 if self.least else float(self.cost > 0)


def cheapest_victims(crews: Iterable[Collection[GangId]], prices: Mapping[GangId, float], need: int) -> Cover | None:
    """Give the cheapest gangs whose going frees ``need`` cubes or more; None where no set does.

    ``crews``: for each cube that would be free if it were empty, who sits there. Who has no price is not displaced.
    """
    if need <= 0:
        return Cover((), 0.0, 0.0)
    counted: Crews = {}
    for crew in crews:
        if all(gang in prices for gang in crew):
            key = tuple(sorted(crew))
            counted[key] = counted.get(key, 0) + 1
    least: NDArray[np.float64] = np.full(need + 1, np.inf)
    least[0] = 0.0
    bound: NDArray[np.float64] | None = None
    steps = []
    for cluster in _clusters(counted):
        offers = _offers(cluster, prices)
        fractions = None if offers is not None else _fractions(cluster, prices)
        if fractions is not None:
            bound = least if bound is None else bound
        if bound is not None:
            bound, _ = _with(bound, fractions or offers or [])
        offers = offers if offers is not None else _one_by_one(cluster, prices)
        least, how = _with(least, offers)
        steps.append((offers, how))
    if not np.isfinite(least[need]):
        return None
    gangs = _read_back(steps, need)
    cost = sum(prices[gang] for gang in gangs)
    return Cover(gangs, cost, cost if bound is None else min(cost, float(bound[need])))


def _with(least: NDArray[np.float64], offers: Sequence[Offer]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Give the least prices of so many cubes when one of the offers may be taken too, and which one is, -1 for none."""
    found, how = least, np.full(len(least), -1, np.int32)
    for number, offer in enumerate(offers):
        step = min(offer.cubes, len(least) - 1)
        offered = np.empty_like(least)
        offered[:step] = least[0]
        offered[step:] = least[: len(least) - step]
        offered += offer.price
        better = offered < found
        if better.any():
            found = np.where(better, offered, found)
            how[better] = number
    return found, how


def _read_back(steps: Sequence[tuple[Sequence[Offer], NDArray[np.int32]]], need: int) -> tuple[GangId, ...]:
    gangs: list[GangId] = []
    for offers, how in reversed(steps):
        if how[need] >= 0:
            offer = offers[how[need]]
            gangs.extend(offer.gangs)
            need = max(0, need - offer.cubes)
    return tuple(sorted(gangs))


def _clusters(counted: Crews) -> list[Crews]:
    """Part the crews into those that share no gang, in the order of their first gangs."""
    top: dict[GangId, GangId] = {}

    def found(gang: GangId) -> GangId:
        while top[gang] != gang:
            gang = top[gang]
        return gang

    for crew in counted:
        for gang in crew:
            top.setdefault(gang, gang)
        first = min(found(gang) for gang in crew)
        for gang in crew:
            top[found(gang)] = first
    clusters: dict[GangId, Crews] = {}
    for crew in sorted(counted):
        clusters.setdefault(found(crew[0]), {})[crew] = counted[crew]
    return [clusters[gang] for gang in sorted(clusters)]


def _offers(cluster: Crews, prices: Mapping[GangId, float]) -> list[Offer] | None:
    """Give every way to free cubes of a cluster that no other one beats; None where there are too many to look at."""
    if len(cluster) == 1:
        ((crew, cubes),) = cluster.items()
        return [Offer(cubes, sum(prices[gang] for gang in crew), crew)]
    gangs = sorted({gang for crew in cluster for gang in crew})
    place = {gang: n for n, gang in enumerate(gangs)}
    crews = [[place[gang] for gang in crew] for crew in cluster]
    sets = crews if len(crews) < len(gangs) else [[n] for n in range(len(gangs))]
    if len(sets) > _MOST_SETS:
        return None
    gone = np.zeros((1, len(gangs)), np.bool_)
    for members in sets:
        more = gone.copy()
        more[:, members] = True
        gone = np.concatenate((gone, more))
    cost = gone @ np.array([prices[gang] for gang in gangs])
    freed = sum(count * gone[:, crew].all(axis=1).astype(np.int64) for crew, count in zip(crews, cluster.values(), strict=True))
    best: list[Offer] = []
    for way in np.lexsort((gone.sum(axis=1), cost, -np.asarray(freed))).tolist():
        cubes = int(np.asarray(freed)[way])
        if cubes and (not best or (cubes < best[-1].cubes and cost[way] < best[-1].price)):
            best.append(Offer(cubes, float(cost[way]), tuple(gangs[n] for n in np.flatnonzero(gone[way]))))
    return best


def _one_by_one(cluster: Crews, prices: Mapping[GangId, float]) -> list[Offer]:
    """Free the cubes of a cluster in turn, always those that cost least a cube more; give each stop on the way."""
    gone: set[GangId] = set()
    stops: list[Offer] = []
    left = dict(cluster)
    while left:
        more = {crew: sum(prices[gang] for gang in crew if gang not in gone) for crew in left}
        crew = min(left, key=lambda each: (more[each] / left[each], each))
        gone.update(crew)
        left = {each: count for each, count in left.items() if not gone.issuperset(each)}
        cubes = sum(cluster.values()) - sum(left.values())
        stops.append(Offer(cubes, sum(prices[gang] for gang in sorted(gone)), tuple(sorted(gone))))
    return stops


def _fractions(cluster: Crews, prices: Mapping[GangId, float]) -> list[Offer]:
    """Give what so many cubes of a cluster cost at least: each gang's price shared out evenly among the cubes that it sits in."""
    sits: dict[GangId, int] = {}
    for crew, count in cluster.items():
        for gang in crew:
            sits[gang] = sits.get(gang, 0) + count
    shares = sorted(sum(prices[gang] / sits[gang] for gang in crew) for crew, count in cluster.items() for _ in range(count))
    return [Offer(cubes, sum(shares[:cubes]), ()) for cubes in range(1, len(shares) + 1)]
