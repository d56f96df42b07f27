"""Kueue's own tables of the parts: order of domains, assignments and what they use, the three steps of balanced placement."""

from __future__ import annotations

from typing import Any

import pytest

from sliceward.scheduling.tree.ask import Ask, Rules
from sliceward.scheduling.tree.assignment import merged, stale_seat
from sliceward.scheduling.tree.balanced import best_siblings, fewest_domains, place_evenly
from sliceward.scheduling.tree.counting import Count, Survey
from sliceward.scheduling.tree.need import Need, has_levels
from sliceward.scheduling.tree.order import Direction, rank, rank_led
from sliceward.scheduling.tree.suiting import Host, Template
from sliceward.scheduling.tree.tree import LabelTree
from tests.scheduling.golden.objects import assignment_of, count_of, layers_of, tree_of_paths, where_of, written
from tests.scheduling.golden.tables import rows

Object = dict[str, Any]


def direction_of(given: Object) -> Direction:
    fills_holes = given["unconstrained"] and given["feature_gates"]["TASProfileMixed"]
    return Direction(fills_holes=fills_holes, by_liking=given["respect_preferred_affinity"])


@pytest.mark.parametrize(("given", "want"), rows("topology_domain_order"))
def test_domains_are_tried_in_this_order(given: Object, want: Object) -> None:
    ordered = sorted(given["domains"], key=lambda each: (rank(count_of(each), direction_of(given)), tuple(each["values"])))
    assert [each["id"] for each in ordered] == want["order"]


@pytest.mark.parametrize(("given", "want"), rows("topology_domain_order_with_leader"))
def test_domains_are_tried_in_this_order_for_a_leader(given: Object, want: Object) -> None:
    ordered = sorted(given["domains"], key=lambda each: (rank_led(count_of(each), direction_of(given)), tuple(each["values"])))
    assert [each["id"] for each in ordered] == want["order"]


@pytest.mark.parametrize(("given", "want"), rows("topology_domain_compare"))
def test_domains_are_numbered_by_their_paths(given: Object, want: Object) -> None:
    paths = [tuple(given[side]["values"]) for side in "ab"]
    tree = tree_of_paths(given["levels"], sorted(set(paths)))
    one, other = (next(domain.number for domain in tree.domains if domain.path == path) for path in paths)
    assert (one > other) - (one < other) == want["sign"]


@pytest.mark.parametrize(("given", "want"), rows("topology_merge_assignments"))
def test_two_assignments_become_one(given: Object, want: Object) -> None:
    one, other = assignment_of(given["a"]), assignment_of(given["b"])
    levels = given.get("levels") or given["a"]["levels"]
    tree = LabelTree.of(levels, [Host(node["name"], node["labels"], {}) for node in given["nodes"]])
    assert written(merged(tree, one, other)) == want


@pytest.mark.parametrize(("given", "want"), rows("topology_truncate_assignment"))
def test_a_smaller_gang_keeps_its_first_places(given: Object, want: Object) -> None:
    kept = written(assignment_of(given["assignment"]).first(given["pods"]))
    assert kept == {"levels": want["levels"], "domains": want.get("domains") or []}


@pytest.mark.parametrize(("given", "want"), rows("topology_usage_of_assignment"))
def test_an_assignment_takes_room_by_domain(given: Object, want: Object) -> None:
    usage = assignment_of(given["assignment"]).usage(given["requests_per_pod"])
    assert {",".join(values): amounts for values, amounts in usage.items()} == want["usage"]


@pytest.mark.parametrize(("given", "want"), rows("topology_has_level"))
def test_a_tree_has_the_levels_that_are_asked_for(given: Object, want: Object) -> None:
    request = given["topology_request"]
    ask = Ask("main", 1, {}, where_of(request), layers_of(request))
    assert has_levels(LabelTree.of(given["levels"], []), ask) is want["has_level"]


@pytest.mark.parametrize(("given", "want"), rows("topology_stale_assignment"))
def test_a_place_that_is_gone_is_named(given: Object, want: Object) -> None:
    tree = LabelTree.of(given["levels"], [Host(node["name"], node["labels"], {}) for node in given["nodes"]])
    seat = stale_seat(tree, assignment_of({"domains": [{"values": each, "pods": 1} for each in given["assignment"]["domains"]]}))
    assert (seat is not None, seat.values[0] if seat is not None else None) == (want["stale"], want["stale_domain"])


def surveyed(given: Object, levels: list[str], *, pods: int, at: tuple[int, int]) -> Survey:
    """Give a survey with counts as they are told. ``at``: the level asked for and that of the slices."""
    domains, size = given["domains"], given["slice_size"]
    leaves = [each["values"] for each in domains if len(each["values"]) == len(levels)]
    tree = tree_of_paths(levels, leaves)
    told = {tuple(each["values"]): count_of(each) for each in domains}
    counts = [told.get(domain.path, Count()) for domain in tree.domains]
    leader = {"pods": 1} if given["leaders"] else None
    need = Need(pods, {"pods": 1}, leader, *at, size, {}, (), required=False, anywhere=False, template=Template())
    return Survey(tree, need, Rules(balanced=True), counts)


def flat(given: Object, slices: int) -> Survey:
    depth = max(len(each["values"]) for each in given["domains"])
    levels = [f"level-{level}" for level in range(depth)]
    return surveyed(given, levels, pods=slices * given["slice_size"], at=(depth - 1, depth - 1))


@pytest.mark.parametrize(("given", "want"), rows("balanced_select_domains"))
def test_the_fewest_domains_with_the_least_to_spare_are_taken(given: Object, want: Object) -> None:
    seen = flat(given, given["workers"])
    names = {tuple(each["values"]): each["id"] for each in given["domains"]}
    by_evenness = given["prioritise_by_entropy"]
    found = fewest_domains(seen, seen.tree.by_level[-1], given["workers"], by_evenness=by_evenness) or ()
    assert sorted(names[seen.tree.domains[number].path] for number in found) == sorted(want["domains"])


@pytest.mark.parametrize(("given", "want"), rows("balanced_place_slices"))
def test_each_domain_gets_the_threshold_and_the_first_what_is_over(given: Object, want: Object) -> None:
    seen = flat(given, given["slices"])
    names = {tuple(each["values"]): each["id"] for each in given["domains"]}
    placed = place_evenly(seen, seen.tree.by_level[-1], given["slices"], given["threshold"]) or {}
    got = {names[seen.tree.domains[number].path]: count for number, count in placed.items()}
    assert got == {name: count_of(told) for name, told in want["placed"].items()}


@pytest.mark.parametrize(("given", "want"), rows("balanced_find_threshold"))
def test_the_siblings_with_the_highest_threshold_win(given: Object, want: Object) -> None:
    at = given["requested_level"], given["slice_level"]
    best = best_siblings(surveyed(given, given["levels"], pods=given["pods"], at=at))
    got = (best.threshold, len(best.domains)) if best is not None else (0, 0)
    assert got == (want["threshold"], want["domains"])
