"""Where the pod sets of one gang go on a tree of labels: all of them, or why not.

Comes in: the tree, what is asked, what other gangs use. Goes out: an assignment for each pod set, or the failure of the first that
finds no place. Pod sets of a group are placed together; each group leaves the next what it did not take.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.assignment import Assignment, Usage, together
from sliceward.scheduling.tree.growth import resized
from sliceward.scheduling.tree.search import Found, Ground, search
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.tree.ask import Ask, Failure, Rules
    from sliceward.scheduling.tree.tree import LabelTree


@dataclass(frozen=True, slots=True)
class Placed:
    """A place for every pod set, by name."""

    assignments: Mapping[str, Assignment]


@dataclass(frozen=True, slots=True)
class NotPlaced:
    """No place for the gang as a whole: the failure of each pod set of the group that found none.

    ``tried``: what the pod sets before them would have got. Nothing of it is to be used: a gang is placed whole or not at all.
    """

    failures: Mapping[str, Failure]
    tried: Mapping[str, Assignment] = field(default_factory=dict)


def place(tree: LabelTree, asks: Sequence[Ask], *, used: Usage | None = None, rules: Rules | None = None) -> Placed | NotPlaced:
    """Give a place for every pod set, or say why there is none. The same input gives the same answer.

    Raises:
        Misconfigured: two pod sets of one name, a group of more than two, a leader of more than one pod, or use that cannot be.
    """
    ground = Ground.of(tree, used, rules)
    found: dict[str, Assignment] = {}
    for workers, leader in groups(asks):
        moved = resized(ground, workers, leader) if ground.rules.grow_in_place else None
        answer = moved if moved is not None else search(ground, workers, leader)
        if not isinstance(answer, Found):
            return NotPlaced({ask.name: answer for ask in (workers, leader) if ask is not None}, found)
        pairs = [(workers, answer.workers), *([(leader, answer.leader)] if leader and answer.leader else [])]
        found |= {ask.name: assignment for ask, assignment in pairs}
        taken = together((ground.used, *(assignment.usage(ask.requests) for ask, assignment in pairs)))
        ground = Ground(tree, taken, ground.rules)
    return Placed(found)


def groups(asks: Sequence[Ask]) -> list[tuple[Ask, Ask | None]]:
    """Give workers and leader of each group, in the order in which groups appear. The smaller is the leader; of equals, the later.

    Raises:
        Misconfigured: as `place`, but for the use.
    """
    if len({ask.name for ask in asks}) < len(asks):
        raise Misconfigured("pod sets", f"{', '.join(ask.name for ask in asks)}: a name is there twice", "Name each once")
    found: dict[tuple[str, str], list[Ask]] = {}
    for ask in asks:
        found.setdefault(("group", ask.group) if ask.group is not None else ("alone", ask.name), []).append(ask)
    pairs: list[tuple[Ask, Ask | None]] = []
    for members in found.values():
        workers, *rest = sorted(members, key=lambda ask: -ask.count)
        if len(rest) > 1 or (rest and rest[0].count != 1):
            why = f"has {len(members)} pod sets, the smallest of {rest[-1].count} pods"
            raise Misconfigured(f"group {workers.group}", why, "A group is workers and a leader of one pod")
        pairs.append((workers, rest[0] if rest else None))
    return pairs
