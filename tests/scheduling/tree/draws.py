"""Drawn label trees with who sits on them and what is known, and what is true of them by definition alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations
from math import prod
from random import Random
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import DAY, Costs
from sliceward.scheduling.ground import Mix, Terms, Want
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Occupancy, Standing, Window
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.scheduling.tree.lie import Leaf
from sliceward.topology.ids import ClusterId, GangId, HostId
from tests.scheduling.tree.builders import LEVELS, NOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

V6E = "tpu-v6e-slice"
SHAPES = ((2, 2), (2, 4), (2, 4), (4, 4), (4, 4), (4, 8))
WITHIN = ("", "", "block", "block", *LEVELS[1:])
GRADES = (*[Grade.HEALTHY] * 6, *[Grade.DEGRADED] * 3, Grade.UNKNOWN, Grade.SICK)
WINDOWS = tuple(Window(NOW + timedelta(hours=after), NOW + timedelta(hours=after + 1)) for after in (1, 2, 100))


def dice_of(seed: int) -> Random:
    return Random(seed)  # noqa: S311 (draws of tests, not secrets)


def host_named(name: str) -> HostId:
    return HostId("c1", name)


def gang_named(name: str) -> GangId:
    return GangId("c1", "ml", "JobSet", name)


@dataclass(frozen=True)
class Drawn:
    """A tree, told twice: as a ground, and as plain hosts with their paths."""

    ground: TreeGround
    leaves: Mapping[HostId, Leaf]

    @property
    def occupancy(self) -> Occupancy:
        return self.ground.occupancy

    def path(self, host: HostId, level: str) -> tuple[str, ...]:
        labels = self.leaves[host].labels
        return tuple(labels[each] for each in LEVELS[: LEVELS.index(level or "rack") + 1])

    def alike(self, hosts: tuple[HostId, ...], want: Want) -> bool:
        """Whether hosts, whoever holds them, are a slice by their chips and their place."""
        chips = {self.leaves[host].chips for host in hosts}
        return len(chips) == 1 and sum(self.leaves[h].chips for h in hosts) == want.chips and self.together(hosts, want)

    def together(self, hosts: tuple[HostId, ...], want: Want) -> bool:
        return len({self.path(host, want.within) for host in hosts}) == 1

    def places(self, want: Want, occupancy: Occupancy) -> Iterator[tuple[HostId, ...]]:
        """Give every place, lowest first."""
        usable = [host for host in self.ground.hosts if occupancy.is_usable(host, want.worst)]
        counts = sorted({want.chips // leaf.chips for leaf in self.leaves.values() if want.chips % leaf.chips == 0})
        found = (hosts for count in counts for hosts in combinations(usable, count) if self.alike(hosts, want))
        order = {host: number for number, host in enumerate(self.ground.hosts)}
        return iter(sorted(found, key=lambda hosts: [order[host] for host in hosts]))

    def alive(self, chips: int, occupancy: Occupancy) -> int:
        """Count slices of so many chips at once, each in one rack, on healthy free hosts of one kind with no condemned link inside."""
        rooms: dict[tuple[object, int], int] = {}
        torn = {link.ends[0].host_id for link in occupancy.links if link.ends[0].host_id == link.ends[1].host_id}
        for host, leaf in self.leaves.items():
            if occupancy.is_usable(host) and host not in torn:
                room = self.path(host, "rack"), leaf.chips
                rooms[room] = rooms.get(room, 0) + 1
        return sum(count * size // chips for (_, size), count in rooms.items() if chips % size == 0)

    def cost(self, hosts: tuple[HostId, ...], want: Want, terms: Terms) -> float:
        """Add up by the definition what a place costs."""
        after = self.occupancy.taken(hosts, gang_named("new"))
        lost = sum(p * (self.alive(prod(s), self.occupancy) - self.alive(prod(s), after)) for s, p in terms.mix)
        standings = [self.occupancy.standing(host) for host in hosts]
        soon = {each.window for each in standings if each.window in WINDOWS[:2]}
        slow = want.chips * terms.costs.slowdown * terms.lasts if any(s.grade is Grade.DEGRADED for s in standings) else 0.0
        risk = sum(each.risk for each in standings) * terms.lasts / DAY * want.chips * terms.costs.failure
        return lost * terms.costs.anchor + risk + len(soon) * want.chips * terms.costs.planned + slow


def a_drawn_tree(dice: Random, *, hosts: int = 11, gangs: int = 3, held: float = 0.15) -> Drawn:
    """Draw up to so many hosts in two blocks of up to two racks, a share of them held, some closed or not well."""
    leaves = {}
    for number in range(dice.randint(4, hosts)):
        block = int(dice.random() < 0.25)
        rack = block * 2 + dice.randint(0, 1)
        labels = {"block": f"b{block}", "rack": f"r{rack}", LEVELS[-1]: f"h{number}"}
        leaf = Leaf(host_named(f"h{number}"), dice.choice((4, 4, 4, 4, 4, 8)), labels)
        leaves[leaf.id] = leaf
    holders = {host: gang_named(f"g{dice.randrange(gangs)}") for host in leaves if gangs and dice.random() < held}
    bars = {host: Bar(Cause.RESERVED, "promised") for host in leaves if dice.random() < 0.05}
    standings = {host: a_standing(dice) for host in leaves if dice.random() < 0.5}
    empty = TreeGround.of(ClusterId("c1"), V6E, leaves.values(), levels=LEVELS, unit="rack")
    return Drawn(empty.changed(Occupancy(holders, standings, bars), tuple(leaves)), leaves)


def a_standing(dice: Random) -> Standing:
    grade = dice.choice(GRADES)
    return Standing(grade, "" if grade is Grade.HEALTHY else "seen", dice.choice((0.0, 0.0, 0.5)), dice.choice((None, *WINDOWS)))


def a_want(dice: Random) -> Want:
    shape = dice.choice(SHAPES)
    return Want(V6E, shape, worst=dice.choice((Grade.HEALTHY, Grade.DEGRADED)), within=dice.choice(WITHIN))


def some_terms(dice: Random) -> Terms:
    """Give terms of whole numbers, so that equal costs are equal and ties are met often."""
    weights = {"anchor": 64.0, "planned": dice.choice((0.0, 8.0)), "failure": dice.choice((0.0, 4.0)), "slowdown": 1.0}
    mix: Mix = tuple((shape, 0.25) for shape in dice.sample(((2, 2), (2, 4), (4, 4)), dice.randint(0, 3)))
    return Terms(replace(Costs(), **weights), mix, NOW, dice.choice((DAY, 2 * DAY)))
