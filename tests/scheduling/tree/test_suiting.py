"""Taints, selectors and affinity keep pods away as Kubernetes documents it."""

from __future__ import annotations

import pytest

from sliceward.scheduling.tree.suiting import Host, Liking, Requirement, Taint, Template, Term, Toleration

HOST = Host("x1", {"zone": "a", "size": "4"}, {}, (Taint("tpu", "NoSchedule", "present"),))
BEARS = (Toleration("tpu", "Exists"),)


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        (Toleration("tpu", "Equal", "present"), True),
        (Toleration("tpu", "", "present"), True),
        (Toleration("tpu", "Equal", "absent"), False),
        (Toleration("tpu", "Exists", effect="NoSchedule"), True),
        (Toleration("tpu", "Exists", effect="NoExecute"), False),
        (Toleration("gpu", "Exists"), False),
        (Toleration(operator="Exists"), True),
        (Toleration(), False),
    ],
)
def test_a_toleration_covers_a_taint(toleration: Toleration, covers: bool) -> None:  # noqa: FBT001 (a table's cell)
    assert toleration.covers(HOST.taints[0]) is covers


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (Requirement("zone", "In", ("a", "b")), True),
        (Requirement("zone", "NotIn", ("a",)), False),
        (Requirement("none", "NotIn", ("a",)), True),
        (Requirement("none", "In", ("a",)), False),
        (Requirement("zone", "Exists"), True),
        (Requirement("zone", "DoesNotExist"), False),
        (Requirement("size", "Gt", ("3",)), True),
        (Requirement("size", "Lt", ("3",)), False),
        (Requirement("zone", "Gt", ("3",)), False),
        (Requirement("size", "Gt"), False),
    ],
)
def test_a_requirement_holds(requirement: Requirement, holds: bool) -> None:  # noqa: FBT001 (a table's cell)
    assert requirement.holds(HOST.labels) is holds


def test_the_first_that_keeps_a_pod_away_is_named() -> None:
    elsewhere = (Term((Requirement("zone", "In", ("b",)),)),)
    here = (*elsewhere, Term(fields=(Requirement("metadata.name", "In", ("x1",)),)))
    assert Template().why_not(HOST) == "taint tpu=present:NoSchedule"
    assert Template({"zone": "b"}, BEARS).why_not(HOST) == "selector"
    assert Template({"zone": "a"}, BEARS, elsewhere).why_not(HOST) == "affinity"
    assert Template({"zone": "a"}, BEARS, here).why_not(HOST) is None


def test_an_empty_term_matches_nothing() -> None:
    assert not Term().matches(HOST)
    assert Template(tolerations=BEARS, affinity=()).why_not(HOST) == "affinity"


def test_weights_of_what_is_liked_add_up() -> None:
    zone, size = Term((Requirement("zone", "Exists"),)), Term((Requirement("size", "Exists"),))
    assert Template(likings=(Liking(zone, 10), Liking(size, 1), Liking(Term(), 100))).liking(HOST) == 11
