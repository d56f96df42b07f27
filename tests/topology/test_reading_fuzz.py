"""Whatever stands in an object, reading never raises, and the other objects are read as before."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.topology.reading import read_fleet
from tests.builders import NOW, a_fleet

if TYPE_CHECKING:
    from sliceward.topology.fleet import Fleet

Object = dict[str, Any]
DRAWN = a_fleet().with_cubes(2).with_gang("llm", slices=1).on("cube-0").with_gang("one", kind="Job").on("cube-1").objects()
LISTS: dict[str, list[Object]] = {
    "nodes": list(DRAWN.nodes),
    "pods": list(DRAWN.pods),
    "jobsets": list(DRAWN.jobsets),
    "jobs": list(DRAWN.jobs),
    "slices": [{"metadata": {"name": "s"}, "spec": {"topology": "4x4x4", "partitionIds": ["cube-0"]}}],
    "workloads": [
        {"metadata": {"name": "w", "namespace": "default", "ownerReferences": [{"kind": "Job", "name": "one"}]}},
    ],
}
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["4x4x4", "tpu7x", "-", "99999999999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


def read(lists: dict[str, list[Any]]) -> Fleet:
    extra = {kind: lists.get(kind, []) for kind in ("jobsets", "jobs", "slices", "workloads")}
    return read_fleet(
        "c1",
        nodes=lists["nodes"],
        pods=lists["pods"],
        jobsets=extra["jobsets"],
        jobs=extra["jobs"],
        slices=extra["slices"],
        workloads=extra["workloads"],
        as_of=NOW,
    )


@st.composite
def broken(draw: st.DrawFn) -> tuple[dict[str, list[Any]], str, int]:
    """One object of one kind, with one field somewhere replaced or taken away."""
    kind = draw(st.sampled_from(sorted(LISTS)))
    number = draw(st.integers(0, len(LISTS[kind]) - 1))
    lists = {key: list(values) for key, values in LISTS.items()}
    value = copy.deepcopy(LISTS[kind][number])
    here: Any = value
    while True:
        keys = sorted(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw(st.sampled_from(keys))
        if isinstance(here[key], dict | list) and here[key] and draw(st.booleans()):
            here = here[key]
            continue
        if draw(st.booleans()):
            here[key] = draw(JUNK)
        else:
            del here[key]
        break
    lists[kind][number] = value
    return lists, kind, number


WHOLE = read(LISTS)


@settings(max_examples=400)
@given(broken())
def test_a_broken_object_never_raises_and_leaves_the_others_alone(case: tuple[dict[str, list[Any]], str, int]) -> None:
    lists, kind, number = case
    fleet = read(lists)
    named = LISTS[kind][number]["metadata"]["name"]
    for host in WHOLE.hosts.values():
        if kind != "nodes" or host.id.name != named:
            there = fleet.hosts[host.id]
            assert (there.generation, there.chips, there.ready, there.labels) == (
                host.generation,
                host.chips,
                host.ready,
                host.labels,
            )
    for gang in WHOLE.gangs.values():
        if kind in {"nodes", "slices"} or (kind == "pods" and gang.id.name not in named):
            assert fleet.gangs[gang.id].roles == gang.roles
            assert fleet.gangs[gang.id].members == gang.members
    assert all(p.name and p.about and p.why and p.what_to_do for p in fleet.problems)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(sorted(LISTS)), st.lists(JUNK, max_size=4)))
def test_lists_of_anything_never_raise(lists: dict[str, list[Any]]) -> None:
    full = {"nodes": list[Any](), "pods": list[Any]()} | lists
    fleet = read(full)
    assert fleet.hosts == {}
    assert fleet.gangs == {}


@settings(max_examples=100)
@given(st.sets(st.sampled_from([pod["metadata"]["name"] for pod in DRAWN.pods])))
def test_no_chip_is_held_by_two_gangs_however_pods_come_and_go(gone: set[str]) -> None:
    lists = dict(LISTS) | {"pods": [pod for pod in DRAWN.pods if pod["metadata"]["name"] not in gone]}
    assert all(len(gangs) == 1 for gangs in read(lists).gangs_on.values())
