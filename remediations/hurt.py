"""The gang that an action is about, as its owner object says *now*: `Hurt`, `Gone` or `Held`.

A gang may end, be deleted or be replaced by another of the same name at any moment between two calls; each of these is
an answer here, never a crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.gangs.kind import noted
from sliceward.remediations.outcome import Done, Failed
from sliceward.remediations.ports import POD, WORKLOAD
from sliceward.topology.gangs import ManagedBy
from sliceward.topology.ids import GangId, parse
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.remediations.action import Target
    from sliceward.remediations.gangs.kind import GangKind
    from sliceward.remediations.ports import Cluster, Object


@dataclass(frozen=True, slots=True)
class Hurt:
    """A gang that is there and that sliceward may move."""

    id: GangId
    uid: str
    kind: GangKind
    owner: Object


@dataclass(frozen=True, slots=True)
class Gone:
    """No such gang any more (ended by itself, deleted, or another of the same name): nothing to do to it."""

    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """A gang that somebody else manages, or of a kind that sliceward cannot move: a human's."""

    why: str


def gang_id(target: Target) -> GangId | None:
    """Give the gang's id from the target, or from what earlier steps noted if it has left the fleet meanwhile."""
    if target.facts.get("gang"):
        found = parse(str(target.facts["gang"]))
        return found if isinstance(found, GangId) else None
    return target.gang.id if target.gang is not None else None


async def find(target: Target, cluster: Cluster) -> Hurt | Gone | Held:
    """Read the gang's owner object and say what can be done with it."""
    gang = gang_id(target)
    if gang is None:
        return Gone("no gang is hurt")
    kind = GANG_KINDS.get(gang.owner_kind)
    if kind is None:
        return Held(f"{gang}: a {gang.owner_kind} is no kind of gang that sliceward can move")
    owner = await cluster.get(kind.kind, gang.name, gang.namespace)
    if owner is None:
        return Gone(f"{gang} no longer exists")
    hurt = Hurt(gang, owner["metadata"]["uid"], kind, owner)
    return _gone(hurt, target) or _held(hurt, target) or hurt


async def movable(target: Target, cluster: Cluster, *, to: str) -> Hurt | Done | Failed:
    """Give the gang if sliceward may move it, else the outcome of the action, for which there is nothing ``to`` do."""
    match await find(target, cluster):
        case Gone(why):
            return Done(f"{why}: nothing to {to}", {"gang_ended": True})
        case Held() as held:
            return for_a_human(held)
        case Hurt() as hurt:
            return hurt


def _gone(hurt: Hurt, target: Target) -> Gone | None:
    known = str(target.facts.get("gang_uid") or (target.gang.uid if target.gang is not None else hurt.uid))
    if hurt.uid != known:
        return Gone(f"{hurt.id} was deleted and created again; the new one is not touched")
    ended = hurt.kind.ended(hurt.owner)
    return Gone(f"{hurt.id} has {ended} by itself") if ended else None


def _held(hurt: Hurt, target: Target) -> Held | None:
    if target.gang is not None and target.gang.managed_by is not ManagedBy.NOBODY:
        return Held(f"{hurt.id} is managed by {target.gang.managed_by}")
    return Held(f"{hurt.id} is queued by Kueue ({NAMES.kueue_queue})") if _kueue_labelled(hurt.owner, hurt.kind) else None


async def held_by_workload(hurt: Hurt, cluster: Cluster) -> Held | None:
    """Say whether a Kueue Workload belongs to the gang though no label shows it (Kueue may manage jobs without a queue name)."""
    for workload in await cluster.list(WORKLOAD, namespace=hurt.id.namespace):
        owners = workload["metadata"].get("ownerReferences") or []
        if any(owner.get("uid") == hurt.uid for owner in owners):
            return Held(f"{hurt.id} is managed by Kueue (workload {workload['metadata']['name']})")
    return None


def for_a_human(held: Held) -> Failed:
    """Say what a held gang means."""
    return Failed(f"held for a human: {held.why}; sliceward does not suspend or move it")


def gang_and_kind(target: Target) -> tuple[GangId, GangKind] | None:
    """Give the gang's id and its kind, unread: also of one whose owner is gone; None where no gang is hurt that we know."""
    gang = gang_id(target)
    kind = GANG_KINDS.get(gang.owner_kind) if gang is not None else None
    return (gang, kind) if gang is not None and kind is not None else None


async def pods_left(gang: GangId, kind: GangKind, cluster: Cluster) -> Sequence[Object]:
    """Give the pods of a gang that still hold something, listed fresh."""
    pods = await cluster.list(POD, namespace=gang.namespace, labels=kind.pods(gang.name))
    return [pod for pod in pods if not has_ended(pod)]


def has_ended(pod: Object) -> bool:
    """Whether a pod holds nothing any more: its processes have ended and nobody waits for it to be tidied away."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")


def name_of(pod: Object) -> str:
    """Give the name of an object."""
    return str(pod["metadata"]["name"])


def node_of(pod: Object) -> str:
    """Give the node that a pod is bound to, "" while it is not."""
    return str(pod.get("spec", {}).get("nodeName") or "")


def _kueue_labelled(owner: Object, kind: GangKind) -> bool:
    metadata = [owner["metadata"], *(template.get("metadata") or {} for template in kind.templates(owner))]
    labelled = any(NAMES.kueue_queue in (part.get("labels") or {}) for part in metadata)
    delegated = str(owner.get("spec", {}).get("managedBy", "")).startswith(NAMES.kueue_managed_by_prefix)
    return labelled or delegated or bool(noted(owner, NAMES.kueue_queue))
