"""The child Jobs of a JobSet as values: names, labels, pod templates, and the affinities that keep each slice whole and alone."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

from sliceward.simulation.controllers.job_pods import EXCLUSIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.simulation.controllers.client import Json

GROUP = "jobset.sigs.k8s.io"
NAME = f"{GROUP}/jobset-name"
REPLICATED = f"{GROUP}/replicatedjob-name"
ATTEMPT = f"{GROUP}/restart-attempt"
KEY = f"{GROUP}/job-key"


def wanted_jobs(jobset: Json, attempt: int) -> Iterator[Json]:
    """Make all Jobs that a JobSet wants in its present attempt."""
    replicated_jobs = jobset["spec"].get("replicatedJobs", ())
    total = sum(replicated.get("replicas", 1) for replicated in replicated_jobs)
    offset = 0
    for replicated in replicated_jobs:
        for index in range(replicated.get("replicas", 1)):
            yield _job(jobset, replicated, index, {"attempt": attempt, "global": offset + index, "total": total})
        offset += replicated.get("replicas", 1)


def _job(jobset: Json, replicated: Json, index: int, counts: dict[str, int]) -> Json:
    meta = jobset["metadata"]
    name = f"{meta['name']}-{replicated['name']}-{index}"
    marks = {
        NAME: meta["name"],
        f"{GROUP}/jobset-uid": meta["uid"],
        REPLICATED: replicated["name"],
        f"{GROUP}/replicatedjob-replicas": str(replicated.get("replicas", 1)),
        f"{GROUP}/job-index": str(index),
        f"{GROUP}/job-global-index": str(counts["global"]),
        f"{GROUP}/global-replicas": str(counts["total"]),
        ATTEMPT: str(counts["attempt"]),
        KEY: hashlib.sha1(f"{meta['namespace']}/{name}".encode(), usedforsecurity=False).hexdigest(),
    }
    template = copy.deepcopy(replicated["template"])
    spec = template.setdefault("spec", {})
    pods = spec.setdefault("template", {})
    own = template.get("metadata", {})
    notes = dict(own.get("annotations", {})) | marks
    topology = meta.get("annotations", {}).get(EXCLUSIVE)
    if topology:
        notes[EXCLUSIVE] = topology
    pod_meta = pods.setdefault("metadata", {})
    pod_meta["labels"] = pod_meta.get("labels", {}) | marks
    pod_meta["annotations"] = pod_meta.get("annotations", {}) | {
        key: value for key, value in notes.items() if key in marks or key == EXCLUSIVE
    }
    if topology:
        _keep_together(pods.setdefault("spec", {}), topology, marks[KEY])
    if jobset["spec"].get("network", {}).get("enableDNSHostnames"):
        pods["spec"].setdefault("subdomain", jobset["spec"]["network"].get("subdomain") or meta["name"])
    spec["suspend"] = bool(jobset["spec"].get("suspend"))
    owner = {"apiVersion": jobset["apiVersion"], "kind": "JobSet", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": own.get("labels", {}) | marks,
            "annotations": notes,
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": spec,
    }


def _keep_together(spec: Json, topology: str, key: str) -> None:
    """Let the pods of one Job stand in one topology domain, and no pods of other Jobs with them.

    JobSet's webhook gives these terms to the leader alone and a node selector to the followers. Without webhooks they stand in the
    Job's template, which a real scheduler obeys: the first pod chooses the domain, the others follow.
    """
    mine = {"key": KEY, "operator": "In", "values": [key]}
    others = [{"key": KEY, "operator": "Exists"}, {"key": KEY, "operator": "NotIn", "values": [key]}]
    affinity = spec.setdefault("affinity", {})
    for kind, rules in (("podAffinity", [mine]), ("podAntiAffinity", others)):
        term: dict[str, Any] = {"labelSelector": {"matchExpressions": rules}, "topologyKey": topology, "namespaceSelector": {}}
        affinity.setdefault(kind, {}).setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)


def resumed(job: Json, wanted: Json) -> Json:
    """Give the patch that resumes a Job: what may change of its pod template is merged in only now."""
    now, then = job["spec"]["template"], wanted["spec"]["template"]
    tolerations = list(now["spec"].get("tolerations", []))
    tolerations += [of for of in then["spec"].get("tolerations", []) if of not in tolerations]
    labels = now.get("metadata", {}).get("labels", {}) | then.get("metadata", {}).get("labels", {})
    annotations = now.get("metadata", {}).get("annotations", {}) | then.get("metadata", {}).get("annotations", {})
    selector = (now["spec"].get("nodeSelector") or {}) | (then["spec"].get("nodeSelector") or {})
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"nodeSelector": selector, "tolerations": tolerations},
    }
    return {"spec": {"suspend": False, "template": template}}
