"""Disruption budgets: their status, and the eviction door that asks it.

A budget by number (``minAvailable: 31``) counts the selected pods. One by ``maxUnavailable`` or percentage needs the scale of the
pods' controller; Jobs and bare pods have none, so it never allows anything, exactly as on a real cluster.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.simulation.kube import deletion, kinds, refusal, selectors
from sliceward.simulation.kube.store import stamp
from sliceward.simulation.kube.writes import Call, Writer

if TYPE_CHECKING:
    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.refusal import Json
    from sliceward.simulation.kube.store import Change, Item

_MANAGER = "kube-controller-manager"


@dataclass(slots=True)
class Budgets:
    """Keeps the status of all disruption budgets; follows pods and budgets."""

    writer: Writer
    pending: set[str] = field(default_factory=set)

    def notice(self, kind: Kind, change: Change) -> None:
        """Recompute soon, where a pod or a budget of a namespace with budgets changed."""
        namespace = change.after.fields.get("metadata.namespace", "")
        if kind not in {kinds.POD, kinds.BUDGET} or namespace in self.pending:
            return
        if any(self.writer.store.collection(kinds.BUDGET).within(namespace)):
            self.pending.add(namespace)
            asyncio.get_running_loop().call_soon(self._recompute, namespace)

    def _recompute(self, namespace: str) -> None:
        self.pending.discard(namespace)
        for item in list(self.writer.store.collection(kinds.BUDGET).within(namespace)):
            self._refresh(item)

    def _refresh(self, item: Item) -> Json:
        budget = item.object()
        status = self._status(budget)
        if status != budget.get("status"):
            call = Call(kinds.BUDGET, *_place(item), "status", _MANAGER)
            self.writer.change(call, item, budget | {"status": status})
        return budget | {"status": status}

    def _status(self, budget: Json) -> Json:
        meta, spec = budget["metadata"], budget.get("spec", {})
        pods = [item.object() for item in self._selected(budget)]
        healthy = sum(_is_healthy(pod) for pod in pods)
        counted = isinstance(spec.get("minAvailable"), int)
        desired = spec["minAvailable"] if counted else 0
        expected = len(pods) if counted else 0
        allowed = max(healthy - desired, 0) if expected else 0
        reason = "SufficientPods" if allowed else "InsufficientPods"
        if not counted and pods:
            healthy, reason = 0, "SyncFailed"
        condition = {
            "type": "DisruptionAllowed",
            "status": "True" if allowed else "False",
            "reason": reason,
            "message": "",
            "observedGeneration": meta.get("generation", 1),
        }
        was: Json = next(iter(budget.get("status", {}).get("conditions", ())), {})
        same = {key: was.get(key) for key in ("status", "reason")} == {key: condition[key] for key in ("status", "reason")}
        condition["lastTransitionTime"] = was["lastTransitionTime"] if same else stamp(self.writer.store.clock())
        return {
            "conditions": [condition],
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": meta.get("generation", 1),
        }

    def _selected(self, budget: Json) -> list[Item]:
        terms = selectors.from_object(budget.get("spec", {}).get("selector"))
        if terms is None:
            return []
        pods = self.writer.store.collection(kinds.POD).within(budget["metadata"]["namespace"])
        return [pod for pod in pods if all(term.passes(pod.labels) for term in terms)]

    def evict(self, call: Call, eviction: Json) -> Json:
        """Evict a pod, or raise a 429 where a budget does not allow it."""
        item = self.writer.get(call)
        pod = item.object()
        options = deletion.options_from(eviction.get("deleteOptions") or {}, {})
        options = replace(options, dry_run=options.dry_run or call.dry_run)
        if not _may_go(pod):
            self._ask(call, item, pod)
        if not options.dry_run and not item.leaving:
            item = self._mark(call, item, pod)
            if options.version:
                options = replace(options, version=str(item.version))
        deletion.delete(self.writer, call, options)
        return refusal.success()

    def _ask(self, call: Call, item: Item, pod: Json) -> None:
        covering = [
            budget
            for budget in self.writer.store.collection(kinds.BUDGET).within(call.namespace)
            if any(chosen.uid == item.uid for chosen in self._selected(budget.object()))
        ]
        if len(covering) > 1:
            raise refusal.Refusal(
                500,
                "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        for found in covering:
            budget = self._refresh(found)
            status = budget["status"]
            if not _is_ready(pod) and _unready_may_go(budget):
                continue
            if status["disruptionsAllowed"] <= 0:
                name = budget["metadata"]["name"]
                why = f"The disruption budget {name} needs {status['desiredHealthy']} healthy pods and has {status['currentHealthy']} currently"
                if status["conditions"][0]["reason"] == "SyncFailed":
                    why = f"The disruption budget {name} does not allow evicting pods currently because it failed sync: "
                details = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
                message = "Cannot evict pod as it would violate the pod's disruption budget."
                raise refusal.Refusal(429, "TooManyRequests", message, details)

    def _mark(self, call: Call, item: Item, pod: Json) -> Item:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": stamp(self.writer.store.clock()),
        }
        status = pod.get("status", {})
        others = [known for known in status.get("conditions", ()) if known["type"] != "DisruptionTarget"]
        status_call = Call(call.kind, call.namespace, call.name, subresource="status", manager="kube-apiserver")
        return self.writer.change(status_call, item, pod | {"status": status | {"conditions": [*others, condition]}})


def _place(item: Item) -> tuple[str, str]:
    return item.fields["metadata.namespace"], item.fields["metadata.name"]


def _is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


def _is_healthy(pod: Json) -> bool:
    return _is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


def _may_go(pod: Json) -> bool:
    ended = pod.get("status", {}).get("phase") in {"Succeeded", "Failed", "Pending"}
    return ended or "deletionTimestamp" in pod["metadata"]


def _unready_may_go(budget: Json) -> bool:
    if budget.get("spec", {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget["status"]
    return bool(status["desiredHealthy"] > 0 and status["currentHealthy"] >= status["desiredHealthy"])
