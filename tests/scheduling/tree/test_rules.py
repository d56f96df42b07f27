"""Kueue's rules by their definition alone: of all ways through the tree, the one that each rule names.

BestFit: as few domains as can be, each but the last one the roomiest there is, the last the tightest that takes the rest.
LeastFreeCapacity: the tightest that takes all, else one after the other from the tightest on. Required: in one domain of the level.
Preferred: so, else of a level above, else in several at the top. Among equals fewer spare pods, then the lower path. Below the
level of the slices there are none to count, so that the fewest pods come first whatever the rule. The answers are looked for among
all sequences of domains, level by level, on 2,000 trees for each rule.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.tree.ask import Layer, Preferred, Required, Unconstrained
from sliceward.scheduling.tree.placement import Placed, place
from tests.scheduling.tree.builders import LEVELS, a_tree, an_ask, pods_by_host
from tests.scheduling.tree.draws import dice_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from sliceward.scheduling.tree.ask import Where

Path = tuple[str, ...]
Room = dict[Path, int]
"""Chips by the whole path of a host; one pod takes one."""


def a_room(dice: Random) -> Room:
    found: Room = {}
    for block in range(dice.randint(1, 2)):
        for rack in range(dice.randint(1, 2)):
            for _ in range(dice.randint(1, 3)):
                found[f"b{block}", f"r{rack}", f"h{len(found)}"] = dice.randint(0, 5)
    return found


def below(room: Room, above: Path) -> list[Path]:
    """Give the children of a domain."""
    depth = len(above)
    return sorted({path[: depth + 1] for path in room if path[:depth] == above})


class Rule:
    """One request on one tree. ``level``: where slices are whole, an index of LEVELS."""

    def __init__(self, room: Room, size: int, level: int, *, fills_holes: bool) -> None:
        self.room, self.size, self.level, self.fills_holes = room, size, level, fills_holes

    def pods(self, domain: Path) -> int:
        return sum(count for path, count in self.room.items() if path[: len(domain)] == domain)

    def slices(self, domain: Path) -> int:
        """Count the slices that fit, each in one domain of its level."""
        if len(domain) - 1 >= self.level:
            return self.pods(domain) // self.size
        return sum(self.slices(child) for child in below(self.room, domain))

    def key(self, domain: Path) -> tuple[int, int, Path]:
        slices = self.slices(domain) if len(domain) - 1 <= self.level else 0
        return (slices if self.fills_holes else -slices), self.pods(domain), domain

    def chosen(self, domains: Sequence[Path], need: int) -> list[tuple[Path, int]] | None:
        """Give each domain's part in slices, by going through all sequences of domains."""
        if self.fills_holes:
            enough = sum(self.slices(domain) for domain in domains) >= need
            return self._dealt(sorted(domains, key=self.key), need, self.slices) if enough else None
        room = {domain: self.slices(domain) for domain in domains}
        for length in range(1, len(domains) + 1):
            sets = (each for each in combinations(domains, length) if sum(map(room.__getitem__, each)) >= need)
            fitting = [(*sorted(set(each) - {last}, key=self.key), last) for each in sets for last in each]
            if fitting:
                return self._dealt(min(fitting, key=self._roomiest_first), need, self.slices)
        return None

    def _roomiest_first(self, sequence: Sequence[Path]) -> list[tuple[int, int, Path]]:
        *first, last = sequence
        return [*map(self.key, first), (self.slices(last), self.pods(last), last)]

    @staticmethod
    def _dealt(sequence: Sequence[Path], need: int, units: Callable[[Path], int]) -> list[tuple[Path, int]]:
        found = []
        for domain in sequence:
            found.append((domain, min(units(domain), need)))
            need -= found[-1][1]
        assert not need
        return [(domain, part) for domain, part in found if part]

    def one(self, domains: Sequence[Path], need: int) -> Path | None:
        """Give the tightest domain that holds everything."""
        holding = [domain for domain in domains if self.slices(domain) >= need]
        return min(holding, key=lambda each: (self.slices(each), self.pods(each), each), default=None)

    def down(self, parts: list[tuple[Path, int]], need: int) -> dict[str, int]:
        """Go down: above the slices' level all children are one pool, from there on each domain deals to its own."""
        depth = len(parts[0][0])
        while depth - 1 < self.level:
            pool = [child for domain, _ in parts for child in below(self.room, domain)]
            dealt = self.chosen(pool, need)
            assert dealt is not None
            parts, depth = dealt, depth + 1
        parts = [(domain, part * self.size) for domain, part in parts]
        for _ in range(depth, len(LEVELS)):
            families = [(sorted(below(self.room, domain), key=self.key), pods) for domain, pods in parts]
            parts = [share for family, pods in families for share in self._dealt(family, pods, self.pods)]
        return {domain[-1]: pods for domain, pods in parts if pods}


def defined(rule: Rule, where: Where, need: int, top: int) -> dict[str, int] | None:
    """Give the pods of each host by the rule's definition; None where it has no place. ``top``: where what names no level begins."""
    start = LEVELS.index(where.level) if isinstance(where, Required | Preferred) else top
    for level in range(start, -1, -1):
        domains = sorted({path[: level + 1] for path in rule.room})
        one = rule.one(domains, need)
        if one is not None:
            return rule.down([(one, need)], need)
        if isinstance(where, Required):
            return None
        if level == 0 or isinstance(where, Unconstrained):
            parts = rule.chosen(domains, need)
            return rule.down(parts, need) if parts is not None else None
    return None


@pytest.mark.parametrize("rule", ["required", "preferred", "unconstrained"])
@pytest.mark.parametrize("sliced", [False, True], ids=["pods", "slices"])
def test_the_answer_is_the_one_that_the_rule_names(rule: str, sliced: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    placed = 0
    for seed in range(2_000):
        dice = dice_of(seed)
        room, level = a_room(dice), dice.randint(0, 2)
        slice_level, size = (dice.randint(level, 2), dice.randint(1, 3)) if sliced else (2, 1)
        names: dict[str, Where] = {
            "required": Required(LEVELS[level]),
            "preferred": Preferred(LEVELS[level]),
            "unconstrained": Unconstrained(),
        }
        where, need = names[rule], dice.randint(1, 7)
        layers = (Layer(LEVELS[slice_level], size),) if sliced else ()
        answer = place(a_tree({"/".join(path): count for path, count in room.items()}), [an_ask(need * size, where, *layers)])
        by_definition = defined(
            Rule(room, size, slice_level, fills_holes=rule == "unconstrained"), where, need, top=0 if sliced else 2
        )
        got = pods_by_host(answer.assignments["main"]) if isinstance(answer, Placed) else None
        assert got == by_definition, (seed, room, where, layers, need)
        placed += got is not None
    assert placed > 600
