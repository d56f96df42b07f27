"""Whether a pod fits a node: selectors, taints, room, and the pod affinities that keep a slice whole and alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.simulation.controllers.controller import condition
from sliceward.simulation.kube import selectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.simulation.controllers.client import Json

TPU = "google.com/tpu"


def tolerates(pod: Json, taint: Json) -> float | None:
    """Give the seconds that a pod bears a taint: None is for ever, 0 not at all."""
    best: float | None = 0.0
    for toleration in pod["spec"].get("tolerations", ()):
        if _meets(toleration, taint):
            seconds = toleration.get("tolerationSeconds")
            if seconds is None or best is None:
                return None
            best = max(best, float(seconds))
    return best


def _meets(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect", taint["effect"]) != taint["effect"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return bool(toleration.get("key", taint["key"]) == taint["key"])
    return bool(toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", ""))


def chips(pod: Json) -> int:
    """Give the chips a pod asks for."""
    asked = 0
    for container in pod["spec"]["containers"]:
        resources = container.get("resources", {})
        asked += int((resources.get("limits") or {}).get(TPU, (resources.get("requests") or {}).get(TPU, 0)))
    return asked


def unfit(pod: Json, node: Json, taken: int) -> str:
    """Say why a pod does not fit a node on which ``taken`` chips are in use; empty where it fits."""
    labels = node["metadata"].get("labels", {})
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if condition(node, "Ready").get("status") in {"False", "Unknown"}:
        return "node(s) were not ready"
    for taint in node["spec"].get("taints", ()):
        if taint["effect"] in {"NoSchedule", "NoExecute"} and tolerates(pod, taint) == 0:
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    if any(labels.get(key) != value for key, value in (pod["spec"].get("nodeSelector") or {}).items()):
        return "node(s) didn't match Pod's node affinity/selector"
    room = int(node.get("status", {}).get("allocatable", {}).get(TPU, 0))
    if chips(pod) > room - taken:
        return f"Insufficient {TPU}"
    return ""


def affinity_terms(pod: Json, which: str) -> list[Json]:
    """Give the required terms of ``podAffinity`` or ``podAntiAffinity``."""
    found = (pod["spec"].get("affinity") or {}).get(which) or {}
    return list(found.get("requiredDuringSchedulingIgnoredDuringExecution", ()))


def selects(term: Json, labels: Mapping[str, str]) -> bool:
    """Whether a term's label selector selects a pod with these labels."""
    terms = selectors.from_object(term.get("labelSelector"))
    return terms is not None and all(of.passes(labels) for of in terms)


def domains(term: Json, placed: Iterable[tuple[Json, Json]]) -> set[str]:
    """Give the topology domains in which pods stand that a term selects, from (pod, node) pairs."""
    key = term["topologyKey"]
    return {
        node["metadata"].get("labels", {}).get(key, "")
        for pod, node in placed
        if selects(term, pod["metadata"].get("labels", {}))
    } - {""}
