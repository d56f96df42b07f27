"""Kueue's own tables of hosts that are lost to a gang, and of the pods that wait there in vain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.scheduling.tree.host_loss import (
    Evict,
    GangSeen,
    Held,
    HostGone,
    HostSeen,
    Judged,
    LookAgain,
    LossRules,
    MarkLost,
    NotReady,
    PodSeen,
    Ready,
    Seen,
    Stage,
    Unmark,
    Unreported,
    gang_state,
    judge,
)
from sliceward.scheduling.tree.tree import HOSTNAME
from tests.scheduling.golden.objects import (
    GATE,
    assignment_of,
    gang_of_pod,
    gang_of_workload,
    is_ready,
    short,
    taints_of,
    tolerations_of,
)
from tests.scheduling.golden.tables import rows
from tests.scheduling.tree.builders import NOW

if TYPE_CHECKING:
    from collections.abc import Mapping

Object = dict[str, Any]
PLACED_BY_TREE = {
    f"kueue.x-k8s.io/podset-{kind}-topology" for kind in ("required", "preferred", "unconstrained", "slice-required")
} | {"kueue.x-k8s.io/podset-slice-required-topology-constraints"}


def rules_of(gates: Mapping[str, bool]) -> LossRules:
    return LossRules(
        after_pods_end=gates["TASReplaceNodeOnPodTermination"],
        on_taints=gates["TASReplaceNodeOnNodeTaints"],
        after_patience=gates["TASReplaceNodeDueToNotReadyOverFixedTime"],
    )


def host_of(node: Object) -> HostSeen:
    said = [each for each in node.get("conditions", ()) if each["type"] == "Ready"]
    taints = taints_of(node.get("taints", ()))
    if not said:
        return HostSeen(node["name"], Unreported(), taints)
    since = NOW + timedelta(seconds=said[0].get("at", 0))
    return HostSeen(node["name"], Ready() if is_ready(node) else NotReady(since), taints)


def gang_of(workload: Object, flavors: Mapping[str, Object]) -> GangSeen:
    admitted = (workload.get("admission") or {}).get("pod_sets", ()) if workload.get("admitted") else ()
    finished = any(each["type"] == "Finished" and each["status"] == "True" for each in workload.get("conditions", ()))
    return GangSeen(
        name=gang_of_workload(workload),
        held=tuple(held_of(workload, each, flavors) for each in admitted if each.get("topology_assignment")),
        lost_hosts=tuple(workload.get("unhealthy_nodes", ())),
        over=finished or bool(workload.get("evicted")),
    )


def held_of(workload: Object, admitted: Object, flavors: Mapping[str, Object]) -> Held:
    told: list[Object] = next(
        (each.get("tolerations", []) for each in workload["pod_sets"] if each["name"] == admitted["name"]), []
    )
    told = told + [t for name in admitted.get("flavors", {}).values() for t in flavors.get(name, {}).get("tolerations", [])]
    for check in workload.get("admission_checks", ()):
        updates = [each for each in check.get("pod_set_updates", ()) if each["name"] == admitted["name"]]
        told = told + [each for update in updates for each in update.get("tolerations", [])]
    return Held(assignment_of(admitted["topology_assignment"]), tolerations_of(told))


def pod_of(pod: Object) -> PodSeen:
    by_tree = PLACED_BY_TREE & pod.get("annotations", {}).keys()
    phase = pod.get("phase", "")
    stages = {"Pending": Stage.PENDING, "Succeeded": Stage.ENDED, "Failed": Stage.ENDED}
    return PodSeen(
        name=short(pod["name"]),
        gang=gang_of_pod(pod),
        stage=Stage.GATED if GATE in pod.get("gates", ()) else stages.get(phase, Stage.RUNNING),
        host=pod.get("node") or None,
        waits_for=pod.get("node_selector", {}).get(HOSTNAME) if by_tree else None,
        leaving=pod.get("deleted_at") is not None,
    )


def seen_of(given: Object) -> Seen:
    flavors = {each["name"]: each for each in given.get("flavors", ())}
    gangs = tuple(gang_of(each, flavors) for each in given.get("workloads", ()))
    return Seen(gangs, tuple(pod_of(each) for each in given.get("pods", ())))


def after(gang: GangSeen, judged: Judged, host: str) -> GangSeen:
    """Give the gang as it is once a verdict is carried out."""
    verdict = judged.verdicts.get(gang.name)
    if isinstance(verdict, Evict):
        return replace(gang, over=True)
    others = tuple(each for each in gang.lost_hosts if each != host)
    if isinstance(verdict, MarkLost):
        return replace(gang, lost_hosts=(*others, host))
    return replace(gang, lost_hosts=others) if isinstance(verdict, Unmark) else gang


@pytest.mark.parametrize(("given", "want"), rows("node_failure_decision"))
def test_a_lost_host_is_marked_waited_for_or_the_end_of_a_gang(given: Object, want: Object) -> None:
    seen, nodes = seen_of(given), {node["name"]: node for node in given.get("nodes", ())}
    before = {gang.name: gang for gang in seen.gangs}
    look_again, failed, evicted = 0.0, set[str](), list[Evict]()
    for name in given["look_at_nodes"]:
        host = host_of(nodes[name]) if name in nodes else HostGone(name)
        judged = judge(host, seen, now=NOW, rules=rules_of(given["feature_gates"]))
        if isinstance(judged, LookAgain):
            look_again = judged.after.total_seconds()
            continue
        look_again = 0.0
        failed |= set(judged.fail_pods)
        evicted += [each for each in judged.verdicts.values() if isinstance(each, Evict)]
        seen = replace(seen, gangs=tuple(after(gang, judged, name) for gang in seen.gangs))
    gang = seen.gangs[0]
    assert look_again == want["requeue_after_seconds"]
    assert failed >= set(want["terminated_pods"])
    assert (bool(evicted) or before[gang.name].over) is (want["evicted"] is not None)
    if evicted:
        assert want["evicted"]["message"].endswith(": " + ", ".join(evicted[0].hosts))
    if want["unhealthy_nodes"] is not None:
        assert list(gang.lost_hosts) == want["unhealthy_nodes"]
    if want["decision"] == "mark_for_replacement":
        assert gang.lost_hosts


@pytest.mark.parametrize(("given", "want"), rows("node_workload_status"))
def test_a_host_is_judged_for_one_gang(given: Object, want: Object) -> None:
    seen = seen_of(given)
    gang = seen.gangs[0] if seen.gangs else GangSeen("absent")
    state = gang_state(gang, host_of(given["node"]), seen.pods, rules_of(given["feature_gates"]))
    assert ("unhealthy" if state.lost else "healthy") == want["status"]
    assert sorted(state.fail_pods) == sorted(short(name) for name in want["pods_to_terminate"])
