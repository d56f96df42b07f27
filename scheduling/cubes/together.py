"""Several slices of whole cubes at once, over blocks: counted out exactly first, then each given its cheapest cubes.

What a block's cubes cost together is bounded from below as if every cube had a price of its own. Where that is so, and it mostly
is, the seats cost exactly that and are the cheapest of all; where cubes share something (maintenance, a slice that limps because
of one of them), the answer says by how much it may be dearer than the best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from sliceward.scheduling.cubes.block import Block
from sliceward.scheduling.cubes.cheapest import CubePrices
from sliceward.scheduling.cubes.packing import Bin, NoPacking, packed
from sliceward.scheduling.request import Over

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.ground import Ground, GroundId, Seat, Terms, Want
    from sliceward.topology.ids import GangId

_SCALE = 1 << 38
"""How slices lie over blocks goes before what they cost: all costs together are counted in fewer steps than this."""

_ROUNDED = 1.0
"""Chip-seconds a block that the count may be off by, because it counts whole ones."""


@dataclass(frozen=True, slots=True)
class Together:
    """What is asked: ``wants`` of one gang, and how its slices lie over blocks. ``used``: slices that it has in each already."""

    gang: GangId
    wants: Sequence[Want]
    over: Over
    used: Mapping[GroundId, int]


@dataclass(frozen=True, slots=True)
class _Counted:
    """How many slices go where: the block of each, in how good an order over blocks, and what that costs at least."""

    keys: tuple[GroundId, ...]
    rank: int
    floor: float


def seats_together(grounds: Mapping[GroundId, Ground], asked: Together, terms: Terms) -> tuple[list[Seat], float] | NoPacking:
    """Give a seat for each want with the gap of all, or that there is no way; not ``surely`` where this is no case for counting."""
    wants = asked.wants
    blocks = {key: ground for key, ground in sorted(grounds.items(), key=_name) if isinstance(ground, Block)}
    others = [ground for ground in grounds.values() if not isinstance(ground, Block)]
    sizes = [next(iter(blocks.values())).cubes_of(want) for want in wants] if blocks else [0]
    kinds = {(want.worst, want.broken_links, want.heals) for want in wants}
    if not wants or not all(sizes) or len(kinds) > 1 or any(ground.room(want) for ground in others for want in set(wants)):
        return NoPacking(surely=False)
    least = min(wants, key=lambda want: want.chips)
    prices = {key: CubePrices(block, least, terms) for key, block in blocks.items()}
    flaws = {key: each.flawed() for key, each in prices.items()}
    best: tuple[int, float, list[Seat]] | None = None
    bounds = []
    for allowed in (False, True) if any(flaws.values()) else (False,):
        floors = {key: each.floors(frozenset(sizes), _NONE if allowed else flaws[key]) for key, each in prices.items()}
        counted = _counted(floors, asked, sizes)
        if isinstance(counted, NoPacking):
            if allowed or not any(flaws.values()):
                return counted if best is None else (best[2], float("inf"))
            continue
        one_flaw = min(terms.limp(least.chips), terms.costs.planned * least.chips) if allowed else 0.0
        bounds.append((counted.rank, counted.floor + one_flaw))
        seats = _seated(dict(blocks), asked, terms, counted.keys, sizes)
        if seats is not None and (best is None or (counted.rank, _cost(seats)) < best[:2]):
            best = counted.rank, _cost(seats), seats
    if best is None:
        return NoPacking(surely=False)
    rank, floor = min(bounds)
    if rank == best[0] and best[1] <= floor + _ROUNDED * len(blocks):
        return best[2], 0.0
    return best[2], best[1] / floor - 1 if floor and rank == best[0] else float("inf")


_NONE: frozenset[int] = frozenset()


def _name(item: tuple[GroundId, Ground]) -> str:
    return str(item[0])


def _cost(seats: Sequence[Seat]) -> float:
    return sum(seat.cost for seat in seats)


def _counted(floors: Mapping[GroundId, Sequence[float]], asked: Together, sizes: Sequence[int]) -> _Counted | NoPacking:
    keys = list(floors)
    step = max(1.0, sum(each[-1] for each in floors.values()) / (_SCALE - 1))
    rows = [[int(cost / step) for cost in floors[key]] for key in keys]
    found = packed(sizes, [_bin(row, asked.over, asked.used.get(key, 0)) for key, row in zip(keys, rows, strict=True)])
    if isinstance(found, NoPacking):
        return found
    rank, cost = divmod(found.cost, _SCALE)
    return _Counted(tuple(keys[number] for number in found.bins), rank, cost * step)


def _seated(
    blocks: dict[GroundId, Block], asked: Together, terms: Terms, keys: Sequence[GroundId], sizes: Sequence[int]
) -> list[Seat] | None:
    """Give each slice the cheapest cubes of its block, the largest first."""
    seats: dict[int, Seat] = {}
    for n in sorted(range(len(sizes)), key=lambda n: (-sizes[n], n)):
        block = blocks[keys[n]]
        seat = block.best(asked.wants[n], terms)
        if seat is None:
            return None
        blocks[keys[n]] = block.changed(block.occupancy.taken(seat.hosts, asked.gang), seat.hosts)
        seats[n] = seat
    return [seats[n] for n in range(len(sizes))]


def _bin(floors: Sequence[int], over: Over, used: int) -> Bin:
    """Price a block: how slices lie over blocks first, as asked, then what its cubes cost."""

    def cost(cubes: int, slices: int) -> int:
        price = floors[cubes]
        match over:
            case Over.CHEAPEST:
                return price
            case Over.PACKED:
                return price + (_SCALE if not used else 0)
            case Over.SPREAD:
                return price + ((used + slices) ** 2 - used**2) * _SCALE
            case _:
                assert_never(over)

    return Bin(len(floors) - 1, cost)
