"""The pods of a Job as values: which are active, which indices are missing, what a new one looks like."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.simulation.controllers.controller import has_ended, is_leaving, stamp

if TYPE_CHECKING:
    from sliceward.simulation.controllers.client import Json, Mirror

__all__ = [
    "TRACKED",
    "WAIT",
    "JobPods",
    "index_of",
    "leaders_domain",
    "make",
    "missing_indices",
    "parsed_indices",
    "printed_indices",
    "sorted_out",
    "stamp",
]

TRACKED = "batch.kubernetes.io/job-tracking"
"""Finalizer that keeps a pod until its end is counted."""

EXCLUSIVE = "alpha.jobset.sigs.k8s.io/exclusive-topology"
"""Annotation of JobSet: each Job of the set has a topology domain, named by this label key, to itself."""

INDEX = "batch.kubernetes.io/job-completion-index"

WAIT: dict[str, str] = {"": ""}
"""Not a node selector: the leader is not bound yet, followers must wait."""


@dataclass(frozen=True, slots=True)
class JobPods:
    """Pods of one Job: ``terminating`` are being deleted and have not ended."""

    active: list[Json]
    terminating: list[Json]
    failed: list[Json]
    succeeded: list[Json]

    def failing(self, job: Json) -> list[Json]:
        """Give the pods that count as failed: ended so, or being deleted where the Job does not wait for their end."""
        waits = job["spec"].get("podReplacementPolicy") == "Failed" or "podFailurePolicy" in job["spec"]
        return self.failed if waits else self.failed + self.terminating


def sorted_out(pods: list[Json]) -> JobPods:
    """Sort pods by what became of them."""
    living = [pod for pod in pods if not has_ended(pod)]
    return JobPods(
        active=[pod for pod in living if not is_leaving(pod)],
        terminating=[pod for pod in living if is_leaving(pod)],
        failed=[pod for pod in pods if pod.get("status", {}).get("phase") == "Failed"],
        succeeded=[pod for pod in pods if pod.get("status", {}).get("phase") == "Succeeded"],
    )


def index_of(pod: Json) -> int:
    """Give a pod's completion index; -1 where its Job has none."""
    return int(pod["metadata"].get("annotations", {}).get(INDEX, -1))


def parsed_indices(text: str) -> set[int]:
    """Read ``1,3-5`` as Jobs write it."""
    found: set[int] = set()
    for part in text.split(","):
        if part:
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


def printed_indices(indices: set[int]) -> str:
    """Print indices as ``1,3-5``."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def missing_indices(job: Json, pods: JobPods, completed: set[int]) -> list[int]:
    """Give the indices for which a pod is to be made; for a Job without indices -1 as often as needed."""
    spec = job["spec"]
    busy = [*pods.active, *(pods.terminating if spec.get("podReplacementPolicy") == "Failed" else ())]
    room = spec.get("parallelism", 1) - len(busy)
    if spec.get("completionMode") == "Indexed":
        held = {index_of(pod) for pod in busy} | completed
        return [index for index in range(spec["completions"]) if index not in held][: max(room, 0)]
    left = spec["completions"] - job.get("status", {}).get("succeeded", 0) - len(busy) if "completions" in spec else room
    return [-1] * max(min(room, left), 0)


def leaders_domain(job: Json, pods: JobPods, nodes: Mirror) -> dict[str, str]:
    """Give the node selector of followers: empty where placement is not exclusive, `WAIT` where the leader has no node."""
    key = job["spec"]["template"].get("metadata", {}).get("annotations", {}).get(EXCLUSIVE)
    if not key or job["spec"].get("completionMode") != "Indexed":
        return {}
    leader = next((pod for pod in pods.active if index_of(pod) == 0), None)
    node = nodes.get(leader["spec"].get("nodeName", "")) if leader is not None else None
    value = node["metadata"].get("labels", {}).get(key) if node is not None else None
    return {key: value} if value else WAIT


def make(job: Json, index: int, suffix: str, selector: dict[str, str]) -> Json:
    """Make the pod of an index."""
    meta, template = job["metadata"], copy.deepcopy(job["spec"]["template"])
    labels = dict(template.get("metadata", {}).get("labels", {}))
    annotations = dict(template.get("metadata", {}).get("annotations", {}))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
    name = f"{meta['name']}-{suffix}"
    spec = template["spec"]
    if index >= 0:
        labels[INDEX] = annotations[INDEX] = str(index)
        name = f"{meta['name']}-{index}-{suffix}"
        spec.setdefault("hostname", f"{meta['name']}-{index}")
        for container in spec["containers"]:
            container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
    if selector and selector is not WAIT:
        spec["nodeSelector"] = (spec.get("nodeSelector") or {}) | selector
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": annotations,
            "finalizers": [TRACKED],
            "ownerReferences": [owner | {"blockOwnerDeletion": True}],
        },
        "spec": spec,
    }
