"""A gang that grows or shrinks keeps its places, as long as they are there."""

from __future__ import annotations

from dataclasses import replace

from sliceward.scheduling.tree.ask import Ask, Rules, Unconstrained
from sliceward.scheduling.tree.assignment import Assignment, Seat
from sliceward.scheduling.tree.placement import NotPlaced, Placed, place
from sliceward.scheduling.tree.tree import HOSTNAME, LabelTree
from tests.scheduling.tree.builders import CHIP, a_tree, pods_by_host

TREE = a_tree({"b1/r1/x1": 1, "b1/r1/x2": 3, "b1/r1/x3": 4})
RULES = Rules(grow_in_place=True)


def sits(**pods: int) -> Assignment:
    return Assignment((HOSTNAME,), tuple(Seat((host,), count) for host, count in pods.items()))


def workers(count: int, before: Assignment | None) -> Ask:
    return Ask("main", count, {CHIP: 1}, Unconstrained(), group="g", before=before)


def leader(before: Assignment | None) -> Ask:
    return Ask("leader", 1, {CHIP: 1}, Unconstrained(), group="g", before=before)


def placed(*asks: Ask, tree: LabelTree = TREE) -> dict[str, dict[str, int]]:
    answer = place(tree, asks, rules=RULES)
    assert isinstance(answer, Placed)
    return {name: pods_by_host(assignment) for name, assignment in answer.assignments.items()}


def test_only_what_is_new_is_placed() -> None:
    assert placed(workers(4, sits(x3=3))) == {"main": {"x1": 1, "x3": 3}}


def test_a_leader_that_sits_stays_and_takes_its_room() -> None:
    assert placed(workers(4, sits(x3=3)), leader(sits(x1=1))) == {"main": {"x3": 4}, "leader": {"x1": 1}}


def test_a_leader_that_is_new_finds_a_seat_beside_the_pods_that_stay() -> None:
    both = placed(workers(4, sits(x3=3)), leader(None))
    assert sum(both["main"].values()) == 4
    assert both["main"]["x3"] >= 3
    assert sum(both["leader"].values()) == 1


def test_the_last_pods_go_first() -> None:
    assert placed(workers(3, sits(x2=2, x3=3)), leader(sits(x1=1))) == {"main": {"x2": 2, "x3": 1}, "leader": {"x1": 1}}


def test_all_are_placed_anew_where_a_place_is_gone() -> None:
    assert placed(workers(3, sits(x9=2))) == {"main": {"x2": 3}}
    assert placed(workers(3, sits(x2=2)), leader(sits(x9=1))) == {"main": {"x3": 3}, "leader": {"x3": 1}}


def test_a_gang_that_shrinks_and_gets_a_leader_is_placed_anew() -> None:
    both = placed(workers(1, sits(x3=3)), leader(None))
    assert sum(both["main"].values()) == sum(both["leader"].values()) == 1


def test_growth_that_finds_no_room_is_refused_whole() -> None:
    answer = place(TREE, [replace(workers(9, sits(x3=3)), group=None)], rules=RULES)
    assert isinstance(answer, NotPlaced)
    assert answer.failures["main"].why == "5 of 6 pods fit"
