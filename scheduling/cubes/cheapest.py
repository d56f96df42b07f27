"""The cheapest cubes and the cheapest box of a block for one slice: what each adds to the price, and the exact least of all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.cubes.boxes import boxes, lost, unlike
from sliceward.scheduling.cubes.choosing import Candidate, Choice, Question, cheapest
from sliceward.scheduling.cubes.expected import expected
from sliceward.scheduling.cubes.stock import ports_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.cubes.boxes import Box
    from sliceward.scheduling.cubes.stock import Stock
    from sliceward.scheduling.ground import Terms, Want
    from sliceward.scheduling.occupancy import Window


_NO_CUBE: frozenset[int] = frozenset()
_NOTHING: frozenset[Window] = frozenset()


@dataclass(frozen=True)
class CubePrices:
    """What whole cubes add to the price of a slice that has some already, ``kept``."""

    stock: Stock
    want: Want
    terms: Terms
    kept: tuple[int, ...] = ()

    def cheapest(self, out: frozenset[int] = frozenset()) -> tuple[int, ...] | None:
        """Give the numbers of the cubes of the cheapest slice, what is kept among them, none that is ``out``; None: there is none."""
        closed = out.union(self.kept)
        usable = [(number, limps) for number, limps in self.stock.usable(self.want) if number not in closed]
        count = self.stock.cubes_of(self.want) - len(self.kept)
        if len(usable) < count:
            return None
        best: Choice | None = None
        for joined in self._worth_keeping(usable):
            found = self._chosen(usable, count, joined)
            if found is not None and (best is None or found.cost < best.cost):
                best = found
        return tuple(sorted((*best.numbers, *self.kept))) if best is not None else None

    def flawed(self) -> frozenset[int]:
        """Give the usable cubes that cost a slice more than their own price: those that limp, and those with maintenance ahead."""
        return frozenset(number for number, limps in self.stock.usable(self.want) if limps or self._own[number][1])

    def floors(self, sizes: frozenset[int], out: frozenset[int]) -> list[float]:
        """Give what 0, 1, 2 .. cubes cost at least when slices of these sizes take them, none that is ``out``.

        It is as if nothing were shared among them: exact for cubes without flaw.
        """
        stock, terms = self.stock, self.terms
        kept = {number for each in stock.formed if len(each) in sizes for number in each}
        missed: list[float] = []
        rest: list[float] = []
        for number, limps in stock.usable(self.want):
            if number in out:
                continue
            price = self._own[number][0] + (0.0 if number in kept else self._ports(number, _NO_CUBE))
            (rest if limps or stock.rooms[number].spare else missed).append(price)
        reads = expected(stock.generation, (), terms.mix)
        first = [terms.costs.anchor * reads.of_cubes(stock.whole, taken) for taken in range(len(missed) + 1)]
        sums = np.array(first) + np.array([0.0, *accumulate(sorted(missed))])
        least = np.full(len(missed) + len(rest) + 1, np.inf)
        for more, price in enumerate([0.0, *accumulate(sorted(rest))]):
            there = least[more : more + len(sums)]
            np.minimum(there, sums + price, out=there)
        return [float(each) for each in least]

    def _worth_keeping(self, usable: Sequence[tuple[int, bool]]) -> list[frozenset[int]]:
        """Give the slices of the same size that are joined now, as far as they could stay; none first."""
        numbers, formed = [*self.kept, *(number for number, _ in usable)], self.stock.formed
        places = sorted({self.stock.formed_with[number] for number in numbers if number in self.stock.formed_with})
        count = self.stock.cubes_of(self.want)
        return [frozenset(), *(frozenset(formed[place]) for place in places if len(formed[place]) == count)]

    def _chosen(self, usable: Sequence[tuple[int, bool]], count: int, joined: frozenset[int]) -> Choice | None:
        """Choose where so much is joined already: with no cube that limps, or with any, which slows all of the slice."""
        clean = [self._candidate(number, joined) for number, limps in usable if not limps]
        limping = [self._candidate(number, joined) for number, limps in usable if limps]
        missed = [each for each in clean if not self.stock.rooms[each.number].spare]
        rest = [each for each in clean if self.stock.rooms[each.number].spare]
        terms, chips = self.terms, self.want.chips
        once = terms.costs.planned * chips
        base = sum(self._ports(number, joined) for number in self.kept)

        def beside(taken: int) -> float:
            return base + terms.costs.anchor * self._of_cubes[taken]

        found = [cheapest(Question(missed, rest, count, once, beside))]
        if limping:
            slow = 0.0 if self._is_slow else terms.limp(chips)
            found.append(cheapest(Question(missed, [*rest, *limping], count, once, lambda taken: slow + beside(taken))))
        return min((each for each in found if each is not None), key=lambda choice: choice.cost, default=None)

    def _candidate(self, number: int, joined: frozenset[int]) -> Candidate:
        price, events = self._own[number]
        return Candidate(price + self._ports(number, joined), number, events)

    def _ports(self, number: int, joined: frozenset[int]) -> float:
        return 0.0 if number in joined else self.terms.costs.port * ports_of(self.stock.rooms[number])

    @cached_property
    def _own(self) -> dict[int, tuple[float, frozenset[Window]]]:
        """Price each usable cube by itself, and tell the windows that are not met anyway."""
        stock, want, terms = self.stock, self.want, self.terms
        paid = {burden.window for number in self.kept for burden in stock.now[number].burdens}
        found = {}
        for number, _ in stock.usable(want):
            room, now = stock.rooms[number], stock.now[number]
            price, events = 0.0, _NOTHING
            if not room.spare:
                price += terms.costs.anchor * expected(stock.generation, room.nest.boxes, terms.mix).of_boxes(
                    lost(room, now, room.nest.full)
                )
            elif not want.heals:
                price += terms.costs.spare * stock.spared(number)
            if now.burdens:
                price += terms.failures(now.risk, want.chips)
                events = frozenset(b.window for b in now.burdens if b.window is not None and terms.meets(b.window)) - paid
            found[number] = price, events
        return found

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
    slow = terms.limp(want.chips)
    for number, level in stock.levels(want):
        room, now = stock.rooms[number], stock.now[number]
        reads = expected(stock.generation, room.nest.boxes, terms.mix)
        spared = 0.0 if want.heals else terms.costs.spare * stock.spared(number)
        for box in boxes(room, now, level, want) if now.burdens else unlike(room, now, level, want):
            loss = 0.0 if room.spare else reads.of_boxes(box.lost) + box.lost[0] * one_cube
            price = terms.costs.anchor * loss + spared + (slow if box.limps else 0.0) + _burden(stock, number, box, want, terms)
            if best is None or price < best[0]:
                best = price, number, box.bits
    return (best[1], best[2]) if best is not None else None


def _burden(stock: Stock, number: int, box: Box, want: Want, terms: Terms) -> float:
    burdens = [burden for burden in stock.now[number].burdens if box.bits >> burden.seat & 1]
    if not burdens:
        return 0.0
    windows = (burden.window for burden in burdens if burden.window is not None)
    return terms.failures(sum(burden.risk for burden in burdens), want.chips) + terms.maintenance(windows, want.chips)
