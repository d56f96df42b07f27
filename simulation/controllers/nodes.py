"""The node life cycle: silence makes a node unknown, taints follow, pods that do not tolerate them leave; orphans are ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.simulation.controllers.client import NODES, PODS, STRATEGIC, Refusal, all_of
from sliceward.simulation.controllers.controller import World, condition, has_ended, is_leaving, stamp
from sliceward.simulation.controllers.fitting import tolerates

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from sliceward.simulation.controllers.client import Json

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_NOT_READY = "node.kubernetes.io/not-ready"
_OURS = frozenset((_UNSCHEDULABLE, _UNREACHABLE, _NOT_READY))


@dataclass(slots=True)
class NodeLife:
    """Watches heartbeats by when they arrive, not by what they say, so that no clock need agree with ours."""

    world: World
    heard: dict[str, tuple[str, float]] = field(default_factory=dict)
    doomed: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Ask for the mirrors."""
        self.world.mirror(NODES)
        self.world.mirror(PODS)

    async def act(self) -> float | None:
        """Judge all nodes, then all pods on them."""
        now = asyncio.get_running_loop().time()
        nodes = {node["metadata"]["name"]: node for node in self.world.mirror(NODES)}
        waits = [self._silent_at(name, node, now) for name, node in nodes.items()]
        calls: list[Coroutine[Any, Any, None]] = []
        for name, node in nodes.items():
            if self._silent_at(name, node, now) <= now and condition(node, "Ready").get("status") != "Unknown":
                calls.append(self._lose(node))
            calls += self._fix_taints(node)
        doomed: dict[tuple[str, str], float] = {}
        for pod in self.world.mirror(PODS):
            patience = self._patience(pod, nodes)
            if patience is None or is_leaving(pod) or has_ended(pod):
                continue
            key = (pod["metadata"]["uid"], pod["spec"]["nodeName"])
            due = doomed[key] = min(self.doomed.get(key, now + patience), now + patience)
            waits.append(due)
            if due <= now:
                calls.append(self._end(pod, gone=pod["spec"]["nodeName"] not in nodes))
        self.doomed = doomed
        await all_of(calls)
        later = [wait for wait in waits if wait > now]
        return min(later) - now if later else None

    def _silent_at(self, name: str, node: Json, now: float) -> float:
        said = str(condition(node, "Ready").get("lastHeartbeatTime", ""))
        if not said or condition(node, "Ready").get("status") != "True":
            self.heard.pop(name, None)
            return now + self.world.times.node_grace.total_seconds()
        if self.heard.get(name, ("", 0.0))[0] != said:
            self.heard[name] = (said, now)
        return self.heard[name][1] + self.world.times.node_grace.total_seconds()

    async def _lose(self, node: Json) -> None:
        moment = stamp()
        unknown = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": moment}
        patch = {"status": {"conditions": [unknown | {"message": "Kubelet stopped posting node status."}]}}
        self.world.mirror(NODES).note(await self.world.client.patch(NODES, node, patch, door="status", kind=STRATEGIC))
        unready = {"type": "Ready", "status": "False", "reason": "NodeNotReady", "lastTransitionTime": moment}
        for pod in self.world.mirror(PODS):
            if pod["spec"].get("nodeName") == node["metadata"]["name"] and not has_ended(pod):
                await self._patch_pod(pod, {"conditions": [unready]})

    def _fix_taints(self, node: Json) -> list[Coroutine[Any, Any, None]]:
        """Bring our own taints in line with the node's state; nobody else's is touched."""
        wanted = []
        if node["spec"].get("unschedulable"):
            wanted.append((_UNSCHEDULABLE, "NoSchedule"))
        ready = condition(node, "Ready").get("status")
        if ready in {"Unknown", "False"}:
            key = _UNREACHABLE if ready == "Unknown" else _NOT_READY
            wanted += [(key, "NoSchedule"), (key, "NoExecute")]
        taints = node["spec"].get("taints", [])
        have = {(taint["key"], taint["effect"]) for taint in taints if taint["key"] in _OURS}
        if have == set(wanted):
            return []
        kept = [taint for taint in taints if taint["key"] not in _OURS or (taint["key"], taint["effect"]) in wanted]
        added = [{"key": key, "effect": effect, "timeAdded": stamp()} for key, effect in wanted if (key, effect) not in have]
        return [self._write_taints(node, kept + added)]

    async def _write_taints(self, node: Json, taints: list[Json]) -> None:
        patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": taints}}
        try:
            self.world.mirror(NODES).note(await self.world.client.patch(NODES, node, patch))
        except Refusal as no:
            if no.code not in {404, 409}:
                raise

    def _patience(self, pod: Json, nodes: dict[str, Json]) -> float | None:
        """Give the seconds that a pod may stay where it is; None is as long as it likes."""
        home = pod["spec"].get("nodeName")
        if not home:
            return None
        if home not in nodes:
            return self.world.times.pod_collection.total_seconds()
        stays = [tolerates(pod, taint) for taint in nodes[home]["spec"].get("taints", ()) if taint["effect"] == "NoExecute"]
        bounded = [seconds * self.world.times.toleration_scale for seconds in stays if seconds is not None]
        return min(bounded) if bounded else None

    async def _end(self, pod: Json, *, gone: bool) -> None:
        reason = "DeletionByPodGC" if gone else "DeletionByTaintManager"
        target = {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": stamp()}
        await self._patch_pod(pod, {"conditions": [target]} | ({"phase": "Failed"} if gone else {}))
        await self.world.client.delete(PODS, pod, **({"gracePeriodSeconds": 0} if gone else {}))

    async def _patch_pod(self, pod: Json, status: Json) -> None:
        try:
            self.world.mirror(PODS).note(
                await self.world.client.patch(PODS, pod, {"status": status}, door="status", kind=STRATEGIC)
            )
        except Refusal as no:
            if no.code != 404:  # noqa: PLR2004 - a pod that is gone needs no condition
                raise
