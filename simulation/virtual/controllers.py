"""What controllers, scheduler and kubelets do, as plain functions in virtual time.

Gangs: suspended ones lose their pods and say so; running ones get the pods that they lack, beside old ones that still end; a pod that
is lost restarts its gang. Scheduler: the first node that fits, one pod after the other, slices kept apart by exclusive topology.
Kubelets: pods start and end after a while; those of a dead host neither start nor end. Node life: silence makes a node unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.gangs.kind import condition
from sliceward.remediations.ports import NODE, POD
from sliceward.simulation.controllers.fitting import chips, unfit
from sliceward.simulation.virtual.objects import stamp
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from sliceward.remediations.gangs.kind import GangKind
    from sliceward.remediations.ports import Kind, Object
    from sliceward.simulation.virtual.agenda import Agenda
    from sliceward.simulation.virtual.objects import Objects

Span = tuple[float, float]

GRACE = timedelta(seconds=8)
"""Grace period of every pod."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long things take, in seconds: drawn between two bounds each."""

    notice: Span = (0.02, 0.3)
    pod_starts: Span = (0.1, 1.0)
    pod_ends: Span = (0.1, 1.0)
    node_lost: Span = (0.5, 8.0)
    node_found: Span = (0.1, 1.5)
    eviction: Span = (60.0, 300.0)


