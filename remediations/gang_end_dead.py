"""gang.end_dead: end by force what a dead host still holds; nothing else ever ends it, and the gang waits for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.remediations import hurt, marks
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.given import duration
from sliceward.remediations.nodes import read_all, some
from sliceward.remediations.outcome import Done, Outcome, Wait
from sliceward.remediations.ports import POD
from sliceward.remediations.taken_over import taken_over

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Object, Ports

MARGIN = timedelta(seconds=2)
"""Beyond the grace period, for clocks that differ."""


class EndDead:
    """Never a pod on a host that answers, one within its grace, or one that a controller has not told to end.

    A host counts as dead when Kubernetes has given it up (not Ready and tainted unreachable or out-of-service, or its Node
    deleted), or when it is not Ready and our own finding ``HostLost`` of this incident says so of it now (``Target.lost``).
    A host may die while the pods of a gang that we suspended still end: so this goes on until none of them is left, or
    somebody else has taken the gang over.
    """

    name: str = "gang.end_dead"
    about: str = "Force-delete, by uid, pods of the gang that outlive their grace on hosts that are proven dead."
    irreversible: bool = True
    harm: bool = True
    inverse: str = ""
    parameters: Mapping[str, str] = {"margin": "wait this long beyond the grace period (default 2s)"}
    verbs: tuple[Verb, ...] = (
        Verb("", "pods", ("get", "list", "delete")),
        Verb("", "nodes", ("get",)),
        Verb("jobset.x-k8s.io", "jobsets", ("get",)),
        Verb("batch", "jobs", ("get",)),
    )

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Look at each pod of the gang whose host does not answer."""
        known = hurt.gang_and_kind(target)
        if known is None:
            return Done("no gang is hurt: nothing to end")
        if theirs := await taken_over(target, ports.cluster):
            return theirs
        pods = [pod for pod in await hurt.pods_left(*known, ports.cluster) if hurt.node_of(pod)]
        nodes, _ = await read_all(ports.cluster, map(hurt.node_of, pods))
        silent = [pod for pod in pods if not _answers(nodes.get(hurt.node_of(pod)))]
        if not silent:
            if pods and target.facts.get("suspended"):
                return Wait(SOON, f"{len(pods)} pods of the gang still end, all on hosts that answer")
            return Done("no pod of the gang is left on a dead host")
        margin = duration(target.given, "margin", MARGIN)
        due = [pod for pod in silent if _dead(nodes.get(hurt.node_of(pod)), target) and _overdue(pod, target.now, margin)]
        for pod in due:
            meta = pod["metadata"]
            await ports.cluster.delete(POD, meta["name"], meta["namespace"], uid=meta["uid"], grace=timedelta(0))
        if due:
            return Wait(SOON, f"ended by force: {some(map(hurt.name_of, due))}")
        return Wait(SOON, _why_waiting(silent, nodes, target))


def _answers(node: Object | None) -> bool:
    return node is not None and marks.is_ready(node)


def _dead(node: Object | None, target: Target) -> bool:
    if node is None or marks.is_proven_dead(node):
        return True
    return not marks.is_ready(node) and node["metadata"]["name"] in {host.name for host in target.lost}


def _overdue(pod: Object, now: datetime, margin: timedelta) -> bool:
    """Whether the pod should have ended: ``deletionTimestamp`` is the moment at which its grace is over."""
    ends = pod["metadata"].get("deletionTimestamp")
    return bool(ends) and now >= datetime.fromisoformat(str(ends)).astimezone(UTC) + margin


def _why_waiting(silent: list[Object], nodes: Mapping[str, Object], target: Target) -> str:
    unproven = {hurt.node_of(pod) for pod in silent if not _dead(nodes.get(hurt.node_of(pod)), target)}
    if unproven:
        return f"not Ready but not proven dead: {some(unproven)}"
    return f"within their grace on dead hosts: {some(map(hurt.name_of, silent))}"
