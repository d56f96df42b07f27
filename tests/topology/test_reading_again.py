"""A cluster that is read again and again gives what a first reading gives, whatever changed in between."""

from __future__ import annotations

import re
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sliceward.topology.ids import HostId
from sliceward.topology.names import NAMES
from sliceward.topology.reading import Reader, read_fleet
from tests.builders import a_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.topology.fleet import Fleet

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Kinds = dict[str, Any]


def drawn() -> Kinds:
    objects = a_fleet().with_cubes(3).with_gang("llm", slices=2).on("cube-0", "cube-1").objects()
    return {
        "nodes": list(objects.nodes),
        "pods": list(objects.pods),
        "jobsets": list(objects.jobsets),
        "jobs": [],
        "workloads": [],
    }


def queued(name: str) -> Any:  # noqa: ANN401 (any JSON)
    """Give Kueue's word that it manages a JobSet."""
    owner = {"kind": "JobSet", "name": name, "controller": True}
    return {"metadata": {"name": f"jobset-{name}", "namespace": "default", "ownerReferences": [owner]}}


def edited(kind: str, edit: Callable[[Any], object]) -> Callable[[Kinds, int], None]:
    """Give a change of one object, in a copy as a mirror makes it."""

    def change(held: Kinds, number: int) -> None:
        if held[kind]:
            place = number % len(held[kind])
            one = deepcopy(held[kind][place])
            with suppress(KeyError, TypeError, AttributeError):  # broken by a change before
                edit(one)
            held[kind][place] = one

    return change


def removed(kind: str) -> Callable[[Kinds, int], None]:
    return lambda held, number: held[kind].pop(number % len(held[kind])) if held[kind] else None


CHANGES: dict[str, Callable[[Kinds, int], object]] = {
    "cordon": edited("nodes", lambda node: node["spec"].update(unschedulable=True)),
    "ready": edited("nodes", lambda node: node["status"].update(conditions=[{"type": "Ready", "status": "False"}])),
    "broken node": edited("nodes", lambda node: node.update(spec=7)),
    "nameless node": edited("nodes", lambda node: node.update(metadata={})),
    "other index": edited("nodes", lambda node: node["metadata"]["labels"].update({NAMES.host_index: "3"})),
    "other cube": edited("nodes", lambda node: node["metadata"]["labels"].update({NAMES.partition_id: "cube-2"})),
    "same again": edited("nodes", dict),
    "node gone": removed("nodes"),
    "pod moved": edited("pods", lambda pod: pod["spec"].update(nodeName="cube-2-host-01")),
    "pod ended": edited("pods", lambda pod: pod["status"].update(phase="Failed")),
    "pod without gang": edited("pods", lambda pod: pod["metadata"].update(labels={})),
    "pod of an impossible gang": edited("pods", lambda pod: pod["metadata"]["labels"].update({NAMES.jobset_name: "-"})),
    "broken pod": edited("pods", lambda pod: pod.update(metadata=7)),
    "pod gone": removed("pods"),
    "gang gone": removed("jobsets"),
    "gang suspended": edited("jobsets", lambda gang: gang["spec"].update(suspend=True)),
    "broken gang": edited("jobsets", lambda gang: gang.update(spec=7)),
    "gang queued": lambda held, number: held["workloads"].append(queued("llm" if number % 2 else "other")),
    "gang queued no more": removed("workloads"),
    "gang back": lambda held, _: held.update(jobsets=drawn()["jobsets"]),
    "all pods anew": lambda held, _: held.update(pods=drawn()["pods"]),
    "two of one name": lambda held, number: held["nodes"].append(held["nodes"][number % len(held["nodes"])]),
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@example(steps=[("broken pod", 1), ("pod gone", 0), ("broken pod", 1)])
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(0, 63)), max_size=8))
def test_reading_again_gives_what_reading_anew_gives(steps: list[tuple[str, int]]) -> None:
    held, reader = drawn(), Reader("c1")
    reader.read(**held, as_of=NOW)
    for name, number in steps:
        CHANGES[name](held, number)
        assert numberless(reader.read(**held, as_of=NOW)) == numberless(read_fleet("c1", **held, as_of=NOW))


def numberless(fleet: Fleet) -> Fleet:
    """Leave out the numbers of nameless objects, which keep the one under which they were met first."""

    def bare(name: str) -> str:
        return re.sub(r"\[\d+\]", "", name)

    named = (replace(problem, about=bare(problem.about)) for problem in fleet.problems)
    strangers = {host: tuple(map(bare, pods)) for host, pods in fleet.strangers.items()}
    return replace(fleet, problems=tuple(named), strangers=strangers)


@pytest.mark.parametrize("told", [[[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], "nonsense", None])
def test_what_chips_report_is_used_when_it_comes_and_dropped_when_it_goes(told: object) -> None:
    held, reader, host = drawn(), Reader("c1"), HostId("c1", "cube-0-host-00")
    for positions in ({}, {host: told}, {host: told}, {host: [[0, 0, 0]]}, {}):
        again = reader.read(**held, as_of=NOW, positions=positions)
        assert again == read_fleet("c1", **held, as_of=NOW, positions=positions)


def test_what_did_not_change_is_the_same_host_as_before() -> None:
    held, reader = drawn(), Reader("c1")
    before = reader.read(**held, as_of=NOW)
    CHANGES["cordon"](held, 20)
    after = reader.read(**held, as_of=NOW)
    changed = [host for host in before.hosts if after.hosts[host] is not before.hosts[host]]
    assert {before.hosts[host].cube for host in changed} == {
        before.hosts[HostId("c1", held["nodes"][20]["metadata"]["name"])].cube
    }
    assert [host.name for host in after.hosts if after.hosts[host].cordoned] == [held["nodes"][20]["metadata"]["name"]]
