"""Fake kubelets: bound pods run, deleted pods end, nodes beat. A node with label ``kubelet=dead`` does none of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.simulation.controllers.client import NODES, PODS, STRATEGIC, Refusal, all_of
from sliceward.simulation.controllers.controller import World, has_ended, is_leaving, is_true, stamp

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from sliceward.simulation.controllers.client import Json

DEAD = ("kubelet", "dead")
"""The label that ends a node's kubelet; taking it off revives it."""

_KILLED = 143
"""Exit code of a process that ended on SIGTERM: 128 + 15."""


@dataclass(slots=True)
class Kubelet:
    """All kubelets of a cluster. ``due`` holds when each pod starts or ends, by the clock of the event loop."""

    world: World
    due: dict[tuple[str, str], float] = field(default_factory=dict)
    beats: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Ask for the mirrors."""
        self.world.mirror(NODES)
        self.world.mirror(PODS)

    async def act(self) -> float | None:
        """Do what is due on nodes and pods."""
        now = asyncio.get_running_loop().time()
        nodes = {node["metadata"]["name"]: node for node in self.world.mirror(NODES) if is_alive(node)}
        calls = [self._beat(node, now) for node in nodes.values() if self._beat_due(node) <= now]
        waits = [self._beat_due(node) for node in nodes.values() if self._beat_due(node) > now]
        steps: dict[tuple[str, str], float] = {}
        for pod in self.world.mirror(PODS):
            if pod["spec"].get("nodeName") not in nodes:
                continue
            for step, after, call in self._steps(pod):
                due = steps[step] = self.due.get(step, now + after)
                if due <= now:
                    calls.append(call(pod))
                else:
                    waits.append(due)
        self.due = steps
        await all_of(calls)
        return max(min(waits) - asyncio.get_running_loop().time(), 0) if waits else None

    def _steps(self, pod: Json) -> list[tuple[tuple[str, str], float, Any]]:
        """Give what this pod has before it: the step's name, its duration in seconds, the call that does it."""
        uid, phase = pod["metadata"]["uid"], pod.get("status", {}).get("phase")
        if is_leaving(pod):
            if phase == "Running":
                return [((uid, "ends"), self._end_seconds(pod), self._end)]
            if has_ended(pod) and pod["metadata"].get("deletionGracePeriodSeconds") == 0:
                return []
            return [((uid, "goes"), 0.0, self._let_go)]
        if phase == "Pending":
            return [((uid, "starts"), self.world.times.pod_starts.total_seconds(), self._start)]
        if phase == "Running" and not is_true(pod, "Ready"):
            # The node was taken for lost in between. A kubelet that is back says again how its pods are.
            return [((uid, "readies"), 0.0, self._ready)]
        return []

    def _end_seconds(self, pod: Json) -> float:
        own = pod["metadata"].get("annotations", {}).get("pod-end/delay", "")
        seconds = float(own.removesuffix("s")) if own else self.world.times.pod_ends.total_seconds()
        return float(min(seconds, pod["metadata"].get("deletionGracePeriodSeconds", 30)))

    def _beat_due(self, node: Json) -> float:
        name = node["metadata"]["name"]
        return self.beats.get(name, 0.0) if is_true(node, "Ready") else 0.0

    def _beat(self, node: Json, now: float) -> Coroutine[Any, Any, None]:
        self.beats[node["metadata"]["name"]] = now + self.world.times.heartbeat.total_seconds()
        moment = stamp()
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
        ready["lastHeartbeatTime"] = moment
        if not is_true(node, "Ready"):
            ready["lastTransitionTime"] = moment
        return self._patch_node(node, {"status": {"conditions": [ready]}})

    async def _patch_node(self, node: Json, patch: Json) -> None:
        try:
            self.world.mirror(NODES).note(await self.world.client.patch(NODES, node, patch, door="status", kind=STRATEGIC))
        except Refusal as no:
            if no.code != 404:  # noqa: PLR2004 - a node that is gone needs no beat
                raise

    async def _start(self, pod: Json) -> None:
        moment = stamp()
        conditions = [
            {"type": name, "status": "True", "lastTransitionTime": moment} for name in ("Initialized", "ContainersReady", "Ready")
        ]
        containers = [
            {
                "name": container["name"], "image": container.get("image", ""), "imageID": "", "ready": True, "started": True,
                "restartCount": 0, "state": {"running": {"startedAt": moment}},
            }
            for container in pod["spec"]["containers"]
        ]  # fmt: skip
        await self._status(
            pod, {"phase": "Running", "startTime": moment, "conditions": conditions, "containerStatuses": containers}
        )

    async def _ready(self, pod: Json) -> None:
        await self._status(pod, {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp()}]})

    async def _end(self, pod: Json) -> None:
        moment = stamp()
        conditions = [
            {"type": name, "status": "False", "reason": "PodFailed", "lastTransitionTime": moment}
            for name in ("ContainersReady", "Ready")
        ]
        ended = {"terminated": {"exitCode": _KILLED, "reason": "Error", "finishedAt": moment, "startedAt": moment}}
        containers = [
            {"name": of["name"], "image": of.get("image", ""), "imageID": "", "ready": False, "restartCount": 0, "state": ended}
            for of in pod["spec"]["containers"]
        ]
        await self._status(pod, {"phase": "Failed", "conditions": conditions, "containerStatuses": containers})
        await self._let_go(pod)

    async def _let_go(self, pod: Json) -> None:
        await self.world.client.delete(PODS, pod, gracePeriodSeconds=0)

    async def _status(self, pod: Json, status: Json) -> None:
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        try:
            self.world.mirror(PODS).note(await self.world.client.patch(PODS, pod, patch, door="status", kind=STRATEGIC))
        except Refusal as no:
            if no.code not in {404, 409}:
                raise


def is_alive(node: Json) -> bool:
    """Whether a node has a kubelet."""
    key, value = DEAD
    return bool(node["metadata"].get("labels", {}).get(key) != value)
