"""Which hosts of a tree are free for a slice, how many, and what is lost with them: a byte a host, looked at domain by domain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from sliceward.scheduling.cover import in_thousandths
from sliceward.scheduling.occupancy import PLAIN, Grade, Occupancy
from sliceward.scheduling.tree.apart import Pair, pairs_of
from sliceward.scheduling.tree.cheapest import Candidate, Choice, Unit, cheapest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from sliceward.scheduling.ground import Mix, Terms
    from sliceward.scheduling.occupancy import Standing, Window
    from sliceward.scheduling.tree.lie import Lie, Span
    from sliceward.topology.ids import HostId

_CLOSED, _HEALTHY, _DEGRADED = 0, 1, 2
_STATES = 4
"""A host's byte: the number of its kind (by chips) times this, and its state."""

_SLOW = -1
"""The charge that a degraded host brings; windows are numbered from 0."""


@dataclass(frozen=True, slots=True)
class Crew:
    """A way to make a slice: ``hosts`` hosts of a kind. ``worst``: DEGRADED where such hosts are accepted."""

    kind: int
    hosts: int
    worst: Grade = Grade.HEALTHY


@dataclass(frozen=True, slots=True)
class Pick:
    """How many hosts are taken, and which not. ``limps``: the slice is slow anyway, whatever hosts it has."""

    count: int
    without: frozenset[int] = frozenset()
    limps: bool = False


