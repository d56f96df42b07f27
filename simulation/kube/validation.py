"""Validation of objects: a short explicit list, each rule of which a contract test holds against a real API server.

Not on the list means not validated. Problems come as causes of a 422; none is good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.simulation.kube import naming, schemas, validation_batch
from sliceward.simulation.kube.refusal import (
    Cause,
    duplicate_value,
    forbidden_value,
    invalid_value,
    required_value,
    unsupported_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.refusal import Json

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_RESTARTS = ("Always", "OnFailure", "Never")
_POD_CHANGES = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def shape_problems(kind: Kind, obj: Json) -> list[Cause]:
    """Judge what must be right before defaults can be filled in."""
    if kind.custom or kind.kind not in {"Pod", "Job", "CustomResourceDefinition"}:
        return []
    if kind.kind == "CustomResourceDefinition":
        return [
            required_value(f"spec.{name}")
            for name in ("group", "names", "versions", "scope")
            if not obj.get("spec", {}).get(name)
        ]
    spec = obj.get("spec", {})
    return list(_container_problems(spec, "spec") if kind.kind == "Pod" else _template_problems(spec))


def problems(kind: Kind, new: Json, *, old: Json | None, subresource: str = "") -> list[Cause]:
    """Judge a new object, or a change of an old one."""
    found = list(_meta_problems(kind, new, old))
    if kind.custom:
        found += schemas.problems(kind.schema, new, old)
    rules = _RULES.get((kind.group, kind.kind))
    if rules is not None and not subresource:
        found += rules(new, old)
    return found


def _meta_problems(kind: Kind, new: Json, old: Json | None) -> Iterator[Cause]:
    meta = new["metadata"]
    if old is None:
        judge = naming.label_problems if kind.kind in {"Namespace", "Service"} else naming.subdomain_problems
        yield from (invalid_value("metadata.name", meta["name"], why) for why in judge(meta["name"]))
    yield from label_map_problems(meta.get("labels", {}), "metadata.labels")
    for key in meta.get("annotations", {}):
        yield from (invalid_value("metadata.annotations", key, why) for why in naming.label_key_problems(key.lower()))
    for owner in meta.get("ownerReferences", ()):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                yield invalid_value(f"metadata.ownerReferences.{name}", "", "must not be empty")
    if old is not None and "deletionTimestamp" in meta:
        added = set(meta.get("finalizers", ())) - set(old["metadata"].get("finalizers", ()))
        if added:
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
            yield forbidden_value("metadata.finalizers", why)


def label_map_problems(labels: Mapping[str, str], where: str) -> Iterator[Cause]:
    """Judge a map of labels."""
    for key, value in labels.items():
        yield from (invalid_value(where, key, why) for why in naming.label_key_problems(key))
        yield from (invalid_value(where, value, why) for why in naming.label_value_problems(value or ""))


def _node_problems(new: Json, old: Json | None) -> Iterator[Cause]:
    spec = new.get("spec", {})
    seen: set[tuple[str, str]] = set()
    for at, taint in enumerate(spec.get("taints", ())):
        where = f"metadata.taints[{at}]"  # so says the real server
        key, effect = taint.get("key", ""), taint.get("effect", "")
        yield from (invalid_value(f"{where}.key", key, why) for why in naming.label_key_problems(key))
        yield from (
            invalid_value(f"{where}.value", taint["value"], why) for why in naming.label_value_problems(taint.get("value", ""))
        )
        if not effect:
            yield required_value(f"{where}.effect")
        elif effect not in _EFFECTS:
            yield unsupported_value(f"{where}.effect", effect, _EFFECTS)
        if (key, effect) in seen:
            yield duplicate_value(where, taint)
        seen.add((key, effect))
    was = (old or {}).get("spec", {}).get("providerID")
    if was and spec.get("providerID") != was:
        yield forbidden_value("spec.providerID", 'node updates may not change providerID except from "" to valid')


def _container_problems(spec: Json, where: str) -> Iterator[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        yield required_value(f"{where}.containers")
    names: set[str] = set()
    for at, container in enumerate(containers):
        place = f"{where}.containers[{at}]"
        name = container.get("name", "")
        if not name:
            yield required_value(f"{place}.name")
        else:
            yield from (invalid_value(f"{place}.name", name, why) for why in naming.label_problems(name))
        if name in names:
            yield duplicate_value(f"{place}.name", name)
        names.add(name)
    if spec.get("restartPolicy", "Always") not in _RESTARTS:
        yield unsupported_value(f"{where}.restartPolicy", spec["restartPolicy"], _RESTARTS)


def _template_problems(spec: Json) -> Iterator[Cause]:
    template = spec.get("template") or {}
    yield from _container_problems(template.get("spec") or {}, "spec.template.spec")


def _pod_problems(new: Json, old: Json | None) -> Iterator[Cause]:
    spec = new["spec"]
    if old is None:
        for at, container in enumerate(spec["containers"]):
            if not container.get("image"):
                yield required_value(f"spec.containers[{at}].image")
        yield from label_map_problems(spec.get("nodeSelector", {}), "spec.nodeSelector")
        yield from _toleration_problems(spec.get("tolerations", ()), "spec.tolerations")
        return
    if _fixed(spec, old["spec"]) != _fixed(old["spec"], old["spec"]) or not _only_added(spec, old["spec"]):
        yield forbidden_value("spec", _POD_CHANGES)
    if len(spec["containers"]) != len(old["spec"]["containers"]):
        yield forbidden_value("spec.containers", "pod updates may not add or remove containers")
    kept = {gate["name"] for gate in old["spec"].get("schedulingGates", ())}
    added = [gate["name"] for gate in spec.get("schedulingGates", ()) if gate["name"] not in kept]
    if added:
        yield forbidden_value(
            "spec.schedulingGates", "only deletion is allowed, but found new scheduling gate '" + added[0] + "'"
        )


def _fixed(spec: Json, old: Json) -> Json:
    """Give the part of a pod's spec that no update may change; a gated pod's node selector may grow."""
    rest = {key: value for key, value in spec.items() if key not in {"tolerations", "activeDeadlineSeconds", "schedulingGates"}}
    rest["containers"] = [{key: value for key, value in container.items() if key != "image"} for container in spec["containers"]]
    selector = spec.get("nodeSelector", {})
    if old.get("schedulingGates") and old.get("nodeSelector", {}).items() <= selector.items():
        rest.pop("nodeSelector", None)
    return rest


def _only_added(spec: Json, old: Json) -> bool:
    tolerations = spec.get("tolerations", [])
    return all(toleration in tolerations for toleration in old.get("tolerations", ()))


def _toleration_problems(tolerations: Any, where: str) -> Iterator[Cause]:  # noqa: ANN401 - JSON
    for at, toleration in enumerate(tolerations):
        effect, how = toleration.get("effect", ""), toleration.get("operator", "Equal")
        if effect and effect not in _EFFECTS:
            yield unsupported_value(f"{where}[{at}].effect", effect, _EFFECTS)
        if how not in {"Equal", "Exists"}:
            yield unsupported_value(f"{where}[{at}].operator", how, ("Equal", "Exists"))
        if not toleration.get("key") and how != "Exists":
            yield invalid_value(f"{where}[{at}].operator", how, "operator must be Exists when `key` is empty")


def _lease_problems(new: Json, old: Json | None) -> Iterator[Cause]:
    del old
    spec = new.get("spec", {})
    for name, least in (("leaseDurationSeconds", 1), ("leaseTransitions", 0)):
        if name in spec and spec[name] < least:
            yield invalid_value(
                f"spec.{name}", spec[name], "must be greater than 0" if least else "must be greater than or equal to 0"
            )


def _budget_problems(new: Json, old: Json | None) -> Iterator[Cause]:
    del old
    spec = new.get("spec", {})
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield invalid_value("spec", "PodDisruptionBudgetSpec", "minAvailable and maxUnavailable cannot be both set")


def _event_problems(new: Json, old: Json | None) -> Iterator[Cause]:
    del old
    about = new.get("involvedObject", {}).get("namespace", "")
    if about and about != new["metadata"]["namespace"]:
        yield invalid_value("involvedObject.namespace", about, "does not match event.namespace")


_RULES: Mapping[tuple[str, str], Callable[[Json, Json | None], Iterator[Cause]]] = {
    ("", "Node"): _node_problems,
    ("", "Pod"): _pod_problems,
    ("", "Event"): _event_problems,
    ("batch", "Job"): validation_batch.job_problems,
    ("coordination.k8s.io", "Lease"): _lease_problems,
    ("policy", "PodDisruptionBudget"): _budget_problems,
    ("jobset.x-k8s.io", "JobSet"): validation_batch.jobset_problems,
}
