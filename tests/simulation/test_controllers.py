"""Gangs on the emulated cluster, in fast real time: what was measured on the real one happens here, traps included."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.simulation import controllers
from sliceward.simulation.controllers.client import JOBSETS, NODES, PODS, Refusal, connect
from sliceward.simulation.controllers.times import MEASURED
from sliceward.simulation.kube.server import running_api
from tests.simulation.gangs import Cloud, condition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FAST = MEASURED.faster(25)


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with running_api() as api, controllers.run(api.url, times=FAST), connect(api.url) as client:
        found = Cloud(client)
        await found.nodes()
        yield found


async def test_a_gang_is_placed_whole_one_pool_for_each_slice(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    pools = await cloud.pools()
    assert [len(of) for of in pools.values()] == [1, 1]
    assert pools["0"] != pools["1"]


async def test_pods_carry_what_readers_ask_for(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    pod = next(of for of in await cloud.pods() if of["metadata"]["name"].startswith("gang-slice-1-3-"))
    labels = pod["metadata"]["labels"]
    assert labels["jobset.sigs.k8s.io/jobset-name"] == "gang"
    assert labels["jobset.sigs.k8s.io/replicatedjob-name"] == "slice"
    assert labels["jobset.sigs.k8s.io/replicatedjob-replicas"] == "2"
    assert labels["jobset.sigs.k8s.io/job-index"] == "1"
    assert labels["jobset.sigs.k8s.io/restart-attempt"] == "0"
    assert labels["batch.kubernetes.io/job-name"] == "gang-slice-1"
    assert labels["batch.kubernetes.io/job-completion-index"] == "3"
    assert pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == "3"
    assert pod["spec"]["hostname"] == "gang-slice-1-3"


async def test_a_gang_moves_whole_by_marking_the_pool_and_suspending(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    jobs = {job["metadata"]["name"]: job["metadata"]["uid"] for job in await cloud.jobs()}
    before = await cloud.pools()
    await cloud.taint(min(before["0"]))
    await cloud.suspend(suspend=True)
    await cloud.until(cloud.none_left)
    gang = await cloud.jobset()
    assert condition(gang, "Suspended")["status"] == "True"
    await cloud.suspend(suspend=False)
    await cloud.until(cloud.ready)
    after = await cloud.pools()
    assert min(before["0"]) not in {pool for of in after.values() for pool in of}
    assert [len(of) for of in after.values()] == [1, 1]
    gang = await cloud.jobset()
    assert gang["status"].get("restarts", 0) == 0
    assert condition(gang, "Suspended") == condition(gang, "Suspended") | {"status": "False", "reason": "ResumeJobs"}
    assert {job["metadata"]["name"]: job["metadata"]["uid"] for job in await cloud.jobs()} == jobs


async def test_a_template_changed_while_suspended_rules_after_the_resume(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    await cloud.suspend(suspend=True)
    await cloud.until(cloud.none_left)
    for pool in ("pool-2", "pool-3"):
        for host in range(cloud.hosts):
            await cloud.label(f"{pool}-host-{host:02}", **{"sliceward.dev/gang": "g1"})
    gang = await cloud.jobset()
    replicated = gang["spec"]["replicatedJobs"]
    replicated[0]["template"]["spec"]["template"]["spec"]["nodeSelector"] = {"sliceward.dev/gang": "g1"}
    await cloud.client.patch(JOBSETS, gang, {"spec": {"replicatedJobs": replicated}})
    assert all("nodeSelector" not in job["spec"]["template"]["spec"] for job in await cloud.jobs())
    await cloud.suspend(suspend=False)
    await cloud.until(cloud.ready)
    assert await cloud.pools() in ({"0": {"pool-2"}, "1": {"pool-3"}}, {"0": {"pool-3"}, "1": {"pool-2"}})
    assert all(job["spec"]["template"]["spec"]["nodeSelector"] == {"sliceward.dev/gang": "g1"} for job in await cloud.jobs())


async def test_a_running_gang_takes_no_other_template(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    gang = await cloud.jobset()
    replicated = gang["spec"]["replicatedJobs"]
    replicated[0]["template"]["spec"]["template"]["spec"]["nodeSelector"] = {"a": "b"}
    with pytest.raises(Refusal, match="422"):
        await cloud.client.patch(JOBSETS, gang, {"spec": {"replicatedJobs": replicated}})
    with pytest.raises(Refusal, match="422"):
        await cloud.client.patch(JOBSETS, gang, {"spec": {"failurePolicy": {"maxRestarts": 11}}})


async def test_one_host_tainted_noexecute_restarts_the_gang_into_the_same_trap(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    pool = min((await cloud.pools())["0"])
    await cloud.taint(pool, "NoExecute", hosts=1)
    await cloud.until(cloud.trapped)
    await asyncio.sleep(0.3)
    assert await cloud.trapped()
    gang = await cloud.jobset()
    assert condition(gang, "RestartingJobSet") == condition(gang, "RestartingJobSet") | {
        "status": "True",
        "reason": "DefaultFailurePolicy",
    }
    assert (await cloud.pools())["0"] == {pool}


async def test_a_failed_pod_restarts_the_whole_gang(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    uids = {pod["metadata"]["uid"] for pod in await cloud.pods()}
    pod = (await cloud.pods())[-1]
    await cloud.client.patch(PODS, pod, {"status": {"phase": "Failed"}}, door="status")

    async def restarted() -> bool:
        return (await cloud.jobset())["status"].get("restarts") == 1 and await cloud.ready()

    await cloud.until(restarted)
    pods = await cloud.pods()
    assert not uids & {of["metadata"]["uid"] for of in pods}
    assert {of["metadata"]["labels"]["jobset.sigs.k8s.io/restart-attempt"] for of in pods} == {"1"}

    async def settled() -> bool:
        return condition(await cloud.jobset(), "RestartingJobSet").get("reason") == "JobsReady"

    await cloud.until(settled)


async def test_the_last_restart_is_the_last(cloud: Cloud) -> None:
    await cloud.gang(max_restarts=0)
    await cloud.until(cloud.ready)
    await cloud.client.patch(PODS, (await cloud.pods())[0], {"status": {"phase": "Failed"}}, door="status")

    async def failed() -> bool:
        return bool((await cloud.jobset())["status"].get("terminalState") == "Failed")

    await cloud.until(failed)
    assert condition(await cloud.jobset(), "Failed")["reason"] == "ReachedMaxRestarts"


async def test_a_dead_kubelet_freezes_its_pod_until_that_is_forced_away(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    pod = next(of for of in await cloud.pods() if of["metadata"]["name"].startswith("gang-slice-0-2-"))
    host = pod["spec"]["nodeName"]
    await cloud.label(host, kubelet="dead")
    await cloud.taint(host.rpartition("-host-")[0])
    await cloud.suspend(suspend=True)
    await cloud.until(lambda: cloud.only_left(pod))
    await asyncio.sleep(FAST.pod_ends.total_seconds() * 4)
    assert await cloud.only_left(pod)
    await cloud.client.delete(PODS, pod, gracePeriodSeconds=0)
    await cloud.until(cloud.none_left)
    await cloud.suspend(suspend=False)
    await cloud.until(cloud.ready)
    assert (await cloud.jobset())["status"].get("restarts", 0) == 0


async def test_a_silent_node_becomes_unknown_and_tainted_and_comes_back(cloud: Cloud) -> None:
    async def is_ready(status: str) -> bool:
        node = await cloud.client.call("GET", NODES.path(name="pool-0-host-00"))
        taints = {(of["key"], of["effect"]) for of in node["spec"]["taints"]}
        lost = ("node.kubernetes.io/unreachable", "NoExecute") in taints
        return bool(condition(node, "Ready").get("status") == status and lost == (status == "Unknown"))

    await cloud.until(lambda: is_ready("True"))
    await cloud.label("pool-0-host-00", kubelet="dead")
    await cloud.until(lambda: is_ready("Unknown"))
    await cloud.label("pool-0-host-00", kubelet=None)
    await cloud.until(lambda: is_ready("True"))


async def test_pods_of_a_node_that_was_taken_for_lost_are_ready_again_when_its_kubelet_is_back(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    uids = {pod["metadata"]["uid"] for pod in await cloud.pods()}
    host = (await cloud.pods())[0]["spec"]["nodeName"]

    async def all_ready() -> bool:
        return all(condition(pod, "Ready").get("status") == "True" for pod in await cloud.pods())

    async def some_unready() -> bool:
        return not await all_ready()

    await cloud.label(host, kubelet="dead")
    await cloud.until(some_unready)
    await cloud.label(host, kubelet=None)
    await cloud.until(all_ready)
    assert {pod["metadata"]["uid"] for pod in await cloud.pods()} == uids


async def test_a_cordon_is_seen_as_a_taint_and_moves_nothing(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    uids = {pod["metadata"]["uid"] for pod in await cloud.pods()}
    node = await cloud.client.call("GET", NODES.path(name="pool-0-host-00"))
    await cloud.client.patch(NODES, node, {"spec": {"unschedulable": True}})

    async def tainted() -> bool:
        now = await cloud.client.call("GET", NODES.path(name="pool-0-host-00"))
        return any(of["key"] == "node.kubernetes.io/unschedulable" for of in now["spec"]["taints"])

    await cloud.until(tainted)
    assert {pod["metadata"]["uid"] for pod in await cloud.pods()} == uids


async def test_pods_of_a_deleted_node_are_collected(cloud: Cloud) -> None:
    await cloud.gang(slices=1)
    await cloud.until(cloud.ready)
    pod = (await cloud.pods())[0]
    await cloud.client.call("DELETE", NODES.path(name=pod["spec"]["nodeName"]))

    async def replaced() -> bool:
        return pod["metadata"]["uid"] not in {of["metadata"]["uid"] for of in await cloud.pods()}

    await cloud.until(replaced)


async def test_a_second_gang_finds_its_own_pools_or_waits(cloud: Cloud) -> None:
    await cloud.gang("one")
    await cloud.gang("two", slices=1)
    await cloud.until(lambda: cloud.ready("one"))
    await cloud.until(lambda: cloud.ready("two"))
    one, two = await cloud.pools("one"), await cloud.pools("two")
    assert not set().union(*one.values()) & set().union(*two.values())


async def test_a_deleted_jobset_takes_jobs_and_pods_with_it(cloud: Cloud) -> None:
    await cloud.gang()
    await cloud.until(cloud.ready)
    await cloud.client.delete(JOBSETS, await cloud.jobset())
    await cloud.until(cloud.none_left)
    assert await cloud.jobs() == []


def test_times_are_divided_together() -> None:
    assert MEASURED.faster(2).pod_ends == timedelta(seconds=1)
    assert MEASURED.faster(2).toleration_scale == 0.5