@dataclass(frozen=True)
class Vacancies:
    """The hosts of a tree with the state of each."""

    lie: Lie
    occupancy: Occupancy
    states: bytes

    @classmethod
    def of(cls, lie: Lie) -> Vacancies:
        """Give a tree on which nobody sits and of which nothing is known."""
        kinds = {size: number for number, size in enumerate(lie.sizes)}
        return cls(lie, Occupancy(), bytes(kinds[chips] * _STATES + _HEALTHY for chips in lie.chips))

    def changed(self, occupancy: Occupancy, hosts: Iterable[HostId]) -> Vacancies:
        """Give these with another occupancy, which differs at these hosts alone."""
        states = bytearray(self.states)
        for host in hosts:
            place = self.lie.place_of[host]
            states[place] += _state(occupancy, host) - states[place] % _STATES
        return replace(self, occupancy=occupancy, states=bytes(states))

    def without(self, places: Iterable[int]) -> Vacancies:
        """Give these with more hosts closed."""
        states = bytearray(self.states)
        for place in places:
            states[place] -= states[place] % _STATES
        return replace(self, states=bytes(states))

    @property
    def units(self) -> tuple[Span, ...]:
        """The domains that slices do not leave if they do not say others."""
        return self.lie.spans[self.lie.unit]

    def kind_of(self, place: int) -> int:
        """Give the number of a host's kind."""
        return self.states[place] // _STATES

    def crews(self, chips: int, worst: Grade = Grade.HEALTHY) -> list[Crew]:
        """Give the ways to make a slice of so many chips from whole hosts of one kind."""
        sizes = enumerate(self.lie.sizes)
        return [Crew(kind, chips // size, worst) for kind, size in sizes if chips % size == 0]

    def count(self, span: Span, crew: Crew) -> int:
        """Count the usable hosts of a kind in a domain."""
        healthy = self.states.count(crew.kind * _STATES + _HEALTHY, *span)
        return healthy + (self.states.count(crew.kind * _STATES + _DEGRADED, *span) if crew.worst is Grade.DEGRADED else 0)

    def usable(self, span: Span, crew: Crew) -> list[int]:
        """Give the places of the usable hosts of a kind in a domain."""
        codes = {crew.kind * _STATES + _HEALTHY}
        codes |= {crew.kind * _STATES + _DEGRADED} if crew.worst is Grade.DEGRADED else set()
        return [place for place in range(*span) if self.states[place] in codes]

    def closed(self, span: Span, crew: Crew) -> list[int]:
        """Give the places of the hosts of a kind in a domain that cannot be used."""
        usable = set(self.usable(span, crew))
        return [place for place in range(*span) if place not in usable and self.kind_of(place) == crew.kind]

    def lost_with(self, places: Iterable[int], mix: Mix) -> float:
        """Add up over the mix: probability x slices that fit no more once these hosts are taken."""
        healthy = (place for place in places if self.states[place] % _STATES == _HEALTHY and place not in self._odd)
        taken = Counter((self.lie.unit_of[place], self.kind_of(place)) for place in healthy)
        return sum(self._lost(unit, kind, count, mix) for (unit, kind), count in sorted(taken.items()))

    def least_lost(self, span: Span, crew: Crew, terms: Terms) -> int | None:
        """Give in thousandths what a slice in a domain destroys at least; None where it does not fit."""
        usable = self.count(span, crew)
        if usable < crew.hosts:
            return None
        units = self.lie.units_of(span)
        if len(units) > 1:
            return 0
        others = usable - self.count(span, replace(crew, worst=Grade.HEALTHY)) + self._count_odd(span, crew.kind)
        return in_thousandths(self._lost(units[0], crew.kind, max(0, crew.hosts - others), terms.mix) * terms.costs.anchor)

    def alive(self, chips: int) -> int:
        """Count the slices of so many chips that fit at once on healthy free hosts, each in a unit; never too few."""
        return sum(free[crew.kind] // crew.hosts for free in self._open for crew in self.crews(chips))

    def cheapest(self, span: Span, crew: Crew, terms: Terms, pick: Pick) -> Choice | None:
        """Give the cheapest so many hosts of a kind in a domain for a slice of a crew; None: there are too few."""
        chips, count = crew.hosts * self.lie.sizes[crew.kind], pick.count
        windows = self._windows(span, terms)
        charges = {number: in_thousandths(terms.maintenance((window,), chips)) for window, number in windows.items()}
        limp = in_thousandths(terms.limp(chips))
        charges[_SLOW] = 0 if pick.limps else limp
        units = []
        for number in self.lie.units_of(span):
            first, end = self.units[number]
            inside = max(first, span[0]), min(end, span[1])
            usable = (place for place in self.usable(inside, crew) if place not in pick.without)
            hosts = tuple(self._candidates(usable, count, windows, (terms, chips)))
            most = min(sum(host.healthy for host in hosts), count)
            lost = self._losses(number, crew.kind, most, terms.mix) * terms.costs.anchor
            units.append(Unit(hosts, tuple(map(in_thousandths, lost.tolist()))))
        choice = cheapest(units, count, charges)
        return replace(choice, cost=choice.cost + limp) if choice is not None and pick.limps else choice

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The condemned links by the places of their ends."""
        return pairs_of(self.occupancy.links, self.lie.place_of) if self.occupancy.links else ()

    @cached_property
    def _odd(self) -> frozenset[int]:
        """The healthy free hosts with a condemned link inside: future requests do not use them."""
        return frozenset(one for one, other in self.pairs if one == other and self.states[one] % _STATES == _HEALTHY)

    def _count_odd(self, span: Span, kind: int) -> int:
        return sum(span[0] <= place < span[1] and self.kind_of(place) == kind for place in self._odd)

    @cached_property
    def _open(self) -> list[list[int]]:
        """Healthy free hosts by unit, then by kind."""
        crews = [Crew(kind, 1) for kind in range(len(self.lie.sizes))]
        return [[self.count(span, crew) - self._count_odd(span, crew.kind) for crew in crews] for span in self.units]

    def _lost(self, unit: int, kind: int, count: int, mix: Mix) -> float:
        free, lost = self._open[unit][kind], 0.0
        for hosts, probability in self._sizes(kind, mix):
            lost += probability * (free // hosts - (free - count) // hosts)
        return lost

    def _losses(self, unit: int, kind: int, most: int, mix: Mix) -> NDArray[np.float64]:
        """Give what `_lost` gives for 0, 1, 2 .. hosts."""
        free, left = self._open[unit][kind], self._open[unit][kind] - np.arange(most + 1)
        lost = np.zeros(most + 1)
        for hosts, probability in self._sizes(kind, mix):
            lost += probability * (free // hosts - left // hosts)
        return lost

    def _sizes(self, kind: int, mix: Mix) -> Iterator[tuple[int, float]]:
        """Give how many hosts of a kind each expected shape takes, and its probability."""
        for shape, probability in mix:
            hosts, torn = divmod(prod(shape), self.lie.sizes[kind])
            if not torn:
                yield hosts, probability

    @cached_property
    def _told(self) -> Mapping[int, Standing]:
        """What is said of places of which anything is."""
        standings = self.occupancy.standings.items()
        return {self.lie.place_of[host]: standing for host, standing in standings if standing is not PLAIN}

    def _windows(self, span: Span, terms: Terms) -> Mapping[Window, int]:
        """Give a number to each window of a domain's hosts that the slice would meet."""
        first, end = span
        windows = {each.window for place, each in self._told.items() if first <= place < end and each.window is not None}
        met = sorted((window for window in windows if terms.meets(window)), key=lambda each: (each.begins, each.ends))
        return {window: number for number, window in enumerate(met)}

    def _candidates(
        self, places: Iterable[int], count: int, windows: Mapping[Window, int], wanted: tuple[Terms, int]
    ) -> Iterator[Candidate]:
        """Give what places cost; of those that cost nothing the lowest so many stand for all."""
        plain = 0
        for place in places:
            if place in self._told or place in self._odd:
                yield self._candidate(place, windows, *wanted)
            elif plain < count:
                plain += 1
                yield Candidate(0, place)

    def _candidate(self, place: int, windows: Mapping[Window, int], terms: Terms, chips: int) -> Candidate:
        standing = self._told.get(place, PLAIN)
        healthy = standing.grade is Grade.HEALTHY
        charges = {windows[standing.window]} if standing.window is not None and standing.window in windows else set()
        charges |= set() if healthy else {_SLOW}
        expected = healthy and place not in self._odd
        return Candidate(in_thousandths(terms.failures(standing.risk, chips)), place, frozenset(charges), expected)


def _state(occupancy: Occupancy, host: HostId) -> int:
    if occupancy.is_usable(host):
        return _HEALTHY
    return _DEGRADED if occupancy.is_usable(host, Grade.DEGRADED) else _CLOSED
