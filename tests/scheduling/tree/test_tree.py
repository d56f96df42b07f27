"""A tree that cannot be is refused by name, with what to do."""

from __future__ import annotations

import pytest

from sliceward.scheduling.tree.ask import Layer, Required
from sliceward.scheduling.tree.assignment import Assignment, Seat
from sliceward.scheduling.tree.placement import place
from sliceward.scheduling.tree.suiting import Host, Liking, Requirement, Term
from sliceward.scheduling.tree.tree import HOSTNAME, LabelTree, Resident
from sliceward.scheduling.tree.ungating import PodSet
from sliceward.topology.errors import Misconfigured
from tests.scheduling.tree.builders import LEVELS, a_host, a_tree, an_ask

X1 = a_host("b1/r1/x1", 4)


def test_a_host_under_two_parents_is_refused() -> None:
    twin = Host("other", {"block": "b2", "rack": "r1", HOSTNAME: "x1"}, {})
    with pytest.raises(Misconfigured) as told:
        LabelTree.of(LEVELS, [X1, twin])
    assert told.value.where == "host x1"
    assert told.value.why == "stands at b1 > r1 > x1, and other at b2 > r1 > x1 under the same name: a leaf has one parent"
    assert told.value.what_to_do == f"Give each its own label {HOSTNAME}"


@pytest.mark.parametrize(
    ("levels", "hosts", "why"),
    [
        pytest.param((), [], "none: each level needs a label of its own", id="no-level"),
        pytest.param(("rack", "rack"), [], "rack, rack: each level needs a label of its own", id="level-twice"),
        pytest.param(LEVELS, [X1, X1], "is there twice", id="host-twice"),
        pytest.param(LEVELS, [Host("x", {}, {"cpu": float("nan")})], "nan is no whole number", id="nan"),  # type: ignore[dict-item]  # what a caller without types may give
        pytest.param(LEVELS, [Host("x", {}, {"cpu": 1.5})], "1.5 is no whole number", id="float"),  # type: ignore[dict-item]  # what a caller without types may give
        pytest.param(LEVELS, [Host("x", {}, {"cpu": True})], "True is no whole number", id="bool"),
        pytest.param(LEVELS, [Host("x", {}, {"cpu": -1})], "-1 is negative", id="negative"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(levels: tuple[str, ...], hosts: list[Host], why: str) -> None:
    with pytest.raises(Misconfigured, match=why) as told:
        LabelTree.of(levels, hosts)
    assert told.value.what_to_do


def test_what_runs_already_is_counted_with_the_same_care() -> None:
    with pytest.raises(Misconfigured, match="pod a: requests: cpu: -1 is negative"):
        LabelTree.of(LEVELS, [X1], residents=[Resident("a", "x1", {"cpu": -1})])


def test_what_others_use_is_counted_with_the_same_care() -> None:
    with pytest.raises(Misconfigured, match="use of x1: cpu: nan is no whole number"):
        place(a_tree({"b1/r1/x1": 4}), [an_ask(1, Required("rack"))], used={("x1",): {"cpu": float("nan")}})  # type: ignore[dict-item]  # what a caller without types may give


def test_pod_sets_that_cannot_be_are_refused() -> None:
    with pytest.raises(Misconfigured, match=r"preference: weight: 0\.5 is no whole number"):
        Liking(Term(), 0.5)  # type: ignore[arg-type]  # what a caller without types may give
    with pytest.raises(Misconfigured, match="pod set main: count: -1 is below 0"):
        PodSet("main", -1, None, ())
    with pytest.raises(Misconfigured, match="pod set main: count: -1 is below 0"):
        an_ask(-1)
    with pytest.raises(Misconfigured, match=r"pod set main: count: 1\.5 is no whole number"):
        an_ask(1.5)  # type: ignore[arg-type]  # what a caller without types may give
    with pytest.raises(Misconfigured, match="slices at rack: size: -2 is below 0"):
        an_ask(4, Required("block"), Layer("rack", -2))
    with pytest.raises(Misconfigured, match="1 values for 2 levels"):
        Assignment(("rack", "host"), (Seat(("r1",), 1),))
    with pytest.raises(Misconfigured, match="'Near' is no operator"):
        Requirement("zone", "Near")


def test_a_pod_set_that_is_there_twice_is_refused() -> None:
    with pytest.raises(Misconfigured, match="a name is there twice"):
        place(a_tree({"b1/r1/x1": 4}), [an_ask(1), an_ask(1)])


def test_a_host_counts_only_with_all_labels_and_when_it_is_usable() -> None:
    bare = Host("x3", {"block": "b1", HOSTNAME: "x3"}, {})
    tree = LabelTree.of(LEVELS, [X1, a_host("b1/r1/x2", 4, usable=False), bare])
    assert list(tree.leaves) == [("x1",)]


def test_hosts_of_one_rack_are_one_leaf_where_the_rack_is_the_lowest_level() -> None:
    levels = ("block", "rack")
    tree = LabelTree.of(levels, [Host(name, {"block": "b1", "rack": "r1"}, {"cpu": 3}) for name in "ab"])
    assert tree.free == {tree.leaves["b1", "r1"]: {"cpu": 6}}
