"""Deletion: preconditions, grace, finalizers, propagation, and collections at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.simulation.kube import kinds, refusal
from sliceward.simulation.kube.store import stamp
from sliceward.simulation.kube.writes import Call, Writer, is_free

if TYPE_CHECKING:
    from sliceward.simulation.kube.refusal import Json
    from sliceward.simulation.kube.selectors import Selector
    from sliceward.simulation.kube.store import Item

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete; ``grace`` in seconds, None as the object says."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    version: str = ""
    dry_run: bool = False


def options_from(body: Json, query: dict[str, str]) -> DeleteOptions:
    """Read options from the body, or from the query where the body is silent."""
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    preconditions = body.get("preconditions") or {}
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy", "")
    orphan = body.get("orphanDependents", query.get("orphanDependents"))
    if orphan is not None and not propagation:
        propagation = "Orphan" if str(orphan).lower() in {"true", "1"} else "Background"
    if propagation not in {"", "Orphan", "Background", "Foreground"}:
        cause = refusal.unsupported_value("propagationPolicy", propagation, ("Foreground", "Background", "Orphan", "nil"))
        message = f'DeleteOptions.meta.k8s.io "" is invalid: {cause.field}: {cause.message}'
        details = {"group": "meta.k8s.io", "kind": "DeleteOptions", "causes": [cause.as_json()]}
        raise refusal.Refusal(422, "Invalid", message, details)
    return DeleteOptions(
        grace=None if grace is None else max(int(grace), 0),
        propagation=propagation,
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
        dry_run="All" in (body.get("dryRun") or ()) or query.get("dryRun") == "All",
    )


def delete(writer: Writer, call: Call, options: DeleteOptions) -> tuple[Json, bool]:
    """Delete, or begin to; give the object as it is now and whether it is gone."""
    item = writer.get(call)
    _check(call, item, options)
    obj = item.object()
    meta = obj["metadata"]
    grace = _grace(call, obj, options)
    finalizers = _finalizers(call, meta, options)
    leaving = "deletionTimestamp" in meta
    if leaving and grace >= meta.get("deletionGracePeriodSeconds", 0) and finalizers == meta.get("finalizers", []):
        if is_free(call.kind, obj):
            writer.settle(replace(call, dry_run=options.dry_run), obj, item.ownership)
            return obj, True
        return obj, False
    if not leaving and call.kind.generation:
        meta["generation"] = meta.get("generation", 0) + 1
    meta["deletionTimestamp"] = stamp(writer.store.clock() + timedelta(seconds=grace))
    meta["deletionGracePeriodSeconds"] = grace
    meta["finalizers"] = finalizers
    if not finalizers:
        del meta["finalizers"]
    if call.kind == kinds.NAMESPACE:
        obj["status"] = {"phase": "Terminating"}
    writer.settle(replace(call, dry_run=options.dry_run or call.dry_run), obj, item.ownership)
    return obj, is_free(call.kind, obj)


def delete_collection(writer: Writer, call: Call, selector: Selector, options: DeleteOptions) -> list[Item]:
    """Delete all selected objects; give them as they were."""
    items = [item for item in writer.store.collection(call.kind).within(call.namespace) if item.selected(selector, "")]
    for item in items:
        one = replace(call, namespace=item.fields.get("metadata.namespace", ""), name=item.fields["metadata.name"])
        delete(writer, one, options)
    return items


def _check(call: Call, item: Item, options: DeleteOptions) -> None:
    versions = ("ResourceVersion", options.version, str(item.version), "modified")
    for what, asked, have, since in (("UID", options.uid, item.uid, "deleted and then recreated"), versions):
        if asked and asked != have:
            why = f"the {what} in the precondition ({asked}) does not match the {what} in record ({have})"
            raise refusal.conflict(call.kind, call.name, f"{why}. The object might have been {since}")


def _grace(call: Call, obj: Json, options: DeleteOptions) -> int:
    """Only pods are given grace: those that are bound and have not ended."""
    if call.kind != kinds.POD:
        return 0
    if not obj["spec"].get("nodeName") or obj.get("status", {}).get("phase") in {"Failed", "Succeeded"}:
        return 0
    own = obj["spec"].get("terminationGracePeriodSeconds", 30)
    return int(own if options.grace is None else options.grace)


def _finalizers(call: Call, meta: Json, options: DeleteOptions) -> list[str]:
    # A Job's pods are orphaned unless somebody asks otherwise: batch/v1 keeps that for compatibility.
    policy = options.propagation or ("Orphan" if call.kind == kinds.JOB else "")
    asked = list(meta.get("finalizers", ()))
    if not policy:
        return asked
    kept = [name for name in asked if name not in {FOREGROUND, ORPHAN}]
    extra = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(policy, [])
    return kept + extra
