"""A small scheduler: the first node by name that fits, gangs' affinities included.

It looks at one pod after the other, so a leader takes a domain without asking whether its followers will fit: that trap is real
and is kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.simulation.controllers import fitting
from sliceward.simulation.controllers.client import NODES, PODS, STRATEGIC, Refusal, all_of
from sliceward.simulation.controllers.controller import World, condition, has_ended, is_leaving, stamp

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from sliceward.simulation.controllers.client import Json

_NAME = "default-scheduler"


@dataclass(slots=True)
class Scheduler:
    """Binds pods that name the default scheduler."""

    world: World

    def __post_init__(self) -> None:
        """Ask for the mirrors."""
        self.world.mirror(NODES)
        self.world.mirror(PODS)

    async def act(self) -> float | None:
        """Find a node for every waiting pod, in the order of their creation."""
        nodes = sorted(self.world.mirror(NODES), key=lambda node: str(node["metadata"]["name"]))
        by_name = {node["metadata"]["name"]: node for node in nodes}
        placed, taken, waiting = [], Counter[str](), []
        for pod in self.world.mirror(PODS):
            home = pod["spec"].get("nodeName")
            if home in by_name and not has_ended(pod):
                placed.append((pod, by_name[home]))
                taken[home] += fitting.chips(pod)
            elif not home and not is_leaving(pod) and _is_ours(pod):
                waiting.append(pod)
        calls: list[Coroutine[Any, Any, None]] = []
        for pod in sorted(waiting, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])):
            node, why = _choose(pod, nodes, placed, taken)
            if node is None:
                calls += self._tell(pod, why)
                continue
            placed.append((pod, node))
            taken[node["metadata"]["name"]] += fitting.chips(pod)
            calls.append(self._bind(pod, node["metadata"]["name"]))
        await all_of(calls)
        return None

    async def _bind(self, pod: Json, node: str) -> None:
        meta = pod["metadata"]
        binding = {"metadata": {"name": meta["name"], "uid": meta["uid"]}, "target": {"kind": "Node", "name": node}}
        path = PODS.path(meta["namespace"], meta["name"], "binding")
        try:
            await self.world.client.call("POST", path, {"apiVersion": "v1", "kind": "Binding"} | binding)
        except Refusal as no:
            if no.code not in {404, 409}:
                raise
            return
        pod["spec"]["nodeName"] = node

    def _tell(self, pod: Json, why: str) -> list[Coroutine[Any, Any, None]]:
        if condition(pod, "PodScheduled").get("message") == why:
            return []
        return [self._say(pod, why)]

    async def _say(self, pod: Json, why: str) -> None:
        said = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": why,
            "lastTransitionTime": stamp(),
        }
        patch = {"status": {"conditions": [said]}}
        try:
            self.world.mirror(PODS).note(await self.world.client.patch(PODS, pod, patch, door="status", kind=STRATEGIC))
        except Refusal as no:
            if no.code != 404:  # noqa: PLR2004 - a pod that is gone need not be told
                raise


def _is_ours(pod: Json) -> bool:
    return bool(
        pod["spec"].get("schedulerName", _NAME) == _NAME and not pod["spec"].get("schedulingGates") and not has_ended(pod)
    )


def _choose(pod: Json, nodes: list[Json], placed: list[tuple[Json, Json]], taken: Counter[str]) -> tuple[Json | None, str]:
    """Give the first node that fits, or why none does."""
    reasons: Counter[str] = Counter()
    rules = _affinity_rules(pod, placed)
    for node in nodes:
        labels = node["metadata"].get("labels", {})
        why = fitting.unfit(pod, node, taken[node["metadata"]["name"]])
        if not why and any(labels.get(key, "") not in among for key, among in rules.wanted):
            why = "node(s) didn't match pod affinity rules"
        if not why and any(labels.get(key, "") in among for key, among in rules.unwanted):
            why = "node(s) didn't match pod anti-affinity rules"
        if not why:
            return node, ""
        reasons[why] += 1
    listed = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
    return None, f"0/{len(nodes)} nodes are available: {listed}."


@dataclass(frozen=True, slots=True)
class _Rules:
    wanted: list[tuple[str, set[str]]]
    unwanted: list[tuple[str, set[str]]]


def _affinity_rules(pod: Json, placed: list[tuple[Json, Json]]) -> _Rules:
    """Work out which topology domains a pod's affinities leave; the first pod of its own kind is free to choose."""
    labels = pod["metadata"].get("labels", {})
    wanted = []
    for term in fitting.affinity_terms(pod, "podAffinity"):
        here = fitting.domains(term, placed)
        if here or not fitting.selects(term, labels):
            wanted.append((term["topologyKey"], here))
    unwanted = [(term["topologyKey"], fitting.domains(term, placed)) for term in fitting.affinity_terms(pod, "podAntiAffinity")]
    for other, node in placed:
        for term in fitting.affinity_terms(other, "podAntiAffinity"):
            if fitting.selects(term, labels):
                key = term["topologyKey"]
                unwanted.append((key, {node["metadata"].get("labels", {}).get(key, "")} - {""}))
    return _Rules(wanted, unwanted)