@dataclass(eq=False, slots=True)
class Controllers:
    """All controllers of one cluster. ``dead``: hosts whose kubelet is silent."""

    objects: Objects
    agenda: Agenda
    dice: random.Random
    times: Times = field(default_factory=Times)
    dead: set[str] = field(default_factory=set)
    _pending: set[object] = field(default_factory=set)
    _made: int = 0

    def watch(self) -> None:
        """Follow every change from now on."""
        self.objects.listeners.append(self._changed)

    # ── hosts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def kill(self, host: str) -> None:
        """Let a host's kubelet fall silent."""
        self.dead.add(host)
        self.agenda.after(self.dice.uniform(*self.times.node_lost), lambda: self._lose(host))

    def revive(self, host: str) -> None:
        """Let it speak again."""
        if host in self.dead:
            self.dead.discard(host)
            self.agenda.after(self.dice.uniform(*self.times.node_found), lambda: self._find(host))

    def _lose(self, host: str) -> None:
        if host not in self.dead or self.objects.get(NODE, host) is None:
            return
        gone = [{"key": NAMES.unreachable, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
        self._mark(host, "Unknown", gone)
        self.agenda.after(self.dice.uniform(*self.times.eviction), lambda: self._evict(host))

    def _find(self, host: str) -> None:
        if host in self.dead or self.objects.get(NODE, host) is None:
            return
        self._mark(host, "True", [])
        for pod in self.objects.all(POD):
            if pod["spec"].get("nodeName") == host:
                self._pod_on(pod)

    def _mark(self, host: str, ready: str, own: list[dict[str, Any]]) -> None:
        node = self.objects.get(NODE, host)
        if node is None:
            return
        others = [taint for taint in node["spec"].get("taints") or () if taint["key"] != NAMES.unreachable]
        told = [{"type": NAMES.ready, "status": ready}]
        self.objects.patch(NODE, host, {"spec": {"taints": others + own}, "status": {"conditions": told}}, ours=False)

    def _evict(self, host: str) -> None:
        if host in self.dead:
            for pod in self.objects.all(POD):
                if pod["spec"].get("nodeName") == host:
                    self._end(pod)

    # ── what follows from a change ────────────────────────────────────────────────────────────────────────────────────

    def _changed(self, kind: Kind, before: Object | None, after: Object | None, ours: bool) -> None:  # noqa: FBT001 (a listener)
        del ours
        if kind == POD:
            if after is not None:
                self._pod_on(after)
            self._soon("schedule", self._schedule)
            if after is None or before is None:
                self._look_at_gangs()
        elif kind == NODE:
            self._soon("schedule", self._schedule)
        elif after is None or before is None or before["spec"] != after["spec"]:
            self._look_at_gangs()

    def _look_at_gangs(self) -> None:
        self._soon("gangs", self._gangs)

    def _soon(self, name: object, call: Callable[[], object]) -> None:
        if name in self._pending:
            return
        self._pending.add(name)

        def act() -> None:
            self._pending.discard(name)
            call()

        self.agenda.after(self.dice.uniform(*self.times.notice), act)

    # ── gangs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def owners(self) -> Iterator[tuple[GangKind, Object]]:
        """Go through the owners of gangs."""
        for kind in GANG_KINDS.values():
            for owner in self.objects.all(kind.kind):
                yield kind, owner

    def pods_of(self, kind: GangKind, owner: Object) -> list[Object]:
        """Give all pods of a gang."""
        label = NAMES.jobset_name if kind.owner_kind == "JobSet" else NAMES.job_name
        name, place = owner["metadata"]["name"], owner["metadata"]["namespace"]
        return [
            pod
            for pod in self.objects.all(POD)
            if pod["metadata"]["namespace"] == place and pod["metadata"].get("labels", {}).get(label) == name
        ]

    def _gangs(self) -> None:
        owners = list(self.owners())
        known = {owner["metadata"]["uid"] for _, owner in owners}
        for pod in self.objects.all(POD):
            # The garbage collector ends what nobody owns any more.
            if any(one.get("gang", one["uid"]) not in known for one in pod["metadata"].get("ownerReferences", ())):
                self._end(pod)
        for kind, owner in owners:
            pods = self.pods_of(kind, owner)
            if owner["spec"].get("suspend"):
                for pod in pods:
                    self._end(pod)
                if not condition(owner, "Suspended"):
                    self._tell(kind, owner, "True")
                continue
            if condition(owner, "Suspended"):
                self._tell(kind, owner, "False")
            if not kind.ended(owner):
                self._fill(kind, owner, pods)

    def _tell(self, kind: GangKind, owner: Object, suspended: str) -> None:
        meta = owner["metadata"]
        told = [one for one in owner.get("status", {}).get("conditions") or () if one["type"] != "Suspended"]
        status = {"conditions": [*told, {"type": "Suspended", "status": suspended}]}
        self.objects.patch(kind.kind, meta["name"], {"status": status}, meta["namespace"], ours=False)

    def _fill(self, kind: GangKind, owner: Object, pods: list[Object]) -> None:
        """Make the pods that a running gang lacks; one that lost some while others live starts anew, whole."""
        living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        have = {(*kind.place_of(pod), _rank(pod)) for pod in living}
        wanted = [(piece.role, piece.index, rank) for piece in kind.wanted(owner) for rank in range(piece.pods)]
        missing = [place for place in wanted if place not in have]
        if not missing:
            return
        if any(pod["status"].get("phase") == "Running" for pod in living):
            for pod in living:
                self._end(pod)
            return
        for place in missing:
            self._make(kind, owner, place)

    def _make(self, kind: GangKind, owner: Object, place: tuple[str, int, int]) -> None:
        role, index, rank = place
        meta, job = owner["metadata"], owner["spec"]
        labels = {NAMES.completion_index: str(rank)}
        name = meta["name"]
        if kind.owner_kind == "JobSet":
            job = next(one for one in job["replicatedJobs"] if one["name"] == role)["template"]["spec"]
            name = f"{meta['name']}-{role}-{index}"
            labels |= {NAMES.jobset_name: meta["name"], NAMES.replicated_job: role, NAMES.job_index: str(index)}
        self._made += 1
        owns = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name,
            "uid": f"{meta['uid']}-{index}",
            "gang": meta["uid"],
            "controller": True,
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-{rank}-{self._made}",
                "namespace": meta["namespace"],
                "labels": labels | {NAMES.job_name: name},
                "annotations": {NAMES.completion_index: str(rank)},
                "ownerReferences": [owns],
            },
            "spec": job["template"]["spec"],
            "status": {"phase": "Pending"},
        }
        self.objects.put(POD, body)

    # ── scheduler ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _schedule(self) -> None:
        nodes = sorted(self.objects.all(NODE), key=lambda node: str(node["metadata"]["name"]))
        taken, domains = Counter[str](), defaultdict[str, set[str]](set)
        waiting = []
        for pod in self.objects.all(POD):
            home = pod["spec"].get("nodeName")
            if pod["status"].get("phase") == "Succeeded":
                continue
            if home:
                taken[home] += chips(pod)
                self._note_domain(pod, home, domains)
            elif "deletionTimestamp" not in pod["metadata"]:
                waiting.append(pod)
        for pod in waiting:
            for node in nodes:
                name = node["metadata"]["name"]
                if not unfit(pod, node, taken[name]) and self._apart(pod, node, domains):
                    meta = pod["metadata"]
                    taken[name] += chips(pod)
                    self._note_domain(pod, name, domains)
                    self.objects.patch(POD, meta["name"], {"spec": {"nodeName": name}}, meta["namespace"], ours=False)
                    break

    def _key(self, pod: Object) -> str:
        """Give the node label on which the pod's slice stays apart from all others, "" where it has none."""
        meta = pod["metadata"]
        gang = meta.get("labels", {}).get(NAMES.jobset_name)
        owner = self.objects.get(GANG_KINDS["JobSet"].kind, gang, meta["namespace"]) if gang else None
        return "" if owner is None else str((owner["metadata"].get("annotations") or {}).get(NAMES.exclusive_topology, ""))

    def _note_domain(self, pod: Object, host: str, domains: dict[str, set[str]]) -> None:
        key, node = self._key(pod), self.objects.get(NODE, host)
        if key and node is not None:
            domains[str(node["metadata"]["labels"].get(key, ""))].add(_job(pod))

    def _apart(self, pod: Object, node: Object, domains: dict[str, set[str]]) -> bool:
        key = self._key(pod)
        if not key:
            return True
        here, job = str(node["metadata"]["labels"].get(key, "")), _job(pod)
        mine = {domain for domain, jobs in domains.items() if job in jobs}
        return domains.get(here, set()) <= {job} and mine <= {here}

    # ── kubelets ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, pod: Object) -> None:
        meta = pod["metadata"]
        if "deletionTimestamp" in meta or self.objects.get(POD, meta["name"], meta["namespace"]) is None:
            return
        if not pod["spec"].get("nodeName"):
            self.objects.drop(POD, meta["name"], meta["namespace"])
            return
        ends = self.objects.clock() + GRACE
        leaving = {"deletionTimestamp": stamp(ends), "deletionGracePeriodSeconds": int(GRACE.total_seconds())}
        self.objects.patch(POD, meta["name"], {"metadata": leaving}, meta["namespace"], ours=False)

    def _pod_on(self, pod: Object) -> None:
        """Let the kubelet of a pod's host do what it has before it."""
        host, meta = pod["spec"].get("nodeName"), pod["metadata"]
        if not host:
            return
        if "deletionTimestamp" in meta:
            self._later((meta["uid"], "ends"), self.times.pod_ends, lambda: self._gone(meta, host))
        elif pod["status"].get("phase") == "Pending":
            self._later((meta["uid"], "starts"), self.times.pod_starts, lambda: self._started(meta, host))

    def _later(self, name: object, span: Span, call: Callable[[], object]) -> None:
        if name in self._pending:
            return
        self._pending.add(name)

        def act() -> None:
            self._pending.discard(name)
            call()

        self.agenda.after(self.dice.uniform(*span), act)

    def _present(self, meta: Object) -> Object | None:
        found = self.objects.get(POD, meta["name"], meta["namespace"])
        return found if found is not None and found["metadata"]["uid"] == meta["uid"] else None

    def _gone(self, meta: Object, host: str) -> None:
        if host not in self.dead and self._present(meta) is not None:
            self.objects.drop(POD, meta["name"], meta["namespace"])

    def _started(self, meta: Object, host: str) -> None:
        found = self._present(meta)
        if host in self.dead or found is None or "deletionTimestamp" in found["metadata"]:
            return
        status = {"phase": "Running", "conditions": [{"type": NAMES.ready, "status": "True"}]}
        self.objects.patch(POD, meta["name"], {"status": status}, meta["namespace"], ours=False)


def _rank(pod: Object) -> int:
    return int(pod["metadata"].get("labels", {}).get(NAMES.completion_index, 0))


def _job(pod: Object) -> str:
    return str(pod["metadata"].get("labels", {}).get(NAMES.job_name, pod["metadata"]["name"]))
