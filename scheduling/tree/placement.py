"""Where the pod sets of one gang go on a tree of labels: all of them, or why not.

Comes in: the tree, what is asked, what other gangs use. Goes out: an assignment for each pod set, or the failure of the first that
finds no place. Pod sets of a group are placed together; each group leaves the next what it did not take.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.ask import WrongGroup, WrongLayers
from sliceward.scheduling.tree.assignment import Assignment, Usage, together
from sliceward.scheduling.tree.growth import resized
from sliceward.scheduling.tree.search import Found, Terrain, search
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

    ``tried``: what the pod sets before them would have got, and what Kueue gives where it cuts short what was asked for. Nothing of
    it is to be used: a gang is placed whole or not at all.
    """

    failures: Mapping[str, Failure]
    tried: Mapping[str, Assignment] = field(default_factory=dict)


def place(tree: LabelTree, asks: Sequence[Ask], *, used: Usage | None = None, rules: Rules | None = None) -> Placed | NotPlaced:
    """Give a place for every pod set, or say why there is none. The same input gives the same answer.

    Raises:
        Misconfigured: two pod sets of one name, or use that cannot be.
    """
    terrain = Terrain.of(tree, used, rules)
    found: dict[str, Assignment] = {}
    for members in groups(asks):
        workers, leader = _roles(members)
        answer = _wrong_group(members) or _searched(terrain, workers, leader)
        if not isinstance(answer, Found):
            return NotPlaced({ask.name: answer for ask in members}, found | _cut_short(terrain, workers, leader, answer))
        found |= _by_name(answer, workers, leader)
        pairs = ((ask, found[ask.name]) for ask in members if ask.name in found)
        taken = together((terrain.used, *(assignment.usage(ask.requests) for ask, assignment in pairs)))
        terrain = Terrain(tree, taken, terrain.rules)
    return Placed(found)


def groups(asks: Sequence[Ask]) -> list[list[Ask]]:
    """Give the pod sets of each group, in the order in which groups appear.

    Raises:
        Misconfigured: two pod sets of one name.
    """
    if len({ask.name for ask in asks}) < len(asks):
        raise Misconfigured("pod sets", f"{', '.join(ask.name for ask in asks)}: a name is there twice", "Name each once")
    found: dict[tuple[str, str], list[Ask]] = {}
    for ask in asks:
        found.setdefault(("group", ask.group) if ask.group is not None else ("alone", ask.name), []).append(ask)
    return [*found.values()]


def _roles(members: Sequence[Ask]) -> tuple[Ask, Ask | None]:
    """Give workers and leader: of the first two the smaller leads, of equals the later. Kueue looks at no third."""
    workers, *rest = sorted(members[:2], key=lambda ask: -ask.count)
    return workers, rest[0] if rest else None


def _wrong_group(members: Sequence[Ask]) -> WrongGroup | None:
    """Say what is wrong with a group; Kueue's webhook for jobs refuses the same."""
    smallest = min(ask.count for ask in members)
    if len(members) == 1 or (len(members) == 2 and smallest == 1):  # noqa: PLR2004 (workers and their leader)
        return None
    why = f"group {members[0].group} has {len(members)} pod sets, the smallest of {smallest} pods"
    return WrongGroup(f"{why}; a group is workers and a leader of one pod")


def _searched(terrain: Terrain, workers: Ask, leader: Ask | None) -> Found | Failure:
    moved = resized(terrain, workers, leader) if terrain.rules.grow_in_place else None
    return moved if moved is not None else search(terrain, workers, leader)


def _cut_short(terrain: Terrain, workers: Ask, leader: Ask | None, why: Failure) -> dict[str, Assignment]:
    """Give what Kueue places although it is not the whole: slices without the pods that make up none, a group without its rest."""
    size = workers.layers[0].size if workers.layers else 1
    whole = workers.count // size * size if size else 0
    if not whole or not (isinstance(why, WrongGroup) or (isinstance(why, WrongLayers) and whole < workers.count)):
        return {}
    answer = search(terrain, replace(workers, count=whole, before=None), leader)
    return _by_name(answer, workers, leader) if isinstance(answer, Found) else {}


def _by_name(answer: Found, workers: Ask, leader: Ask | None) -> dict[str, Assignment]:
    return {workers.name: answer.workers, **({leader.name: answer.leader} if leader and answer.leader else {})}
