"""Laws of placing on a tree, over drawn trees and requests: whole or nothing, within what is free, and never by a sick host's help."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sliceward.scheduling.tree.ask import Ask, Required, Rules, Unconstrained
from sliceward.scheduling.tree.assignment import together
from sliceward.scheduling.tree.placement import NotPlaced, Placed, place
from sliceward.scheduling.tree.replacement import Running, replace_hosts
from sliceward.scheduling.tree.tree import LabelTree
from tests.scheduling.tree.builders import CHIP, LEVELS, a_host, a_tree, asks, chips_by_host, pods_by_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.tree.assignment import Assignment

RULES = st.builds(Rules, balanced=st.booleans(), least_free=st.booleans(), by_liking=st.booleans())
LEADERS = st.none() | st.integers(0, 4).map(lambda chips: Ask("leader", 1, {CHIP: chips}, group="gang"))


def gang(workers: Ask, leader: Ask | None) -> list[Ask]:
    return [replace(workers, group="gang"), replace(leader, where=workers.where)] if leader else [workers]


def block_or_rack(chips: Mapping[str, int], host: str, level: int) -> tuple[str, ...]:
    path = next(path for path in chips if path.endswith("/" + host))
    return tuple(path.split("/")[: level + 1])


def pods_at(chips: Mapping[str, int], assignment: Assignment, level: int) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    for host, pods in pods_by_host(assignment).items():
        domain = block_or_rack(chips, host, level)
        found[domain] = found.get(domain, 0) + pods
    return found


@given(chips_by_host(), asks(), LEADERS, RULES)
def test_a_gang_is_placed_whole_and_within_what_is_free(
    chips: dict[str, int], ask: Ask, leader: Ask | None, rules: Rules
) -> None:
    answer = place(a_tree(chips), gang(ask, leader), rules=rules)
    if isinstance(answer, NotPlaced):
        return
    taken = together(answer.assignments[each.name].usage(each.requests) for each in gang(ask, leader))
    for path, count in chips.items():
        assert taken.get((path.rpartition("/")[2],), {}).get(CHIP, 0) <= count
    for each in gang(ask, leader):
        assert answer.assignments[each.name].pods == each.count


@given(chips_by_host(), asks(), LEADERS, RULES)
def test_required_stays_in_one_domain_and_no_slice_is_torn(
    chips: dict[str, int], ask: Ask, leader: Ask | None, rules: Rules
) -> None:
    answer = place(a_tree(chips), gang(ask, leader), rules=rules)
    if isinstance(answer, NotPlaced):
        return
    if isinstance(ask.where, Required):
        level = LEVELS.index(ask.where.level)
        assert len({domain for each in answer.assignments.values() for domain in pods_at(chips, each, level)}) == 1
    for layer in ask.layers:
        sizes = pods_at(chips, answer.assignments["main"], LEVELS.index(layer.level)).values()
        assert all(pods % layer.size == 0 for pods in sizes)


@given(chips_by_host(), asks(), LEADERS, RULES, st.randoms())
def test_the_same_fleet_gives_the_same_places_in_whatever_order_it_is_told(
    chips: dict[str, int], ask: Ask, leader: Ask | None, rules: Rules, dice: st.DataObject
) -> None:
    hosts = [a_host(path, count) for path, count in chips.items()]
    once = place(LabelTree.of(LEVELS, hosts), gang(ask, leader), rules=rules)
    dice.shuffle(hosts)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert place(LabelTree.of(LEVELS, hosts), gang(ask, leader), rules=rules) == once


@given(chips_by_host(), asks(), LEADERS, RULES, st.data())
def test_a_sick_host_never_makes_room(
    chips: dict[str, int], ask: Ask, leader: Ask | None, rules: Rules, data: st.DataObject
) -> None:
    sick = data.draw(st.sets(st.sampled_from([path.rpartition("/")[2] for path in chips])))
    if isinstance(place(a_tree(chips), gang(ask, leader), rules=rules), NotPlaced):
        assert isinstance(place(a_tree(chips, sick=frozenset(sick)), gang(ask, leader), rules=rules), NotPlaced)


def most(chips: Mapping[str, int], within: tuple[str, ...], layers: list[tuple[int, int]]) -> int:
    """Count the pods that fit in a domain by nothing but the definition: whole slices at each layer's level, innermost first."""
    inside = {path: count for path, count in chips.items() if tuple(path.split("/"))[: len(within)] == within}
    if len(within) == len(LEVELS):
        pods = sum(inside.values())
    else:
        below = {tuple(path.split("/"))[: len(within) + 1] for path in inside}
        pods = sum(most(chips, child, layers) for child in below)
    for level, size in layers:
        pods = pods // size * size if len(within) - 1 == level else pods
    return pods


