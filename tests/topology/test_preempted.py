"""Kueue says which gang had to go for which; a gang says with how few slices it can do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sliceward.topology.gangs import Preempted
from sliceward.topology.names import NAMES
from sliceward.topology.preempted import SKEW, preempted
from sliceward.topology.problems import Desk
from sliceward.topology.reading import Reader
from tests.builders import a_fleet, gang_id

AT = "2026-03-01T08:00:00Z"
THEN = datetime(2026, 3, 1, 8, tzinfo=UTC)
LLM = ("JobSet", "default", "llm")
TEXT = "Preempted to accommodate a workload (UID: w-2, JobUID: {job}) due to prioritization in the ClusterQueue"


def a_desk() -> Desk:
    return Desk("c1", NAMES)


def a_workload(name: str, owner: str, *conditions: dict[str, str]) -> dict[str, Any]:
    owners = [{"kind": "JobSet", "name": owner, "uid": f"u-{owner}"}]
    meta = {"name": name, "namespace": "default", "uid": name, "ownerReferences": owners}
    return {"metadata": meta, "status": {"conditions": list(conditions)}}


def gone(text: str, status: str = "True", at: str = AT) -> dict[str, str]:
    return {"type": "Preempted", "status": status, "reason": "InClusterQueue", "message": text, "lastTransitionTime": at}


def test_who_went_is_told_with_the_uid_of_the_other_ones_owner() -> None:
    assert preempted(a_desk(), [a_workload("w-1", "llm", gone(TEXT.format(job="u-9")))]) == {LLM: Preempted("u-9", THEN)}


def test_the_workload_of_the_other_tells_its_owner_too() -> None:
    those = [a_workload("w-1", "llm", gone(TEXT.format(job="UNKNOWN"))), a_workload("w-2", "other")]
    assert preempted(a_desk(), those) == {LLM: Preempted("u-other", THEN)}


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
    assert preempted(a_desk(), [a_workload("w-1", "llm", condition)]) == {}


def test_a_workload_that_cannot_be_read_or_is_nobodys_says_nothing() -> None:
    well = a_workload("w-1", "llm", gone(TEXT.format(job="u-9")))
    assert list(preempted(a_desk(), [{"metadata": 3}, {"metadata": {"name": "x"}}, well])) == [LLM]


def test_a_gang_that_was_read_knows_that_it_had_to_go() -> None:
    fleet = a_fleet().with_gang("llm").waiting().with_gang("small").on("cube-0")
    read = fleet.build(workloads=[a_workload("w-1", "llm", gone(TEXT.format(job="u-9")))])
    assert read.gangs[gang_id("llm")].preempted == Preempted("u-9", THEN)
    assert read.gangs[gang_id("small")].preempted is None


def test_a_time_is_given_in_utc() -> None:
    (told,) = preempted(
        a_desk(), [a_workload("w-1", "llm", gone(TEXT.format(job="u-9"), at="2026-02-28T18:00:00-14:00"))]
    ).values()
    assert told.at == THEN
    assert told.at.tzinfo is UTC


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"])
def test_a_time_that_utc_does_not_have_or_that_is_to_come_is_a_problem_and_no_preemption(at: str) -> None:
    fleet = a_fleet().with_gang("llm").waiting().with_gang("small").waiting()
    well = a_workload("w-3", "small", gone(TEXT.format(job="u-9")))
    read = fleet.build(workloads=[a_workload("w-1", "llm", gone(TEXT.format(job="u-9"), at=at)), well])
    assert read.gangs[gang_id("llm")].preempted is None
    assert read.gangs[gang_id("small")].preempted == Preempted("u-9", THEN)
    (problem,) = read.problems
    assert (problem.name, problem.about) == ("ContradictoryTime", str(gang_id("llm")))
    assert at[:4] in problem.why


def test_a_clock_that_is_a_little_ahead_is_believed_and_one_further_ahead_once_its_time_came() -> None:
    reader = Reader("c1")
    objects = a_fleet().with_gang("llm").waiting().objects()
    workloads = [a_workload("w-1", "llm", gone(TEXT.format(job="u-9")))]

    def preempted_at(as_of: datetime) -> tuple[Preempted | None, int]:
        read = reader.read(nodes=objects.nodes, pods=(), jobsets=objects.jobsets, workloads=workloads, as_of=as_of)
        return read.gangs[gang_id("llm")].preempted, len(read.problems)

    assert preempted_at(THEN - SKEW - timedelta(seconds=1)) == (None, 1)
    assert preempted_at(THEN - SKEW) == (Preempted("u-9", THEN), 0)


@pytest.mark.parametrize(("told", "fewest"), [("1", 1), ("2", 2), ("3", 0), ("0", 0), ("4", 0), ("some", 0), ("-1", 0)])
def test_with_how_few_slices_a_gang_can_do(told: str, fewest: int) -> None:
    def elastic(jobset: Any) -> None:  # noqa: ANN401 (an object of the cluster)
        jobset["metadata"].setdefault("annotations", {})[NAMES.fewest_slices] = told

    fleet = a_fleet().with_gang("llm", slices=3).waiting().gang_edited("llm", elastic).build()
    assert fleet.gangs[gang_id("llm")].fewest == fewest
    assert bool(fleet.problems) == (told not in ("1", "2", "3"))
