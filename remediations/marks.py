"""Our marks on a node as values: the taint and annotation that take it out of service, and nobody else's.

Taints are one list that every patch replaces whole, so each patch made here carries the version of the node that it was
made from: a stale one is answered with a conflict instead of wiping somebody's fresh mark (13 of 64 nodes lost one when
this was measured without the version).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.remediations.ports import Object

OUR_EFFECT = "NoSchedule"
CORDON = "sliceward.dev/cordon"
"""Annotation of the action node.cordon: ``{"incident", "found", "since"}``; ``found``: it was cordoned before us."""


def taints(node: Object) -> list[dict[str, Any]]:
    """Give all taints of a node."""
    return list(node.get("spec", {}).get("taints") or [])


def annotation(node: Object, key: str) -> dict[str, Any]:
    """Give one of our JSON annotations, empty where it is missing or was changed into something else."""
    try:
        value = json.loads((node["metadata"].get("annotations") or {}).get(key, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def holders(node: Object) -> frozenset[str]:
    """Give the incidents that hold this node out of service by our taint."""
    return frozenset(taint.get("value", "") for taint in taints(node) if taint.get("key") == NAMES.out_of_service)


def taken_out(node: Object, *, incident: str, why: str, since: datetime) -> Object | None:
    """Give the patch that takes a node out of service for an incident; None where it is out for it already."""
    ours = {"key": NAMES.out_of_service, "value": incident, "effect": OUR_EFFECT}
    present = taints(node)
    tainted = any(_same(taint, ours) for taint in present)
    told = annotation(node, NAMES.incident).get("incident") == incident
    if tainted and told:
        return None
    note = {"incident": incident, "since": since.isoformat(), "why": why, "owner": "sliceward"}
    patch: Object = {"metadata": {**_version(node), "annotations": {NAMES.incident: json.dumps(note)}}}
    if not tainted:
        patch["spec"] = {"taints": [*present, ours]}
    return patch


def given_back(node: Object, *, incident: str) -> Object | None:
    """Give the patch that removes the marks of this incident, and no other mark; None where there is none."""
    present = taints(node)
    others = [taint for taint in present if not _of(taint, incident)]
    annotations = node["metadata"].get("annotations") or {}
    told = annotation(node, NAMES.incident)
    # Our key with words of somebody else's hand belongs to nobody once no incident of ours holds the node.
    ours = told.get("incident") == incident or (not told and not holders(node) - {incident})
    patch: Object = {"metadata": _version(node)}
    if len(others) != len(present):
        patch["spec"] = {"taints": others or None}
    if NAMES.incident in annotations and ours:
        patch["metadata"]["annotations"] = {NAMES.incident: None}
    return patch if len(patch) > 1 or "annotations" in patch["metadata"] else None


def cordoned(node: Object, *, incident: str, since: datetime) -> Object | None:
    """Give the patch that cordons a node and remembers what it found; None where this incident has done so."""
    if annotation(node, CORDON).get("incident") == incident:
        return None
    found = bool(node.get("spec", {}).get("unschedulable"))
    note = {"incident": incident, "found": found, "since": since.isoformat()}
    patch: Object = {"metadata": {**_version(node), "annotations": {CORDON: json.dumps(note)}}}
    if not found:
        patch["spec"] = {"unschedulable": True}
    return patch


def uncordoned(node: Object, *, incident: str) -> Object | None:
    """Give the patch that restores what `cordoned` found; None where this incident has cordoned nothing here."""
    note = annotation(node, CORDON)
    if note.get("incident") != incident:
        return None
    patch: Object = {"metadata": {**_version(node), "annotations": {CORDON: None}}}
    if note.get("found") is False and node.get("spec", {}).get("unschedulable"):
        patch["spec"] = {"unschedulable": None}
    return patch


def instance_of(node: Object) -> str:
    """Give the provider's id of the machine behind a node, "" where it is not told."""
    told = (node["metadata"].get("annotations") or {}).get(NAMES.instance_id)
    return str(told or node.get("spec", {}).get("providerID", ""))


def label(node: Object, key: str) -> str | None:
    """Give a label of a node."""
    found = (node["metadata"].get("labels") or {}).get(key)
    return found if found is None else str(found)


def labelled(node: Object, key: str, value: str | None) -> Object | None:
    """Give the patch that sets (or with None removes) a label; None where it is so already."""
    if label(node, key) == value:
        return None
    return {"metadata": {**_version(node), "labels": {key: value}}}


def is_ready(node: Object) -> bool:
    """Whether the node's kubelet says Ready now; unknown is not ready."""
    conditions = node.get("status", {}).get("conditions") or []
    return any(item.get("type") == NAMES.ready and item.get("status") == "True" for item in conditions)


def is_proven_dead(node: Object) -> bool:
    """Whether Kubernetes itself has given the host up: not Ready, and tainted as unreachable or out of service."""
    given_up = {NAMES.unreachable, NAMES.kubernetes_out_of_service}
    return not is_ready(node) and any(taint.get("key") in given_up for taint in taints(node))


def why_unfit(node: Object, *, tolerates: frozenset[str] = frozenset()) -> str:
    """Say why no new pod of a gang should be sent to a node; "" where it may."""
    if not is_ready(node):
        return "not Ready"
    if node.get("spec", {}).get("unschedulable"):
        return "cordoned"
    known = {NAMES.tpu_taint, *tolerates}
    strange = [t for t in taints(node) if t.get("effect") in ("NoSchedule", "NoExecute") and t.get("key") not in known]
    return f"tainted {strange[0].get('key')}" if strange else ""


def _version(node: Object) -> dict[str, Any]:
    return {"resourceVersion": node["metadata"]["resourceVersion"]}


def _same(taint: dict[str, Any], ours: dict[str, str]) -> bool:
    return all(taint.get(key) == value for key, value in ours.items())


def _of(taint: dict[str, Any], incident: str) -> bool:
    return taint.get("key") == NAMES.out_of_service and taint.get("value") == incident