def has_room(chips: Mapping[str, int], ask: Ask, leader: int | None) -> bool:
    """Whether there is a place at all, by trying each host for the leader."""
    layers = [(LEVELS.index(layer.level), layer.size) for layer in ask.layers]
    level = LEVELS.index(ask.where.level) if isinstance(ask.where, Required) else None
    for path, free in chips.items():
        if leader is not None and free < leader:
            continue
        left = {**chips, path: free - (leader or 0)}
        domains = {()} if level is None else {tuple(path.split("/"))[: level + 1]}
        if leader is None and level is not None:
            domains = {tuple(each.split("/"))[: level + 1] for each in chips}
        if any(most(left, domain, layers) >= ask.count for domain in domains):
            return True
    return False


@given(chips_by_host(), asks(), LEADERS, RULES)
def test_a_place_is_found_just_where_there_is_one(chips: dict[str, int], ask: Ask, leader: Ask | None, rules: Rules) -> None:
    answer = place(a_tree(chips), gang(ask, leader), rules=rules)
    assert isinstance(answer, Placed) is has_room(chips, ask, leader.requests[CHIP] if leader else None)


@given(chips_by_host(), asks(), RULES, st.data())
def test_pods_of_a_lost_host_move_and_no_other(chips: dict[str, int], ask: Ask, rules: Rules, data: st.DataObject) -> None:
    answer = place(a_tree(chips), [ask], rules=rules)
    if isinstance(answer, NotPlaced):
        return
    before = answer.assignments["main"]
    lost = data.draw(st.sampled_from([seat.values[0] for seat in before.seats]))
    used = before.without(lost).usage(ask.requests)
    moved = replace_hosts(a_tree(chips, sick=frozenset({lost})), [ask], Running({"main": before}, (lost,)), used=used)
    if isinstance(moved, NotPlaced):
        return
    now = moved.assignments["main"]
    assert now.pods == before.pods
    assert now.on_host(lost) == 0
    assert all(now.on_host(seat.values[0]) >= seat.pods for seat in before.without(lost).seats)
    assert all(pods <= chips[path] for path in chips if (pods := now.on_host(path.rpartition("/")[2])))
    if isinstance(ask.where, Required):
        assert len(pods_at(chips, now, LEVELS.index(ask.where.level))) == 1
    for layer in ask.layers:
        assert all(pods % layer.size == 0 for pods in pods_at(chips, now, LEVELS.index(layer.level)).values())


@given(chips_by_host(), st.lists(st.integers(1, 8), min_size=2, max_size=5))
def test_a_gang_that_grows_and_shrinks_keeps_its_pods_where_they_are(chips: dict[str, int], sizes: list[int]) -> None:
    tree, rules = a_tree(chips), Rules(grow_in_place=True)
    asked = [Ask("main", size, {CHIP: 1}, Unconstrained()) for size in sizes]
    before: Assignment | None = None
    for ask in asked:
        answer = place(tree, [replace(ask, before=before)], rules=rules)
        if isinstance(answer, NotPlaced):
            return
        now = answer.assignments["main"]
        both = [each for each in (before, now) if each is not None]
        for smaller, larger in pairwise(sorted(both, key=lambda each: each.pods)):
            assert all(larger.on_host(seat.values[0]) >= seat.pods for seat in smaller.seats)
        assert now.pods == ask.count
        before = now
