"""Kueue says which gang had to go for which; a gang says with how few slices it can do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sliceward.topology.gangs import Preempted
from sliceward.topology.names import NAMES
from sliceward.topology.preempted import preempted
from tests.builders import a_fleet, gang_id

AT = "2026-03-01T08:00:00Z"
THEN = datetime(2026, 3, 1, 8, tzinfo=UTC)
LLM = ("JobSet", "default", "llm")
TEXT = "Preempted to accommodate a workload (UID: w-2, JobUID: {job}) due to prioritization in the ClusterQueue"


def a_workload(name: str, owner: str, *conditions: dict[str, str]) -> dict[str, Any]:
    owners = [{"kind": "JobSet", "name": owner, "uid": f"u-{owner}"}]
    meta = {"name": name, "namespace": "default", "uid": name, "ownerReferences": owners}
    return {"metadata": meta, "status": {"conditions": list(conditions)}}


def gone(text: str, status: str = "True", at: str = AT) -> dict[str, str]:
    return {"type": "Preempted", "status": status, "reason": "InClusterQueue", "message": text, "lastTransitionTime": at}


def test_who_went_is_told_with_the_uid_of_the_other_ones_owner() -> None:
    assert preempted([a_workload("w-1", "llm", gone(TEXT.format(job="u-9")))]) == {LLM: Preempted("u-9", THEN)}


def test_the_workload_of_the_other_tells_its_owner_too() -> None:
    those = [a_workload("w-1", "llm", gone(TEXT.format(job="UNKNOWN"))), a_workload("w-2", "other")]
    assert preempted(those) == {LLM: Preempted("u-other", THEN)}


@pytest.mark.parametrize(
    "condition",
    [
        gone(TEXT.format(job="u-9"), status="False"),
        gone("Preempted by nobody in particular"),
        gone(TEXT.format(job="u-9"), at="yesterday"),
        gone(TEXT.format(job="u-9"), at="2026-03-01T08:00:00"),
        gone(TEXT.format(job="u-9")) | {"type": "Evicted"},
    ],
    ids=["admitted again", "no uid", "no time", "no zone", "another condition"],
)
def test_what_does_not_say_it_is_left_out(condition: dict[str, str]) -> None:
    assert preempted([a_workload("w-1", "llm", condition)]) == {}


def test_a_workload_that_cannot_be_read_or_is_nobodys_says_nothing() -> None:
    well = a_workload("w-1", "llm", gone(TEXT.format(job="u-9")))
    assert list(preempted([{"metadata": 3}, {"metadata": {"name": "x"}}, well])) == [LLM]


def test_a_gang_that_was_read_knows_that_it_had_to_go() -> None:
    fleet = a_fleet().with_gang("llm").waiting().with_gang("small").on("cube-0")
    read = fleet.build(workloads=[a_workload("w-1", "llm", gone(TEXT.format(job="u-9")))])
    assert read.gangs[gang_id("llm")].preempted == Preempted("u-9", THEN)
    assert read.gangs[gang_id("small")].preempted is None


@pytest.mark.parametrize(("told", "fewest"), [("1", 1), ("2", 2), ("3", 0), ("0", 0), ("4", 0), ("some", 0), ("-1", 0)])
def test_with_how_few_slices_a_gang_can_do(told: str, fewest: int) -> None:
    def elastic(jobset: Any) -> None:  # noqa: ANN401 (an object of the cluster)
        jobset["metadata"].setdefault("annotations", {})[NAMES.fewest_slices] = told

    fleet = a_fleet().with_gang("llm", slices=3).waiting().gang_edited("llm", elastic).build()
    assert fleet.gangs[gang_id("llm")].fewest == fewest
    assert bool(fleet.problems) == (told not in ("1", "2", "3"))
