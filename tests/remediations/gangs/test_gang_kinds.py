"""One contract for all kinds of gangs, and what is special to each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.gangs.kind import SUSPENDED_BY, Suspension, noted, selector_of, tolerated
from tests.builders import a_fleet
from tests.fakes.cluster import merged
from tests.fakes.selectors import fits_labels

if TYPE_CHECKING:
    from sliceward.remediations.ports import Object

SLICES = {"JobSet": 2, "Job": 1}


def _drawn(kind: str) -> tuple[Object, list[Object]]:
    cubes = ("cube-0", "cube-1")[: SLICES[kind]]
    gang = a_fleet().with_gang("llm", kind=kind, slices=SLICES[kind]).on(*cubes)
    objects = gang.with_gang("other", kind=kind).on("cube-2").objects()
    owners = [*objects.jobsets, *objects.jobs]
    (owner,) = [one for one in owners if one["metadata"]["name"] == "llm" and not one["metadata"].get("ownerReferences")]
    owner["metadata"]["resourceVersion"] = "7"
    return owner, list(objects.pods)


kinds = pytest.mark.parametrize("kind", SLICES)


@kinds
def test_the_selector_finds_all_pods_of_the_gang_and_no_others(kind: str) -> None:
    _, pods = _drawn(kind)
    selector = GANG_KINDS[kind].pods("llm")
    found = [pod for pod in pods if fits_labels(selector, pod["metadata"]["labels"])]
    assert len(found) == 16 * SLICES[kind]
    assert all(pod["metadata"]["name"].startswith("llm-") for pod in found)


@kinds
def test_the_pods_that_run_are_the_slices_that_are_wanted(kind: str) -> None:
    owner, pods = _drawn(kind)
    mine = [GANG_KINDS[kind].place_of(pod) for pod in pods if pod["metadata"]["name"].startswith("llm-")]
    wanted = GANG_KINDS[kind].wanted(owner)
    assert {(piece.role, piece.index): piece.pods for piece in wanted} == {place: mine.count(place) for place in mine}
    assert all(piece.tpu for piece in wanted)


@kinds
def test_suspending_and_resuming_leaves_the_spec_as_it_was(kind: str) -> None:
    owner, _ = _drawn(kind)
    gang = GANG_KINDS[kind]
    suspended = merged(owner, gang.suspend(owner, {SUSPENDED_BY: "inc-1"}))
    assert gang.suspension(suspended) is Suspension.ASKED
    assert noted(suspended, SUSPENDED_BY) == "inc-1"
    told = merged(suspended, {"status": {"conditions": [{"type": "Suspended", "status": "True"}]}})
    assert gang.suspension(told) is Suspension.DONE
    resumed = merged(told, gang.resume(told, {SUSPENDED_BY: None}))
    assert gang.suspension(resumed) is Suspension.NOT
    assert {**resumed["spec"], "suspend": False} == {**owner["spec"], "suspend": False}
    assert noted(resumed, SUSPENDED_BY) == ""


@kinds
def test_a_selected_label_is_added_to_what_the_templates_select_and_nothing_else_changes(kind: str) -> None:
    owner, _ = _drawn(kind)
    gang = GANG_KINDS[kind]
    patch = gang.select(owner, "sliceward.dev/gang", "key")
    assert patch["metadata"] == {"resourceVersion": "7"}
    changed = merged(owner, patch)
    for before, after in zip(gang.templates(owner), gang.templates(changed), strict=True):
        assert selector_of(after) == {**selector_of(before), "sliceward.dev/gang": "key"}
        after["spec"]["nodeSelector"] = before["spec"]["nodeSelector"]
    assert changed["spec"] == owner["spec"]


@kinds
@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ({}, ""),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, "failed"),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, ""),
        ({"conditions": [{"type": "FailureTarget", "status": "True"}]}, ""),
    ],
)
def test_how_a_gang_ended(kind: str, status: Object, ended: str) -> None:
    owner, _ = _drawn(kind)
    assert GANG_KINDS[kind].ended(owner | {"status": status}) == ended


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("JobSet", {"terminalState": "Completed"}),
        ("JobSet", {"conditions": [{"type": "Completed", "status": "True"}]}),
        ("Job", {"conditions": [{"type": "Complete", "status": "True"}]}),
    ],
)
def test_how_a_gang_finished(kind: str, status: Object) -> None:
    owner, _ = _drawn(kind)
    assert GANG_KINDS[kind].ended(owner | {"status": status}) == "finished"


@kinds
def test_templates_tell_what_they_tolerate(kind: str) -> None:
    owner, _ = _drawn(kind)
    assert all(tolerated(template) == {"google.com/tpu"} for template in GANG_KINDS[kind].templates(owner))
