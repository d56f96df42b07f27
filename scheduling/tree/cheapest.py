"""The cheapest hosts for one slice in one domain of a tree.

What a host costs adds up, and so does what is destroyed: each unit (a domain of the level that slices do not leave) loses places
by how many of its healthy hosts are taken. So a unit is a row of costs, one for each number of hosts, and units are joined by the
least sum of costs, which is exact (min-plus convolution). What is paid once, however many hosts share it (a degraded host slows
the whole slice, a window stops it), is a charge: all sets of few charges are gone through, the cheapest first, and many are searched.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations, repeat
from math import ceil
from operator import add
from typing import TYPE_CHECKING

from sliceward.scheduling.charges import Charges, Relaxed, cheapest_charged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_CHARGES = 8
"""Of so many charges in one domain all sets are tried; more are searched by bounds."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host that can be taken: its cost in thousandths, its place, the charges that it brings, whether it is lost to others then."""

    cost: int
    place: int
    charges: frozenset[int] = frozenset()
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class Unit:
    """What can be taken of one unit, and by the number of healthy hosts taken what that destroys."""

    hosts: tuple[Candidate, ...]
    destroyed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Places, rising, and what they cost in thousandths, at most ``slack`` more than the cheapest."""

    cost: int
    places: tuple[int, ...]
    slack: int = 0

    def beats(self, other: Choice | None) -> bool:
        """Whether it is cheaper, or as cheap and lower."""
        return other is None or (self.cost, self.places) < (other.cost, other.places)


def cheapest(units: Sequence[Unit], count: int, charges: Mapping[int, int]) -> Choice | None:
    """Give the cheapest ``count`` hosts of units in the order of their places; of equals the lowest. None: there are too few.

    ``charges``: what each costs.
    """
    brought = frozenset(each for unit in units for host in unit.hosts for each in host.charges)
    if len(brought) > MOST_CHARGES:
        return _searched(units, count, {each: charges[each] for each in sorted(brought)})
    best: Choice | None = None
    for allowed in _allowances(brought, charges):
        paid = sum(charges[each] for each in allowed)
        if best is not None and paid > best.cost:
            break
        choice = _chosen([_Hosts.of(unit, allowed, count) for unit in units], count, paid)
        best = choice if choice is not None and choice.beats(best) else best
    return best


def _searched(units: Sequence[Unit], count: int, charges: Mapping[int, int]) -> Choice | None:
    """Search the sets of charges by bounds. Who brings a charge pays of it at least what is left if all that bring it share it."""
    few = [_few(unit, count) for unit in units]
    hosts = {host.place: host for unit in few for host in unit.hosts}
    sharing = Counter(each for host in hosts.values() for each in host.charges)
    parts = {each: charges[each] // min(count, sharers) for each, sharers in sharing.items()}

    def relaxed(paid: Charges, forbidden: Charges) -> Relaxed[tuple[int, ...]] | None:
        part = {place: sum(parts[each] for each in host.charges - paid) for place, host in hosts.items()}
        free = (
            replace(
                unit,
                hosts=tuple(
                    replace(host, cost=host.cost + part[host.place], charges=_NO_CHARGE)
                    for host in unit.hosts
                    if not host.charges & forbidden
                ),
            )
            for unit in few
        )
        found = _chosen([_Hosts.of(unit, _NO_CHARGE, count) for unit in free], count, 0)
        if found is None:
            return None
        shared = sum(part[place] for place in found.places)
        return Relaxed(
            found.places, found.cost - shared, shared, Counter(each for place in found.places for each in hosts[place].charges)
        )

    found = cheapest_charged(relaxed, charges, len(hosts))
    return Choice(round(found.cost), found.answer, ceil(found.slack)) if found is not None else None


def _few(unit: Unit, count: int) -> Unit:
    """Leave out hosts that others of the same charges make needless."""
    kept, alike = list[Candidate](), Counter[tuple[bool, frozenset[int]]]()
    for host in sorted(unit.hosts, key=lambda host: (host.cost, host.place)):
        alike[host.healthy, host.charges] += 1
        if alike[host.healthy, host.charges] <= count:
            kept.append(host)
    return replace(unit, hosts=tuple(kept))


_NO_CHARGE: frozenset[int] = frozenset()


def _allowances(brought: frozenset[int], charges: Mapping[int, int]) -> list[frozenset[int]]:
    """Give the sets of charges to try, cheapest first."""
    tried = sorted(brought)
    sets = [frozenset(each) for size in range(len(tried) + 1) for each in combinations(tried, size)]
    return sorted(sets, key=lambda allowed: sum(charges[each] for each in allowed))


@dataclass(frozen=True, slots=True)
class _Hosts:
    """The hosts of a unit that bring no other charges than those allowed, cheapest first, with their costs added up."""

    healthy: tuple[Candidate, ...]
    others: tuple[Candidate, ...]
    well: tuple[int, ...]
    slow: tuple[int, ...]
    destroyed: tuple[int, ...]

    @classmethod
    def of(cls, unit: Unit, allowed: frozenset[int], most: int) -> _Hosts:
        hosts = sorted((host for host in unit.hosts if host.charges <= allowed), key=lambda host: (host.cost, host.place))
        healthy = tuple(host for host in hosts if host.healthy)[:most]
        others = tuple(host for host in hosts if not host.healthy)[:most]
        return cls(healthy, others, _sums(healthy), _sums(others), unit.destroyed)

    @property
    def most(self) -> int:
        """How many there are."""
        return len(self.healthy) + len(self.others)

    def best_of(self, count: int) -> Choice:
        """Give the best choice of so many of them."""
        splits = range(max(0, count - len(self.others)), min(count, len(self.healthy)) + 1)
        costs = {sound: self.well[sound] + self.slow[count - sound] + self.destroyed[sound] for sound in splits}
        least = min(costs.values())
        return Choice(least, min(self._places(sound, count) for sound in splits if costs[sound] == least))

    def _places(self, sound: int, count: int) -> tuple[int, ...]:
        return tuple(sorted(host.place for host in (*self.healthy[:sound], *self.others[: count - sound])))


def _sums(hosts: Sequence[Candidate]) -> tuple[int, ...]:
    sums = [0]
    for host in hosts:
        sums.append(sums[-1] + host.cost)
    return tuple(sums)


def _chosen(units: Sequence[_Hosts], count: int, paid: int) -> Choice | None:
    """Join units: the least sum, and of equal ones the lowest places."""
    if sum(unit.most for unit in units) < count:
        return None
    if len(units) == 1:
        choice = units[0].best_of(count)
        return Choice(paid + choice.cost, choice.places)
    rows = [[unit.best_of(taken) for taken in range(min(unit.most, count) + 1)] for unit in units]
    beyond = sum(max(choice.cost for choice in row) for row in rows) + 1
    rests = [[0] + [beyond] * count]
    for row in reversed(rows):
        after, now = rests[-1], [beyond] * (count + 1)
        for taken, choice in enumerate(row):
            moved = map(add, after[: count + 1 - taken], repeat(choice.cost))
            now[taken:] = map(min, now[taken:], moved)
        rests.append(now)
    rests.reverse()
    return Choice(paid + rests[0][count], _lowest(rows, rests, count))


def _lowest(rows: Sequence[Sequence[Choice]], rests: Sequence[Sequence[int]], count: int) -> tuple[int, ...]:
    """Give the lowest places of least cost. ``rests``: the least cost of each number of hosts from each row on."""
    ties: list[dict[int, list[int]]] = []
    open_ends = {count}
    for row, now, after in zip(rows, rests, rests[1:], strict=False):
        ties.append({left: _tied(row, now[left], after, left) for left in sorted(open_ends)})
        open_ends = {left - taken for left, tied in ties[-1].items() for taken in tied}
    lowest: dict[int, tuple[int, ...]] = {0: ()}
    for row, tied_by_left in zip(reversed(rows), reversed(ties), strict=True):
        lowest = {left: min(row[taken].places + lowest[left - taken] for taken in tied) for left, tied in tied_by_left.items()}
    return lowest[count]


def _tied(row: Sequence[Choice], least: int, after: Sequence[int], left: int) -> list[int]:
    """Give the numbers of hosts of a row that are as cheap as any; where more hosts only add to fewer, just the most."""
    tied = [taken for taken in range(min(left, len(row) - 1), -1, -1) if row[taken].cost + after[left - taken] == least]
    most = set(row[tied[0]].places)
    return tied if any(not most.issuperset(row[taken].places) for taken in tied) else tied[:1]
