"""Kueue's own table of waiting pods and the domains that they are let go into."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sliceward.scheduling.tree.ungating import Pod, PodSet, Ranks, Release, release
from tests.scheduling.golden.objects import GATE, assignment_of, gang_of_pod, gang_of_workload
from tests.scheduling.golden.tables import rows

Object = dict[str, Any]
OFFSET = "kueue.x-k8s.io/pod-index-offset"


def pod_of(pod: Object) -> Pod:
    return Pod(
        name=pod["name"],
        gated=GATE in pod.get("gates", ()),
        selector=pod.get("node_selector", {}),
        labels=pod.get("labels", {}),
        offset=pod.get("annotations", {}).get(OFFSET),
        ended=pod.get("phase") in {"Succeeded", "Failed"},
        uid=pod.get("uid", ""),
    )


def ranks_of(request: Object) -> Ranks | None:
    if "pod_index_label" not in request:
        return None
    return Ranks(request["pod_index_label"], request.get("subgroup_index_label"), request.get("subgroup_count"))


def pod_sets_of(workload: Object, pods: list[Object]) -> list[PodSet]:
    requests = {each["name"]: each.get("topology_request") or {} for each in workload["pod_sets"]}
    return [
        PodSet(
            name=admitted["name"],
            count=admitted["count"],
            assignment=assignment_of(admitted["topology_assignment"]) if admitted.get("topology_assignment") else None,
            pods=tuple(pod_of(pod) for pod in pods if pod.get("pod_set") == admitted["name"]),
            ranks=ranks_of(requests.get(admitted["name"], {})),
            group=requests.get(admitted["name"], {}).get("group"),
        )
        for admitted in (workload.get("admission") or {}).get("pod_sets", ())
    ]


@pytest.mark.parametrize(("given", "want"), rows("pod_to_domain_ungating"))
def test_waiting_pods_are_let_go_into_their_domains(given: Object, want: Object) -> None:
    selectors = {pod["name"]: dict(pod.get("node_selector", {})) for pod in given["pods"]}
    gated = {pod["name"]: GATE in pod.get("gates", ()) for pod in given["pods"]}
    errors = []
    for workload in given["workloads"]:
        mine = [pod for pod in given["pods"] if gang_of_pod(pod) == gang_of_workload(workload)]
        lost, in_flight = workload.get("unhealthy_nodes", ()), given.get("ungating_in_flight_uids", ())
        admitted = pod_sets_of(workload, mine) if workload.get("admitted") else []
        released = release(admitted, lost_hosts=frozenset(lost), in_flight=frozenset(in_flight))
        if not isinstance(released, Release):
            errors.append(released.why)
            continue
        for go in released.pods:
            assert gated[go.pod]
            gated[go.pod] = False
            selectors[go.pod] |= go.selector
    assert bool(errors) is bool(want["error"])
    ended = {pod["name"] for pod in given["pods"] if pod.get("phase") in {"Succeeded", "Failed"}}
    got = Counter(tuple(sorted(selectors[name].items())) for name in selectors if not gated[name] and name not in ended)
    wanted = Counter({tuple(sorted(each["node_selector"].items())): each["pods"] for each in want["placed"]})
    assert got == wanted
    assert sum(gated.values()) == sum(each["gated"] for each in want["pods"])
    if want["exact"]:
        assert gated == {each["pod"]: each["gated"] for each in want["pods"]}
        assert selectors == {each["pod"]: each.get("node_selector", {}) for each in want["pods"]}
