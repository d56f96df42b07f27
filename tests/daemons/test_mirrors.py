"""Mirrors of one cluster, taken together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from sliceward.daemons.mirrors import Mirrors
from sliceward.remediations.ports import NODE, POD
from sliceward.topology.names import NAMES
from tests.fakes.cluster import FakeCluster, FakeMirror


@pytest.fixture
def mirrors() -> Mirrors:
    return Mirrors(FakeCluster("c1"), (NODE, POD))


async def test_all_are_kept_fresh_and_tell_of_changes(mirrors: Mirrors) -> None:
    told: list[str] = []
    assert (mirrors.synced, mirrors.age, mirrors.problem) == (False, None, "nodes: not listed yet")
    async with asyncio.TaskGroup() as tasks:
        mirrors.keep(tasks, lambda: told.append("changed"), where="c1")
        await asyncio.sleep(0)
        running = {task.get_name(): task for task in asyncio.all_tasks() if task.get_name().startswith("mirror of ")}
        for task in running.values():
            task.cancel()
    assert sorted(running) == ["mirror of nodes in c1", "mirror of pods in c1"]
    assert (mirrors.synced, mirrors.age, mirrors.problem) == (True, 0.0, "")
    assert told == ["changed", "changed"]


def test_they_are_as_old_as_the_oldest_and_in_step_when_all_are(mirrors: Mirrors) -> None:
    nodes, pods = mirrors.values()
    assert isinstance(pods, FakeMirror)
    nodes.synced = True
    assert (mirrors.synced, mirrors.age) == (False, None)
    pods.synced = True
    nodes.problem, pods.problem, pods.age = "", "the connection broke", 7.0
    assert (mirrors.synced, mirrors.age, mirrors.problem) == (True, 7.0, "pods: the connection broke")


@pytest.mark.parametrize(
    ("spec", "held"),
    [
        ({"containers": [{"resources": {"requests": {"cpu": "1"}}}]}, False),
        ({"containers": [{"resources": {"limits": {NAMES.tpu_resource: "4"}}}]}, True),
        ({"containers": [{}, {"resources": {"requests": {NAMES.tpu_resource: 4}}}]}, True),
        ({"containers": "none"}, True),
    ],
    ids=["no chips", "chips", "one of its containers", "cannot be read"],
)
async def test_of_pods_those_are_held_that_ask_for_chips(spec: Any, *, held: bool) -> None:  # noqa: ANN401 (any JSON)
    cluster = FakeCluster("c1")
    mirrors = Mirrors(cluster, (POD,))
    cluster.put(POD, {"metadata": {"name": "a", "namespace": "ml"}, "spec": spec})
    async with asyncio.TaskGroup() as tasks:
        mirrors.keep(tasks, lambda: None, where="c1")
        await asyncio.sleep(0)
        assert bool(mirrors["pods"].objects) is held
        next(task for task in asyncio.all_tasks() if task.get_name().startswith("mirror of ")).cancel()


def test_without_a_cluster_nothing_is_mirrored_and_nothing_is_missing() -> None:
    nothing = Mirrors(None, (NODE, POD))
    assert not nothing
    assert (nothing.synced, nothing.age, nothing.problem) == (True, 0.0, "")


async def test_what_cannot_be_read_is_told_once_with_its_name_and_counted(mirrors: Mirrors) -> None:
    _, pods = mirrors.values()
    assert isinstance(pods, FakeMirror)
    pods.set_aside["default/odd"] = "ValidationError: Expected `str`"
    assert mirrors.set_aside == {"pods default/odd": "ValidationError: Expected `str`"}
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            mirrors.keep(tasks, lambda: None, where="c1")
            await asyncio.sleep(0)
            for task in asyncio.all_tasks():
                if task.get_name().startswith("mirror of "):
                    task.cancel()
    (line,) = (line for line in lines if line["event"] == "object set aside")
    assert (line["where"], line["log_level"]) == ("c1: pods default/odd", "warning")
    assert line["what_to_do"]
