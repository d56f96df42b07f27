"""The invariants that a run of the emulated cluster can break, looked at on every change of an object.

Numbers as in DESIGN.md, section 6. What is broken is noted with the moment's facts; `Invariants.broken` is empty at the end.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.remediations.gangs.kind import SUSPENDED_BY
from sliceward.simulation.controllers.fitting import chips
from sliceward.simulation.kube import kinds
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.store import Change, Store
    from sliceward.topology.ids import PartId

Json = dict[str, Any]

MOST_RUNS = 2
"""Runs of a shipped playbook at once in one cluster."""
OF_CONTROLLERS = "node.kubernetes.io/"
"""Taints that Kubernetes itself puts on and takes off."""


@dataclass(eq=False)
class Invariants:
    """Watches the emulated store. ``firing``: whether each part's finding fires now, as the watcher last said."""

    store: Store
    database: Path
    most_hosts: int = 64
    broken: list[str] = field(default_factory=list)
    firing: dict[PartId, bool] = field(default_factory=dict)
    suspensions: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def watch(self) -> None:
        """Look at every change from now on."""
        hosts = len(self.store.list(kinds.NODE))
        self.most_hosts = min(64, max(16, hosts // 4))
        self.store.listeners.append(self._changed)

    def _changed(self, kind: Kind, change: Change) -> None:
        before = change.before.object() if change.before is not None else {}
        after = {} if change.gone else change.after.object()
        self.seen[kind.plural] += 1
        if kind == kinds.NODE and before and after:
            self._others_marks(before, after)
            self._our_marks(before, after)
        elif kind == kinds.POD and after:
            self._chips(after)
        elif kind.plural == "jobsets" and before and after:
            self._gang(before, after)

    # ── nodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _others_marks(self, before: Json, after: Json) -> None:
        """6: marks made by others are never removed or overwritten."""
        name = after["metadata"]["name"]
        lost = [
            taint
            for taint in _taints(before)
            if taint["key"] != NAMES.out_of_service
            and not taint["key"].startswith(OF_CONTROLLERS)
            and taint not in _taints(after)
        ]
        if lost:
            self._note(6, f"{name} lost {lost}")
        if before["spec"].get("unschedulable") and not after["spec"].get("unschedulable"):
            self._note(6, f"{name} was uncordoned")

    def _our_marks(self, before: Json, after: Json) -> None:
        """1, 2, 3 and 5: a new mark is of an open incident about this host, the only one, intended, within the budget."""
        name, ours, had = after["metadata"]["name"], _ours(after), _ours(before)
        if len(ours) > 1:
            self._note(2, f"{name} is held by {sorted(ours)}")
        for incident in ours - had:
            row = self._incident(incident)
            if row is None or not row["open"]:
                self._note(5, f"{name} is marked for {incident}, which is not open")
            elif not any(name in host for host in json.loads(row["body"])["domain"]):
                self._note(5, f"{name} is marked for {incident}, which is not about it")
            if not self._intents(incident, "domain.mark"):
                self._note(3, f"{name} is marked for {incident} without an intent")
        if ours - had:
            self._budget()

    def _budget(self) -> None:
        """1: budgets are never exceeded."""
        marked = {node["metadata"]["name"]: _ours(node) for node in self.store.list(kinds.NODE)}
        held = [name for name, ours in marked.items() if ours]
        owners = set[str]().union(*marked.values())
        if len(held) > self.most_hosts:
            self._note(1, f"{len(held)} hosts are out of service, {self.most_hosts} may be")
        if len(owners) > MOST_RUNS:
            self._note(1, f"{len(owners)} incidents hold hosts: {sorted(owners)}")

    # ── gangs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _chips(self, pod: Json) -> None:
        """7: no two gangs on one host's chips, no slice over two pools."""
        node = pod["spec"].get("nodeName")
        if not node or not chips(pod):
            return
        here = [one for one in self._living() if one["spec"].get("nodeName") == node]
        gangs = {_gang_of(one) for one in here}
        if len(gangs) > 1:
            self._note(7, f"{node} is shared by {sorted(gangs)}")
        room = int(self._node(node)["status"]["allocatable"][NAMES.tpu_resource])
        if sum(map(chips, here)) > room:
            self._note(7, f"{node} has {room} chips, its pods hold {sum(map(chips, here))}")
        mates = [one for one in self._living() if _slice_of(one) == _slice_of(pod) and one["spec"].get("nodeName")]
        pools = {str(one["spec"]["nodeName"]).partition("-host-")[0] for one in mates}
        if len(pools) > 1:
            self._note(7, f"slice {_slice_of(pod)} is mixed over {sorted(pools)}")

    def _gang(self, before: Json, after: Json) -> None:
        """3 and 7: a suspension is intended and its finding fires; a resumption comes after the last old pod."""
        was, now = before["spec"].get("suspend"), after["spec"].get("suspend")
        name = after["metadata"]["name"]
        if now and not was:
            self.suspensions[name] += 1
            incident = (after["metadata"].get("annotations") or {}).get(SUSPENDED_BY, "")
            if not self._intents(incident, "gang.suspend"):
                self._note(3, f"{name} was suspended for {incident or 'nobody'} without an intent")
            if not any(self.firing.values()):
                self._note(3, f"{name} was suspended though nothing fires")
        if was and not now:
            left = [pod["metadata"]["name"] for pod in self.store.list(kinds.POD) if _gang_of(pod) == name]
            if left:
                self._note(7, f"{name} was resumed beside {left}")

    # ── provider, and between rounds ──────────────────────────────────────────────────────────────────────────────────

    def repair_requested(self, host: str, operation: str) -> None:
        """2, 3 and 4: a repair is intended, its host ours alone and drained, and the fault is still there."""
        intended = self._query(
            "SELECT incident FROM intents WHERE ? LIKE operation || '.%' AND action = 'host.repair'", operation
        )
        if not intended:
            self._note(3, f"repair of {host} was asked for without an intent")
        if _ours(self._node(host)) != {row["incident"] for row in intended}:
            self._note(2, f"repair of {host} was asked for, which is held by {sorted(_ours(self._node(host)))}")
        busy = [pod["metadata"]["name"] for pod in self._living() if pod["spec"].get("nodeName") == host and chips(pod)]
        if busy:
            self._note(4, f"repair of {host} was asked for while {busy} run there")

    def settled(self, open_now: Collection[str]) -> None:
        """5, between two rounds: no mark of an incident that is closed."""
        for node in self.store.list(kinds.NODE):
            for incident in _ours(node) - set(open_now):
                row = self._incident(incident)
                if row is not None and not row["open"]:
                    self._note(5, f"{node['metadata']['name']} still carries the mark of {incident}, which is closed")

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _note(self, number: int, what: str) -> None:
        self.broken.append(f"invariant {number}: {what}")

    def _living(self) -> Iterable[Json]:
        for pod in self.store.list(kinds.POD):
            if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}:
                yield pod

    def _node(self, name: str) -> Json:
        return self.store.get(kinds.NODE, name) or {"spec": {}, "status": {"allocatable": {NAMES.tpu_resource: 0}}}

    def _incident(self, name: str) -> sqlite3.Row | None:
        return next(iter(self._query("SELECT open, body FROM incidents WHERE id = ?", name)), None)

    def _intents(self, incident: str, action: str) -> list[sqlite3.Row]:
        return self._query("SELECT operation FROM intents WHERE incident = ? AND action = ?", incident, action)

    def _query(self, text: str, *values: str) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(text, values).fetchall()


def _taints(node: Json) -> list[Json]:
    return list(node["spec"].get("taints") or ())


def _ours(node: Json) -> set[str]:
    return {str(taint.get("value", "")) for taint in _taints(node) if taint["key"] == NAMES.out_of_service}


def _gang_of(pod: Json) -> str:
    return str(pod["metadata"].get("labels", {}).get(NAMES.jobset_name, pod["metadata"]["name"]))


def _slice_of(pod: Json) -> tuple[str, str]:
    return _gang_of(pod), str(pod["metadata"].get("labels", {}).get(NAMES.job_index, ""))
