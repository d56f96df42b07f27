"""Objects of the golden tables as values of the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.scheduling.tree.ask import Ask, Layer, Preferred, Required, Rules, Unconstrained
from sliceward.scheduling.tree.assignment import Assignment, Seat
from sliceward.scheduling.tree.counting import Count
from sliceward.scheduling.tree.suiting import Host, Liking, Requirement, Taint, Template, Term, Toleration
from sliceward.scheduling.tree.tree import LabelTree, Resident

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.tree.ask import Where

Object = dict[str, Any]
GATE = "kueue.x-k8s.io/topology"
SLICE_NAME = "kueue.x-k8s.io/workload-slice-name"


def short(name: str) -> str:
    return name.rpartition("/")[2]


def gang_of_pod(pod: Object) -> str:
    """Give the name by which a pod's gang is known, over all objects that follow each other as it grows."""
    return str(pod.get("annotations", {}).get(SLICE_NAME, pod.get("workload", "")))


def gang_of_workload(workload: Object) -> str:
    return str(workload.get("annotations", {}).get(SLICE_NAME, short(workload["name"])))


def rules_of(gates: Mapping[str, bool]) -> Rules:
    return Rules(
        balanced=gates["TASBalancedPlacement"],
        least_free=gates["TASProfileMixed"],
        by_liking=gates["TASRespectNodeAffinityPreferred"],
        grow_in_place=gates.get("ElasticJobsViaWorkloadSlicesWithTAS", False),
        keep_lone_pods=gates.get("SkipReassignmentForPodOwnedWorkloads", True),
    )


def taints_of(told: Sequence[Object]) -> tuple[Taint, ...]:
    return tuple(Taint(each["key"], each["effect"], each.get("value", "")) for each in told)


def tolerations_of(told: Sequence[Object]) -> tuple[Toleration, ...]:
    return tuple(
        Toleration(
            each.get("key", ""),
            each.get("operator") or "Equal",
            each.get("value", ""),
            each.get("effect", ""),
            each.get("tolerationSeconds"),
        )
        for each in told
    )


def is_ready(node: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in node.get("conditions", ()))


def host_of(node: Object) -> Host:
    return Host(
        name=node["name"],
        labels=node.get("labels", {}),
        allocatable=node.get("allocatable", {}),
        taints=taints_of(node.get("taints", ())),
        usable=is_ready(node) and not node.get("unschedulable", False),
    )


def tree_of(given: Object) -> LabelTree:
    residents = [
        Resident(pod["name"], pod.get("node") or None, pod.get("requests", {}), pod.get("phase") in {"Succeeded", "Failed"})
        for pod in given.get("pods", ())
    ]
    hosts = [host_of(node) for node in given["nodes"]]
    return LabelTree.of(given["levels"], hosts, residents=residents, flavor=given.get("flavor_node_labels"))


def tree_of_paths(levels: Sequence[str], paths: Sequence[Sequence[str]]) -> LabelTree:
    hosts = [Host("/".join(path), dict(zip(levels, path, strict=True)), {}) for path in paths]
    return LabelTree.of(levels, hosts)


def assignment_of(told: Object) -> Assignment:
    seats = tuple(Seat(tuple(each["values"]), each["pods"]) for each in told["domains"])
    return Assignment(tuple(told.get("levels", ())), seats)


def written(assignment: Assignment) -> Object:
    seats = [{"values": list(seat.values), "pods": seat.pods} for seat in assignment.seats]
    return {"levels": list(assignment.levels), "domains": seats}


def count_of(told: Object) -> Count:
    return Count(
        pods=told["pods"],
        slices=told["slices"],
        pods_led=told["pods_with_leader"],
        slices_led=told["slices_with_leader"],
        leaders=told["leaders"],
        liking=told.get("affinity_score", 0),
    )


def where_of(request: Object | None, *, implied: bool = False) -> Where | None:
    told = request or {}
    if "required" in told:
        return Required(told["required"])
    if "preferred" in told:
        return Preferred(told["preferred"])
    return Unconstrained() if told.get("unconstrained") or implied else None


def layers_of(request: Object | None) -> tuple[Layer, ...]:
    told = request or {}
    if "slice_layers" in told:
        return tuple(Layer(each["level"], each["size"]) for each in told["slice_layers"])
    return (Layer(told["slice_required"], told.get("slice_size", 0)),) if "slice_required" in told else ()


def _requirements(told: Sequence[Object]) -> tuple[Requirement, ...]:
    return tuple(Requirement(each["key"], each["operator"], tuple(each.get("values", ()))) for each in told)


def _term(told: Object) -> Term:
    return Term(_requirements(told.get("matchExpressions", ())), _requirements(told.get("matchFields", ())))


def template_of(pod_set: Object) -> Template:
    affinity = pod_set.get("node_affinity") or pod_set.get("affinity", {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution", ())
    return Template(
        selector=pod_set.get("node_selector", {}),
        tolerations=tolerations_of(pod_set.get("tolerations", ())),
        affinity=tuple(_term(each) for each in required["nodeSelectorTerms"]) if required else None,
        likings=tuple(Liking(_term(each["preference"]), each["weight"]) for each in preferred),
    )


def ask_of(pod_set: Object) -> Ask:
    request = pod_set.get("topology_request")
    before = pod_set.get("previous_assignment")
    return Ask(
        name=pod_set["name"],
        count=pod_set["count"],
        requests=pod_set.get("requests", {}),
        where=where_of(request, implied=pod_set.get("implied", False)),
        layers=layers_of(request),
        group=pod_set.get("group"),
        template=template_of(pod_set),
        before=assignment_of(before) if before else None,
    )
