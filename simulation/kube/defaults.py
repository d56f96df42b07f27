"""Defaults that the API server writes into built-in objects at creation, as far as clients of ours see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.simulation.kube import validation_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.refusal import Json

_EVICTED_AFTER = 300
"""Seconds that a pod stays on a node without a kubelet, by the DefaultTolerationSeconds plug-in."""


def tidied(kind: Kind, obj: Json) -> Json:
    """Drop what the built-in types do not keep: nulls, empty lists, empty label maps."""
    tidy = _without_nothing(obj) if not kind.custom else dict(obj)
    meta = {key: value for key, value in tidy["metadata"].items() if value not in ({}, [], None)}
    meta.pop("managedFields", None)
    return tidy | {"metadata": meta}


def _without_nothing(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _without_nothing(inner) for key, inner in value.items() if inner is not None and inner != []}
    if isinstance(value, list):
        return [_without_nothing(inner) for inner in value]
    return value


def defaulted(kind: Kind, obj: Json) -> Json:
    """Fill in what the author of a new object left out; uid and name are set already."""
    fill = _DEFAULTS.get((kind.group, kind.kind))
    if fill is not None:
        fill(obj)
    return obj


def _namespace(obj: Json) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
    obj["status"] = {"phase": "Active"}


def _node(obj: Json) -> None:
    obj.setdefault("spec", {})
    obj.setdefault("status", {})


def pod_spec(spec: Json) -> None:
    """Fill in a pod's spec, in a pod or in a template."""
    for name, value in (
        ("dnsPolicy", "ClusterFirst"),
        ("restartPolicy", "Always"),
        ("schedulerName", "default-scheduler"),
        ("securityContext", {}),
        ("terminationGracePeriodSeconds", 30),
    ):
        spec.setdefault(name, value)
    for container in spec.get("containers", ()):
        image = str(container.get("image", ""))
        newest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
        container.setdefault("imagePullPolicy", "Always" if newest else "IfNotPresent")
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        resources = container["resources"]
        if limits := resources.get("limits"):
            resources["requests"] = limits | resources.get("requests", {})


def _pod(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    admitted(obj)
    obj["status"] = {"phase": "Pending", "qosClass": _quality(spec)}
    if spec.get("schedulingGates"):
        gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
        obj["status"]["conditions"] = [gated | {"message": "Scheduling is blocked due to non-empty scheduling gates"}]


def admitted(pod: Json) -> None:
    """Let every pod, at every write, bear a lost node for a while: the DefaultTolerationSeconds plug-in."""
    tolerations = pod["spec"].setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates_absence(toleration, key) for toleration in tolerations):
            tolerations.append({"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": _EVICTED_AFTER})


def _tolerates_absence(toleration: Json, key: str) -> bool:
    return bool(toleration.get("key", key) == key and toleration.get("effect", "NoExecute") == "NoExecute")


def _quality(spec: Json) -> str:
    counted = [
        (container["resources"].get("requests", {}), container["resources"].get("limits", {}))
        for container in spec.get("containers", ())
    ]
    named = [{key: of[key] for key in ("cpu", "memory") if key in of} for pair in counted for of in pair]
    if not any(named):
        return "BestEffort"
    same = all(requests == limits and {"cpu", "memory"} <= limits.keys() for requests, limits in counted)
    return "Guaranteed" if same else "Burstable"


def _job(obj: Json) -> None:
    spec, meta = obj.setdefault("spec", {}), obj["metadata"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    for name, value in (
        ("backoffLimit", 6),
        ("completionMode", "NonIndexed"),
        ("manualSelector", False),
        ("parallelism", 1),
        ("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"),
        ("suspend", False),
    ):
        spec.setdefault(name, value)
    template = spec.setdefault("template", {})
    pod_spec(template.setdefault("spec", {}))
    if not spec["manualSelector"]:
        uid = {"batch.kubernetes.io/controller-uid": meta["uid"]}
        marks = uid | {"controller-uid": meta["uid"], "batch.kubernetes.io/job-name": meta["name"], "job-name": meta["name"]}
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels.update(marks)
        if "labels" not in meta:
            meta["labels"] = dict(labels)
        spec["selector"] = {"matchLabels": uid}
    obj["status"] = {}


def _budget(obj: Json) -> None:
    counts = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
    obj["status"] = dict.fromkeys(counts, 0)


def _daemon_set(obj: Json) -> None:
    pod_spec(obj["spec"].setdefault("template", {}).setdefault("spec", {}))
    counts = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
    obj["status"] = dict.fromkeys(counts, 0)


def _definition(obj: Json) -> None:
    names = obj["spec"]["names"]
    names.setdefault("listKind", f"{names['kind']}List")
    names.setdefault("singular", names["kind"].lower())
    moment = obj["metadata"]["creationTimestamp"]
    conditions = [
        {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"},
        {
            "type": "Established",
            "status": "True",
            "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted",
        },
    ]
    stored = [version["name"] for version in obj["spec"]["versions"] if version.get("storage")]
    obj["status"] = {
        "acceptedNames": names,
        "conditions": [condition | {"lastTransitionTime": moment} for condition in conditions],
        "storedVersions": stored,
    }


_DEFAULTS: Mapping[tuple[str, str], Callable[[Json], None]] = {
    ("", "Namespace"): _namespace,
    ("", "Node"): _node,
    ("", "Pod"): _pod,
    ("batch", "Job"): _job,
    ("policy", "PodDisruptionBudget"): _budget,
    ("apps", "DaemonSet"): _daemon_set,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("jobset.x-k8s.io", "JobSet"): validation_batch.jobset_defaults,
}
