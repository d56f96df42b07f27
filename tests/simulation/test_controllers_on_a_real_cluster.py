"""The JobSet controller on a real control plane, with the real Job controller and scheduler: the same recipe, the same trap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.simulation import controllers
from sliceward.simulation.controllers.client import JOBS, JOBSETS, NODES, PODS, connect
from tests.services import servers
from tests.simulation.gangs import Cloud, condition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def gang_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A control plane of our own: its nodes are ours alone, so that placement can be told exactly."""
    with servers.control_plane(tmp_path_factory.mktemp("gang-control-plane")) as kubeconfig:
        yield kubeconfig


@pytest.fixture
async def cloud(gang_control_plane: Path) -> AsyncIterator[Cloud]:
    async with controllers.run(gang_control_plane, which=("jobsets",)), connect(gang_control_plane) as client:
        found = Cloud(client, patience=60)
        await found.nodes()
        try:
            yield found
        finally:
            for jobset in (await client.call("GET", JOBSETS.path("default")))["items"]:
                await client.delete(JOBSETS, jobset)
            for job in await found.jobs():
                # The real collector learns of a new kind within 30 s: until then nothing owned by a JobSet is collected.
                await client.delete(JOBS, job, propagationPolicy="Background")
            await client.call("DELETE", NODES.path())
            for pod in (await client.call("GET", PODS.path("default")))["items"]:
                await found.force_away(pod)
            await found.until(lambda: _empty(found))


async def _empty(cloud: Cloud) -> bool:
    return not await cloud.jobs() and not (await cloud.client.call("GET", PODS.path("default")))["items"]


async def test_the_recipe_moves_a_gang_whole(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    jobs = {job["metadata"]["name"]: job["metadata"]["uid"] for job in await cloud.jobs()}
    before = await cloud.pools()
    assert [len(of) for of in before.values()] == [1, 1]
    sick = min(before["0"])
    await cloud.taint(sick)
    await cloud.suspend(suspend=True)
    await cloud.until(cloud.none_left)
    healthy = [f"pool-{at}" for at in range(4) if f"pool-{at}" != sick][:2]
    for pool in healthy:
        for host in range(cloud.hosts):
            await cloud.label(f"{pool}-host-{host:02}", **{"sliceward.dev/gang": "g1"})
    gang = await cloud.jobset()
    replicated = gang["spec"]["replicatedJobs"]
    replicated[0]["template"]["spec"]["template"]["spec"]["nodeSelector"] = {"sliceward.dev/gang": "g1"}
    await cloud.client.patch(JOBSETS, gang, {"spec": {"replicatedJobs": replicated, "suspend": False}})
    await cloud.until(cloud.ready)
    after = await cloud.pools()
    assert [len(of) for of in after.values()] == [1, 1]
    assert sorted(pool for of in after.values() for pool in of) == healthy
    gang = await cloud.jobset()
    assert gang["status"].get("restarts", 0) == 0
    assert condition(gang, "Suspended")["reason"] == "ResumeJobs"
    assert {job["metadata"]["name"]: job["metadata"]["uid"] for job in await cloud.jobs()} == jobs


async def test_a_dead_kubelet_freezes_its_pod_until_that_is_forced_away(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    pod = (await cloud.pods())[0]
    await cloud.label(pod["spec"]["nodeName"], kubelet="dead")
    await cloud.suspend(suspend=True)
    await cloud.until(lambda: cloud.only_left(pod))
    await cloud.client.delete(PODS, pod, gracePeriodSeconds=0)
    await cloud.until(cloud.none_left)


async def test_one_host_tainted_noexecute_restarts_the_gang_into_the_same_trap(cloud: Cloud) -> None:
    """With no other pool free the restarted slice has one host too few and waits without end."""
    await cloud.taint("pool-2")
    await cloud.taint("pool-3")
    await cloud.gang()
    await cloud.until(cloud.ready)
    pool = min((await cloud.pools())["0"])
    await cloud.taint(pool, "NoExecute", hosts=1)
    await cloud.until(cloud.trapped)
    assert condition(await cloud.jobset(), "RestartingJobSet")["status"] == "True"
