"""The TPU pods of this node as the sources need them: where their metrics answer, who owns the devices, which gang they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import GangId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.topology.names import Names

_ENDED = frozenset({"Succeeded", "Failed"})
_UID = re.compile(r"[0-9a-fA-F-]{8,64}")


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of a pod in its gang. ``rank`` is None where no label tells."""

    gang: GangId
    role: str
    slice_index: int
    rank: int | None

    def __str__(self) -> str:
        """Print as it stands in a frame's note ``gang``: ``gang|role|slice|rank``."""
        return f"{self.gang}|{self.role}|{self.slice_index}|{'' if self.rank is None else self.rank}"


@dataclass(frozen=True, slots=True)
class TpuPod:
    """A pod on this node that asks for chips and has not ended. ``ip`` is "" before the kubelet has given one."""

    uid: str
    namespace: str
    name: str
    ip: str
    host_network: bool
    seat: Seat | None


@dataclass(frozen=True, slots=True)
class PodsOnNode:
    """All TPU pods of this node at ``as_of`` (unix seconds)."""

    as_of: float
    pods: tuple[TpuPod, ...]

    @property
    def by_uid(self) -> dict[str, TpuPod]:
        """The pods by uid."""
        return {pod.uid: pod for pod in self.pods}


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Labels and annotations of this node, empty where nobody could be asked."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class Node:
    """What is known of this node: ``pods`` is None before the first list, or where there is no API server to ask.

    ``is_behind``: something on the node is younger than the list, which is then asked for early.
    """

    def __init__(self, pods: PodsOnNode | None = None, facts: NodeFacts | None = None) -> None:
        """Begin with what is known."""
        self.pods = pods
        self.is_behind = False
        self.facts = facts or NodeFacts()


def read_pods(items: Iterable[Mapping[str, Any]], *, cluster: str, names: Names, as_of: float) -> PodsOnNode:
    """Give the TPU pods among ``items`` (Kubernetes JSON). An object that cannot be read is left out."""
    found = []
    for item in items:
        try:
            pod = _pod(item, cluster, names)
        except (AttributeError, KeyError, TypeError, ValueError, Misconfigured):
            continue
        if pod is not None:
            found.append(pod)
    return PodsOnNode(as_of, tuple(found))


def _pod(item: Mapping[str, Any], cluster: str, names: Names) -> TpuPod | None:
    meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    asks = any(
        names.tpu_resource in ((container.get("resources") or {}).get(part) or {})
        for container in spec.get("containers") or ()
        for part in ("limits", "requests")
    )
    uid = str(meta["uid"])
    if not asks or status.get("phase") in _ENDED or not _UID.fullmatch(uid):
        return None
    namespace, host_network = meta.get("namespace") or "default", bool(spec.get("hostNetwork"))
    labels = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    seat = seat_of(labels, cluster=cluster, namespace=namespace, names=names)
    return TpuPod(uid, namespace, str(meta["name"]), str(status.get("podIP") or ""), host_network, seat)


def seat_of(labels: Mapping[str, str], *, cluster: str, namespace: str, names: Names) -> Seat | None:
    """Give the place that the labels of a JobSet's or Indexed Job's pod tell, None where they tell none."""
    if labels.get(names.jobset_name):
        gang = GangId(cluster, namespace, "JobSet", labels[names.jobset_name])
    elif labels.get(names.job_name) and names.completion_index in labels:
        gang = GangId(cluster, namespace, "Job", labels[names.job_name])
    else:
        return None
    rank = labels.get(names.completion_index, "")
    index = labels.get(names.job_index, "0") if gang.owner_kind == "JobSet" else "0"
    if not index.isdecimal():
        return None
    return Seat(gang, labels.get(names.replicated_job, ""), int(index), int(rank) if rank.isdecimal() else None)
