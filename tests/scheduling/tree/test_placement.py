"""Worked examples of KEP-2724, and refusals that say what is short."""

from __future__ import annotations

import pytest

from sliceward.scheduling.tree.ask import Ask, Layer, Preferred, Required, Rules, Unconstrained
from sliceward.scheduling.tree.placement import NotPlaced, Placed, place
from sliceward.scheduling.tree.suiting import Taint, Template
from sliceward.scheduling.tree.tree import HOSTNAME, LabelTree
from tests.scheduling.tree.builders import CHIP, LEVELS, a_host, a_tree, an_ask, pods_by_host


def flat(*chips: int) -> LabelTree:
    return a_tree({f"b1/r1/x{n}": count for n, count in enumerate(chips)})


def hosts(answer: Placed | NotPlaced) -> dict[str, int]:
    assert isinstance(answer, Placed)
    return pods_by_host(answer.assignments["main"])


def why(answer: Placed | NotPlaced) -> str:
    assert isinstance(answer, NotPlaced)
    return answer.failures["main"].why


def test_best_fit_takes_most_first_and_the_tightest_last() -> None:
    assert hosts(place(flat(3, 3, 2, 1), [an_ask(7, Preferred("rack"))])) == {"x0": 3, "x1": 3, "x3": 1}


def test_least_free_capacity_fills_the_holes_first() -> None:
    assert hosts(place(flat(3, 3, 2, 1), [an_ask(7, Unconstrained())])) == {"x3": 1, "x2": 2, "x0": 3, "x1": 1}


def test_slices_take_whole_hosts_with_the_least_left_over() -> None:
    ask = an_ask(12, Required("block"), Layer(HOSTNAME, 2))
    assert hosts(place(flat(6, 5, 4, 3, 2), [ask])) == {"x0": 6, "x2": 4, "x4": 2}


def test_balance_is_tried_before_best_fit() -> None:
    tree = a_tree({"b1/r1/x1": 5, "b1/r1/x2": 5, "b1/r1/x3": 3})
    ask = an_ask(8, Preferred("rack"))
    assert hosts(place(tree, [ask])) == {"x1": 5, "x3": 3}
    assert hosts(place(tree, [ask], rules=Rules(balanced=True))) == {"x1": 4, "x2": 4}


def test_what_the_first_pod_set_takes_the_second_does_not_get() -> None:
    pair = [Ask(name, 2, {CHIP: 1}, Required("rack")) for name in ("a", "b")]
    answer = place(flat(3), pair)
    assert isinstance(answer, NotPlaced)
    assert set(answer.failures) == {"b"}
    assert set(answer.tried) == {"a"}


def test_what_others_use_is_not_free() -> None:
    tree = flat(3)
    assert why(place(tree, [an_ask(3, Required("rack"))], used={("x0",): {CHIP: 1}})) == "2 of 3 pods fit"


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        pytest.param(an_ask(5, Required("rack")), "4 of 5 pods fit", id="room"),
        pytest.param(an_ask(1), "the pod set names no level of the tree", id="no-level"),
        pytest.param(an_ask(1, Required("row")), "the tree has no level row, asked for by the gang", id="level"),
        pytest.param(
            an_ask(2, Required("rack"), Layer("row", 2)), "the tree has no level row, asked for by the slices", id="slices"
        ),
        pytest.param(
            an_ask(2, Required("rack"), Layer("block", 2)),
            "slices at block lie above rack, which the whole pod set asks for",
            id="slices-above",
        ),
        pytest.param(an_ask(3, Required("block"), Layer("rack", 2)), "3 pods cannot be cut into slices of 2", id="uneven"),
        pytest.param(an_ask(2, Required("block"), Layer("rack", 0)), "slices are asked for without a size", id="no-size"),
        pytest.param(
            an_ask(6, Required("block"), Layer("rack", 6), Layer(HOSTNAME, 4)),
            "slices of 6 at rack cannot be cut into slices of 4",
            id="uneven-inside",
        ),
        pytest.param(
            an_ask(4, Required("block"), Layer("rack", 4), Layer("rack", 2)),
            "inner slices at rack do not lie below rack",
            id="not-inside",
        ),
        pytest.param(
            an_ask(4, Required("block"), Layer("rack", 4), Layer("chip", 2)),
            "the tree has no level chip, asked for by the inner slices",
            id="inside",
        ),
        pytest.param(
            an_ask(8, Required("block"), Layer("rack", 4), Layer(HOSTNAME, 2)),
            f"1 of 2 slices at rack, 2 of 4 slices at {HOSTNAME} fit",
            id="layers",
        ),
    ],
)
def test_a_refusal_says_what_is_short(ask: Ask, told: str) -> None:
    assert why(place(flat(2, 2), [ask])) == told


def test_a_refusal_counts_what_keeps_hosts_out() -> None:
    tainted = a_host("b1/r1/x2", 4)
    away = type(tainted)(tainted.name, tainted.labels, tainted.allocatable, (Taint("lost", "NoSchedule"),))
    tree = LabelTree.of(LEVELS, [a_host("b1/r1/x1", 0), away, a_host("b1/r1/x3", 4)])
    picky = Ask("main", 1, {CHIP: 1}, Required("rack"), template=Template(selector={HOSTNAME: "x1"}))
    assert why(place(tree, [picky])) == (
        "0 of 1 pods fit; of 3 leaves excluded: resource google.com/tpu: 1, selector: 1, taint lost:NoSchedule: 1"
    )


def test_no_usable_host_is_said_as_such() -> None:
    assert why(place(LabelTree.of(LEVELS, []), [an_ask(1, Required("rack"))])) == "no usable host has a domain at level rack"


def tried(answer: Placed | NotPlaced) -> dict[str, dict[str, int]]:
    assert isinstance(answer, NotPlaced)
    return {name: pods_by_host(assignment) for name, assignment in answer.tried.items()}


@pytest.mark.parametrize(
    ("counts", "told", "cut_short"),
    [
        pytest.param((1, 1, 1), "3 pod sets, the smallest of 1 pods", {"a": {"x0": 1}, "b": {"x0": 1}}, id="three"),
        pytest.param((4, 2), "2 pod sets, the smallest of 2 pods", {"a": {"x0": 4}, "b": {"x0": 1}}, id="leader-of-two"),
    ],
)
def test_a_group_that_is_none_is_refused_beside_what_kueue_makes_of_it(
    counts: tuple[int, ...], told: str, cut_short: dict[str, dict[str, int]]
) -> None:
    asks = [Ask(name, count, {CHIP: 1}, Required("rack"), group="g") for name, count in zip("abc", counts, strict=False)]
    answer = place(flat(8), asks)
    assert isinstance(answer, NotPlaced)
    assert {failure.why for failure in answer.failures.values()} == {
        f"group g has {told}; a group is workers and a leader of one pod"
    }
    assert set(answer.failures) == {ask.name for ask in asks}
    assert tried(answer) == cut_short


def test_a_count_that_slices_do_not_divide_is_refused_beside_the_whole_slices_that_kueue_places() -> None:
    answer = place(flat(4, 4), [an_ask(7, Required("rack"), Layer(HOSTNAME, 2))])
    assert why(answer) == "7 pods cannot be cut into slices of 2"
    assert tried(answer) == {"main": {"x0": 4, "x1": 2}}
    assert tried(place(flat(4, 4), [an_ask(1, Required("rack"), Layer(HOSTNAME, 2))])) == {}
    assert tried(place(flat(1), [an_ask(7, Required("rack"), Layer(HOSTNAME, 2))])) == {}
