"""The cheapest cubes and the cheapest box of a block for one slice: what each adds to the price, and the exact least of all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from itertools import accumulate, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sliceward.scheduling.cubes.boxes import boxes, lost, unlike
from sliceward.scheduling.cubes.choosing import Candidate, Choice, Question, cheapest, cheapest_of
from sliceward.scheduling.cubes.expected import expected
from sliceward.scheduling.cubes.stock import ports_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sliceward.scheduling.cubes.boxes import Box
    from sliceward.scheduling.cubes.room import Now
    from sliceward.scheduling.cubes.stock import Kind, Stock
    from sliceward.scheduling.ground import Terms, Want
    from sliceward.scheduling.occupancy import Window


_NO_CUBE: frozenset[int] = frozenset()
_NOTHING: frozenset[Window] = frozenset()


class _Side(Enum):
    """What the going of a cube means: that others miss it, that nobody does, that the slice limps."""

    MISSED = auto()
    REST = auto()
    LIMPING = auto()


class _Lot(NamedTuple):
    """Cubes of one kind that may be taken: the price of each, and the windows that they share."""

    numbers: tuple[int, ...]
    price: float
    events: frozenset[Window]
    side: _Side

    @property
    def limps(self) -> bool:
        """Whether they limp."""
        return self.side is _Side.LIMPING


@dataclass(frozen=True)
class CubePrices:
    """What whole cubes add to the price of a slice that has some already, ``kept``."""

    stock: Stock
    want: Want
    terms: Terms
    kept: tuple[int, ...] = ()

    def cheapest(self, out: frozenset[int] = frozenset()) -> Choice | None:
        """Give the cubes of the cheapest slice, what is kept among them, none that is ``out``; None: there is none."""
        closed, count = out.union(self.kept), self.stock.cubes_of(self.want) - len(self.kept)
        usable = [each for kind, limps in self.stock.usable(self.want) if (each := self._lot(kind, closed, limps=limps)).numbers]
        if sum(len(lot.numbers) for lot in usable) < count:
            return None
        best = cheapest_of(self._chosen(usable, count, joined) for joined in self._worth_keeping(usable))
        return replace(best, numbers=tuple(sorted((*best.numbers, *self.kept)))) if best is not None else None

    def flawed(self) -> frozenset[int]:
        """Give the usable cubes that cost a slice more than their own price: those that limp, and those with maintenance ahead."""
        lots = (self._lot(kind, _NO_CUBE, limps=limps) for kind, limps in self.stock.usable(self.want))
        return frozenset(number for lot in lots if lot.limps or lot.events for number in lot.numbers)

    def floors(self, sizes: frozenset[int], out: frozenset[int]) -> list[float]:
        """Give what 0, 1, 2 .. cubes cost at least when slices of these sizes take them, none that is ``out``.

        It is as if nothing were shared among them: exact for cubes without flaw.
        """
        stock, anchor = self.stock, self.terms.costs.anchor
        kept = frozenset(number for each in stock.formed if len(each) in sizes for number in each)
        sides: tuple[list[float], list[float]] = ([], [])
        for kind, limps in stock.usable(self.want):
            lot = self._lot(kind, out, limps=limps)
            sides[limps or kind.room.spare].extend(lot.price + self._ports(number, kept) for number in lot.numbers)
        missed, rest = map(sorted, sides)
        reads = expected(stock.generation, (), self.terms.mix)
        first = np.array([anchor * reads.of_cubes(stock.whole, taken) for taken in range(len(missed) + 1)])
        sums = first + np.array([0.0, *accumulate(missed)])
        least = np.full(len(missed) + len(rest) + 1, np.inf)
        for more, price in enumerate([0.0, *accumulate(rest)]):
            there = least[more : more + len(sums)]
            np.minimum(there, sums + price, out=there)
        return [float(each) for each in least]

    def _worth_keeping(self, usable: Sequence[_Lot]) -> list[frozenset[int]]:
        """Give the slices of the same size that are joined now, as far as they could stay; none first."""
        count, formed = self.stock.cubes_of(self.want), self.stock.formed
        there = {*self.kept, *(number for lot in usable for number in lot.numbers)} if formed else set[int]()
        return [_NO_CUBE, *(frozenset(each) for each in formed if len(each) == count and not there.isdisjoint(each))]

    def _chosen(self, usable: Sequence[_Lot], count: int, joined: frozenset[int]) -> Choice | None:
        """Choose where so much is joined already: with no cube that limps, or with any, which slows all of the slice."""
        missed, rest, limping = (
            [each for lot in usable if lot.side is side for each in self._candidates(lot, count, joined)] for side in _Side
        )
        terms, chips = self.terms, self.want.chips
        once = terms.costs.planned * chips
        base = sum(self._ports(number, joined) for number in self.kept)

        def beside(taken: int) -> float:
            return base + terms.costs.anchor * self._of_cubes[taken]

        found = [cheapest(Question(missed, rest, count, once, beside))]
        if limping:
            slow = 0.0 if self._is_slow else terms.limp(chips)
            found.append(cheapest(Question(missed, [*rest, *limping], count, once, lambda taken: slow + beside(taken))))
        return cheapest_of(found)

    def _candidates(self, lot: _Lot, count: int, joined: frozenset[int]) -> Iterator[Candidate]:
        """Give as many cubes of a lot as could be needed: what is joined already, and the first of those that are not."""
        here = [number for number in lot.numbers if number in joined] if joined else []
        for number in here:
            yield Candidate(lot.price, number, lot.events)
        price = lot.price + self._ports(lot.numbers[0], _NO_CUBE)
        for number in islice((each for each in lot.numbers if each not in joined), count):
            yield Candidate(price, number, lot.events)

    def _ports(self, number: int, joined: frozenset[int]) -> float:
        return 0.0 if number in joined else self.terms.costs.port * ports_of(self.stock.rooms[number])

    def _lot(self, kind: Kind, closed: frozenset[int], *, limps: bool) -> _Lot:
        """Price the cubes of a kind each by itself, and tell the windows that are not met anyway."""
        stock, want, terms, room, now = self.stock, self.want, self.terms, kind.room, kind.now
        price, events = 0.0, _NOTHING
        if not room.spare:
            price += terms.costs.anchor * expected(stock.generation, room.nest.boxes, terms.mix).of_boxes(
                lost(room, now, room.nest.full)
            )
        elif not want.heals:
            price += terms.costs.spare * stock.spared(kind.numbers[0])
        if now.burdens:
            paid = {burden.window for number in self.kept for burden in stock.now[number].burdens}
            price += terms.failures(now.risk, want.chips)
            events = frozenset(b.window for b in now.burdens if b.window is not None and terms.meets(b.window)) - paid
        side = _Side.LIMPING if limps else _Side.REST if room.spare else _Side.MISSED
        left = tuple(number for number in kind.numbers if number not in closed) if closed else kind.numbers
        return _Lot(left, price, events, side)

    @cached_property
    def _of_cubes(self) -> list[float]:
        """Give what it costs expected slices of whole cubes that so many clean cubes go, beside those that are kept."""
        stock, reads = self.stock, expected(self.stock.generation, (), self.terms.mix)
        kept = 0
        for number in self.kept:
            room = stock.rooms[number]
            kept += 0 if room.spare else lost(room, stock.now[number], room.nest.full)[0]
        most = min(stock.cubes_of(self.want), stock.whole - kept)
        return [reads.of_cubes(stock.whole, kept + taken) for taken in range(most + 1)]

    @cached_property
    def _is_slow(self) -> bool:
        """Whether a cube that is kept limps."""
        return any(self.stock.limps(number, self.stock.rooms[number].nest.full, 0) for number in self.kept)


def cheapest_box(stock: Stock, want: Want, terms: Terms) -> tuple[int, int] | None:
    """Give the cube and the seats of the cheapest box, the lowest of equal ones; None where there is none."""
    best: tuple[float, int, int] | None = None
    one_cube = expected(stock.generation, (), terms.mix).of_cubes(stock.whole, 1) if stock.whole else 0.0
    later = expected(stock.generation, (), terms.mix).of_cubes(stock.whole_later, 1) if stock.whole_later else 0.0
    slow, back = terms.limp(want.chips), terms.costs.back
    for kind in stock.kinds:
        room, now, number = kind.room, kind.now, kind.numbers[0]
        level = stock.level_of(room, want)
        if not level:
            continue
        reads = expected(stock.generation, room.nest.boxes, terms.mix)
        spared = 0.0 if want.heals else terms.costs.spare * stock.spared(number)
        for box in boxes(room, now, level, want) if now.burdens else unlike(room, now, level, want):
            loss = then = 0.0
            if not room.spare:
                loss = reads.of_boxes(box.lost) + box.lost[0] * one_cube
                then = reads.of_boxes(box.later) + box.later[0] * later
            loss += back * (then - loss)
            price = terms.costs.anchor * loss + spared + (slow if box.limps else 0.0) + _burden(now, box, want, terms)
            if best is None or price < best[0]:
                best = price, number, box.bits
    return (best[1], best[2]) if best is not None else None


def _burden(now: Now, box: Box, want: Want, terms: Terms) -> float:
    burdens = [burden for burden in now.burdens if box.bits >> burden.seat & 1]
    if not burdens:
        return 0.0
    windows = (burden.window for burden in burdens if burden.window is not None)
    return terms.failures(sum(burden.risk for burden in burdens), want.chips) + terms.maintenance(windows, want.chips)
