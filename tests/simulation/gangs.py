"""A fleet of four cubes and a gang of two slices on an API server, for tests of the controllers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sliceward.simulation.controllers.client import JOBS, JOBSETS, NODES, PODS, Client, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Json = dict[str, Any]

POOL = "cloud.google.com/gke-nodepool"
EXCLUSIVE = "alpha.jobset.sigs.k8s.io/exclusive-topology"
TPU = "google.com/tpu"


@dataclass(slots=True)
class Cloud:
    """What a test does to the cluster, and how it looks at it. ``patience`` in seconds bounds each wait."""

    client: Client
    patience: float = 30.0
    namespace: str = "default"
    hosts: int = 4

    async def nodes(self, pools: int = 4) -> None:
        """Create pools of hosts of one chip count, as kubelets would."""
        for pool in range(pools):
            for host in range(self.hosts):
                await self.client.create(NODES, self._node(f"pool-{pool}", host))

    def _node(self, pool: str, host: int) -> Json:
        name = f"{pool}-host-{host:02}"
        labels = {POOL: pool, "kubernetes.io/hostname": name, "type": "kwok"}
        return {
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": [{"key": TPU, "value": "present", "effect": "NoSchedule"}]},
            "status": {"allocatable": {TPU: "4", "pods": "110"}, "capacity": {TPU: "4", "pods": "110"}},
        }

    async def gang(self, name: str = "gang", *, slices: int = 2, max_restarts: int = 10, **spec: Any) -> None:  # noqa: ANN401 (fields)
        """Create an exclusively placed gang of slices, one pod a host."""
        container = {"name": "train", "image": "nothing:1", "resources": {"limits": {TPU: 4}, "requests": {TPU: 4}}}
        tolerations = [{"key": TPU, "operator": "Exists", "effect": "NoSchedule"}]
        pods = {
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 30,
                "tolerations": tolerations,
                "containers": [container],
            }
        }
        job = {
            "completionMode": "Indexed",
            "parallelism": self.hosts,
            "completions": self.hosts,
            "backoffLimit": 0,
            "template": pods,
        }
        replicated = {"name": "slice", "replicas": slices, "template": {"spec": job}}
        body = {
            "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
            "metadata": {"name": name, "namespace": self.namespace, "annotations": {EXCLUSIVE: POOL}},
            "spec": {"failurePolicy": {"maxRestarts": max_restarts}, "replicatedJobs": [replicated]} | spec,
        }  # fmt: skip
        await self.client.create(JOBSETS, body)

    async def jobset(self, name: str = "gang") -> Json:
        return await self.client.call("GET", JOBSETS.path(self.namespace, name))

    async def jobs(self) -> list[Json]:
        found = await self.client.call("GET", JOBS.path(self.namespace))
        return list(found["items"])

    async def pods(self, name: str = "gang") -> list[Json]:
        path = PODS.path(self.namespace) + f"?labelSelector=jobset.sigs.k8s.io/jobset-name={name}"
        return list((await self.client.call("GET", path))["items"])

    async def pools(self, name: str = "gang") -> dict[str, set[str]]:
        """Give the pools in which each slice has pods, by job index."""
        found: dict[str, set[str]] = defaultdict(set)
        for pod in await self.pods(name):
            if pod["spec"].get("nodeName"):
                found[pod["metadata"]["labels"]["jobset.sigs.k8s.io/job-index"]].add(
                    pod["spec"]["nodeName"].rpartition("-host-")[0]
                )
        return dict(found)

    async def taint(self, pool: str, effect: str = "NoSchedule", *, hosts: int | None = None) -> None:
        """Add a taint of ours to the first hosts of a pool, or to all."""
        for host in range(self.hosts if hosts is None else hosts):
            name = f"{pool}-host-{host:02}"
            while True:
                node = await self.client.call("GET", NODES.path(name=name))
                taint = {"key": "sliceward.dev/out-of-service", "value": "incident", "effect": effect}
                patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}}
                try:
                    await self.client.patch(NODES, node, patch | {"spec": {"taints": [*node["spec"].get("taints", []), taint]}})
                except Refusal as no:
                    if no.code != 409:
                        raise
                    continue
                break

    async def force_away(self, pod: Json) -> None:
        """Take a pod away whatever holds it."""
        try:
            await self.client.patch(PODS, pod, {"metadata": {"finalizers": None}})
        except Refusal as no:
            if no.code != 404:
                raise
        await self.client.delete(PODS, pod, gracePeriodSeconds=0)

    async def label(self, node: str, **labels: str | None) -> None:
        await self.client.call(
            "PATCH", NODES.path(name=node), {"metadata": {"labels": labels}}, kind="application/merge-patch+json"
        )

    async def suspend(self, *, suspend: bool, name: str = "gang") -> None:
        await self.client.patch(JOBSETS, await self.jobset(name), {"spec": {"suspend": suspend}})

    async def ready(self, name: str = "gang") -> bool:
        """Whether all slices say they are ready and all pods stand bound and running."""
        gang = await self.jobset(name)
        counts = gang.get("status", {}).get("replicatedJobsStatus", [])
        wanted = [replicated["replicas"] for replicated in gang["spec"]["replicatedJobs"]]
        if [count["ready"] for count in counts] != wanted:
            return False
        pods = await self.pods(name)
        return len(pods) == sum(wanted) * self.hosts and all(pod["status"]["phase"] == "Running" for pod in pods)

    async def none_left(self, name: str = "gang") -> bool:
        return not await self.pods(name)

    async def only_left(self, pod: Json) -> bool:
        return [of["metadata"]["uid"] for of in await self.pods()] == [pod["metadata"]["uid"]]

    async def trapped(self) -> bool:
        """Whether a gang of two slices was restarted once and waits, all but one of its pods running, for a host."""
        gang, pods = await self.jobset(), await self.pods()
        waiting = [pod for pod in pods if not pod["spec"].get("nodeName")]
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        return gang["status"].get("restarts") == 1 and len(waiting) == 1 and len(running) == 2 * self.hosts - 1

    async def until(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(self.patience):
            while not await look():  # noqa: ASYNC110 - what is waited for is on a server
                await asyncio.sleep(0.03)


def condition(obj: Json, name: str) -> Json:
    return next((of for of in obj.get("status", {}).get("conditions", ()) if of["type"] == name), {})
