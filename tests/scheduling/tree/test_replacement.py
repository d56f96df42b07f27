"""A lost host's pods go where the gang's request allows, and nobody else moves."""

from __future__ import annotations

from sliceward.scheduling.tree.ask import Ask, Layer, Required, Rules, Unconstrained
from sliceward.scheduling.tree.assignment import Assignment, Seat
from sliceward.scheduling.tree.placement import NotPlaced, Placed
from sliceward.scheduling.tree.replacement import Running, replace_hosts
from sliceward.scheduling.tree.tree import HOSTNAME, LabelTree
from tests.scheduling.tree.builders import a_tree, an_ask, pods_by_host

TWO_RACKS = {"b1/r1/x1": 2, "b1/r1/x2": 2, "b1/r1/x3": 2, "b1/r2/x4": 2, "b1/r2/x5": 2, "b2/r3/x6": 2}


def sits(**pods: int) -> Assignment:
    return Assignment((HOSTNAME,), tuple(Seat((host,), count) for host, count in pods.items()))


def moved(ask: Ask, before: Assignment, *lost: str, tree: LabelTree | None = None) -> dict[str, int] | str:
    ground = tree or a_tree(TWO_RACKS, sick=frozenset(lost))
    stays = before
    for host in lost:
        stays = stays.without(host)
    answer = replace_hosts(ground, [ask], Running({"main": before}, lost), used=stays.usage(ask.requests))
    return pods_by_host(answer.assignments["main"]) if isinstance(answer, Placed) else answer.failures["main"].why


def test_required_stays_in_its_domain() -> None:
    assert moved(an_ask(4, Required("rack")), sits(x1=2, x2=2), "x1") == {"x2": 2, "x3": 2}
    assert moved(an_ask(4, Required("rack")), sits(x4=2, x5=2), "x4") == (
        "0 of 2 pods fit; of 5 leaves excluded: outside the domain: 4, resource google.com/tpu: 1"
    )


def test_a_torn_slice_is_mended_where_it_is() -> None:
    ask = an_ask(8, Required("block"), Layer("rack", 4))
    assert moved(ask, sits(x1=2, x2=2, x4=2, x5=2), "x1") == {"x2": 2, "x3": 2, "x4": 2, "x5": 2}
    assert "0 of 2 pods fit" in moved(ask, sits(x1=2, x2=2, x4=2, x5=2), "x5")


def test_slices_without_a_level_of_the_whole_are_mended_too() -> None:
    assert moved(an_ask(4, None, Layer("rack", 4)), sits(x1=2, x2=2), "x1") == {"x2": 2, "x3": 2}


def test_a_slice_that_is_lost_whole_may_go_elsewhere() -> None:
    assert moved(an_ask(4, Unconstrained(), Layer(HOSTNAME, 2)), sits(x1=2, x4=2), "x1") == {"x4": 2, "x6": 2}


def test_several_hosts_are_replaced_at_once() -> None:
    assert moved(an_ask(4, Required("block")), sits(x1=2, x2=2), "x1", "x2") == {"x4": 2, "x5": 2}
    assert moved(an_ask(6, Required("block")), sits(x1=2, x2=2, x3=2), "x1", "x2") == {"x3": 2, "x4": 2, "x5": 2}
    torn = {"b1/r1/x1": 2, "b1/r1/x2": 2, "b1/r1/x3": 2, "b1/r2/x4": 2, "b1/r2/x5": 2, "b1/r2/x6": 2}
    slices, before = an_ask(8, Required("block"), Layer("rack", 4)), sits(x1=2, x2=2, x4=2, x5=2)
    tree = a_tree(torn, sick=frozenset({"x1", "x4"}))
    assert moved(slices, before, "x1", "x4", tree=tree) == {"x2": 2, "x3": 2, "x5": 2, "x6": 2}


def test_a_host_that_holds_none_of_the_pods_changes_nothing() -> None:
    assert moved(an_ask(4, Required("rack")), sits(x1=2, x2=2), "x6") == {"x1": 2, "x2": 2}


def test_pods_that_would_stay_on_another_lost_host_are_named() -> None:
    tree = a_tree(TWO_RACKS, sick=frozenset({"x1", "x2"}))
    told = moved(an_ask(4, Required("rack")), sits(x1=2, x2=2), "x1", tree=tree)
    assert told == "pods that would stay sit in x2, which is gone too"


def test_a_lone_pod_stays_for_nothing_could_follow_it() -> None:
    tree, ask, before = a_tree(TWO_RACKS, sick=frozenset({"x1"})), an_ask(1, Required("rack")), sits(x1=1)
    running = Running({"main": before}, ("x1",), lone_pod=True)
    kept = replace_hosts(tree, [ask], running)
    assert isinstance(kept, Placed)
    assert kept.assignments == {"main": before}
    gone = replace_hosts(tree, [ask], running, rules=Rules(keep_lone_pods=False))
    assert isinstance(gone, Placed)
    assert pods_by_host(gone.assignments["main"]) == {"x6": 1}


def test_slices_that_cannot_be_made_whole_again_are_refused() -> None:
    answer = replace_hosts(
        a_tree(TWO_RACKS, sick=frozenset({"x1"})),
        [an_ask(4, Required("block"), Layer("rack", 4))],
        Running({"main": sits(x1=1, x2=1, x4=2)}, ("x1",)),
    )
    assert isinstance(answer, NotPlaced)
    assert answer.failures["main"].why == "1 pods cannot be cut into slices of 4"


def test_a_pod_set_without_places_has_none_to_replace() -> None:
    ask, other = an_ask(4, Required("rack")), Ask("other", 1, {}, Required("rack"))
    answer = replace_hosts(a_tree(TWO_RACKS), [other, ask], Running({"main": sits(x1=2, x2=2)}, ("x1",)))
    assert isinstance(answer, Placed)
    assert set(answer.assignments) == {"main"}


def test_slices_of_a_level_that_the_tree_has_not_are_refused() -> None:
    told = moved(an_ask(4, Required("block"), Layer("row", 4)), sits(x1=2, x2=2), "x1")
    assert told == "the tree has no level row, asked for by the slices"
