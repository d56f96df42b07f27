"""The invariants of DESIGN.md, section 6, looked at on every change that a step can make: of an object, of a record, of a call.

Nothing else can break them, so that this is after every step. Facts are taken from the world itself and from what is stored, never
from what a coordinator believes. Numbers as there; what is broken is noted with its moment.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from sliceward.detectors.finding import State
from sliceward.playbooks.decision import Hold, RunStep
from sliceward.playbooks.incident import How
from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.gangs.kind import SUSPENDED_BY
from sliceward.remediations.ports import NODE, POD
from sliceward.simulation.controllers.fitting import chips
from sliceward.simulation.virtual.agenda import BEGIN
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.schema import BudgetSpec
    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Kind, Object
    from sliceward.simulation.virtual.world import World

SWEPT = 120.0
"""Seconds in which a mark that came late, after its incident was closed, is found and taken away."""
WATCHED = 60.0
"""Seconds for which what a silent watcher said may be acted on."""
ROUND = 5.0
"""Seconds that a round of deciding may take: what is told meanwhile is seen by the next one."""
CALL = 30.0
"""Seconds that one call of an action may take: what came to a host meanwhile it could not see."""
OUR_LABELS = frozenset({NAMES.gang})
OURS = "sliceward.dev/"


class Intent(Protocol):
    """An intent as it is stored."""

    operation: str
    incident: str
    action: str
    irreversible: bool
    epoch: int


class Ledger(Protocol):
    """What is stored."""

    incidents: dict[str, Incident]
    runs: dict[str, Run]
    epoch: int

    @property
    def intents(self) -> Mapping[str, Any]:
        """Intents by operation."""
        ...

    @property
    def settings(self) -> Mapping[str, str]:
        """Settings as JSON."""
        ...


@dataclass(slots=True)
class Witness:
    """What one coordinator was told: the states of each finding with their times, and when it last heard its watcher."""

    findings: dict[str, list[tuple[float, State]]] = field(default_factory=dict)
    watcher: float = float("-inf")

    def hear(self, finding: str, state: State, now: float) -> None:
        """Note what it is told."""
        known = self.findings.setdefault(finding, [])
        if not known or known[-1][1] is not state:
            known.append((now, state))

    def was_told(self, finding: str, state: State, since: float) -> bool:
        """Whether this was its state at ``since`` or at any time from then on."""
        known = self.findings.get(finding, [])
        return any(
            told is state and (place + 1 == len(known) or known[place + 1][0] >= since) for place, (_, told) in enumerate(known)
        )

    def last(self, finding: str) -> str:
        """Give what it was told last."""
        known = self.findings.get(finding)
        return known[-1][1].value if known else "nothing"


@dataclass(eq=False, slots=True)
class Invariants:
    """Looks, notes what is wrong in ``broken``, and calls ``alarm`` then."""

    world: World
    ledger: Ledger
    budget: BudgetSpec
    alarm: Callable[[], None]
    broken: list[str] = field(default_factory=list)
    _done: Counter[tuple[str, str]] = field(default_factory=Counter)
    _calls: dict[tuple[int, object], tuple[str, frozenset[object], bool]] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)
    _intended: dict[str, int] = field(default_factory=dict)
    _latest: dict[str, int] = field(default_factory=dict)
    _late_marks: dict[tuple[str, str], float] = field(default_factory=dict)
    _begun: dict[str, Run] = field(default_factory=dict)
    _bound: dict[str, float] = field(default_factory=dict)
    _checked: int = 0

    def watch(self) -> None:
        """Look at every change from now on."""
        self.world.objects.listeners.append(self._changed)

    # ── objects ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _changed(self, kind: Kind, before: Object | None, after: Object | None, ours: bool) -> None:  # noqa: FBT001 (a listener)
        self._checked += 1
        if kind == NODE and before is not None and after is not None:
            if ours:
                self._others_marks(before, after)
            if marks_of(before) != marks_of(after):
                self._our_marks(before, after)
        elif kind == POD and after is not None and (before is None or before["spec"] != after["spec"]):
            self._chips(after)
        elif before is not None and after is not None and kind in _OWNERS and ours:
            self._gang(before, after)

    def _others_marks(self, before: Object, after: Object) -> None:
        """6: what others put on a node is neither removed nor overwritten by us."""
        name = after["metadata"]["name"]
        here, there = _strange(before), _strange(after)
        if here != there:
            self._note(6, f"{name}: {here} became {there}")

    def _our_marks(self, before: Object, after: Object) -> None:
        """1, 2, 3, 5: a new mark is of an open incident about this host, the only one, intended, and within the budget."""
        name, had, ours = after["metadata"]["name"], marks_of(before), marks_of(after)
        if len(ours) > 1:
            self._note(2, f"{name} is held by {sorted(ours)}")
        for incident in ours - had:
            found = self.ledger.incidents.get(incident)
            if found is None or not found.open:
                self._late_marks[name, incident] = self._now
            elif name not in {host.name for host in found.domain}:
                self._note(5, f"{name} is marked for {incident}, which is not about it")
            if not any(one.incident == incident and one.action == "domain.mark" for one in self.ledger.intents.values()):
                self._note(3, f"{name} is marked for {incident} without an intent")
        for incident in had - ours:
            self._late_marks.pop((name, incident), None)
        if ours - had:
            self._hosts_out()

    def _hosts_out(self) -> None:
        """1: the level of hosts out of service."""
        held = {node["metadata"]["name"]: marks_of(node) for node in self.world.objects.all(NODE) if marks_of(node)}
        bound = self.budget.hosts.cluster
        if bound is not None and len(held) > bound.max:
            self._note(1, f"{len(held)} hosts are out of service, {bound.max} may be: {sorted(held)}")

    def _chips(self, pod: Object) -> None:
        """7: no two gangs on one host's chips; no slice over two pools, but where people placed it so and we did not."""
        node = pod["spec"].get("nodeName")
        if not node:
            return
        self._bound[pod["metadata"]["uid"]] = self._now
        here = [one for one in self._holding() if one["spec"].get("nodeName") == node]
        room = int((self.world.objects.get(NODE, node) or _NOTHING)["status"]["allocatable"][NAMES.tpu_resource])
        if sum(map(chips, here)) > room:
            self._note(7, f"{node} has {room} chips, and {sorted(one['metadata']['name'] for one in here)} hold more")
        mates = [one for one in self._holding() if _slice(one) == _slice(pod) and one["spec"].get("nodeName")]
        pools = {str(one["spec"]["nodeName"]).partition("-host-")[0] for one in mates}
        if len(pools) > 1 and (_slice(pod)[1] or NAMES.gang in pod["spec"].get("nodeSelector", {})):
            self._note(7, f"slice {_slice(pod)} is mixed over {sorted(pools)}")

    def _gang(self, before: Object, after: Object) -> None:
        """3 and 7: a suspension is intended and counted; a resumption comes after the last old pod."""
        was, now, meta = before["spec"].get("suspend"), after["spec"].get("suspend"), after["metadata"]
        if now and not was:
            incident = (meta.get("annotations") or {}).get(SUSPENDED_BY, "")
            self._once_a_run(f"{meta['name']} was suspended", incident)
            if not any(one.incident == incident and one.action == "gang.suspend" for one in self.ledger.intents.values()):
                self._note(3, f"{meta['name']} was suspended for {incident or 'nobody'} without an intent")
        if was and not now:
            left = [pod["metadata"]["name"] for pod in self._pods_of(after)]
            if left:
                self._note(7, f"{meta['name']} was resumed beside {left}")

    # ── what is saved ─────────────────────────────────────────────────────────────────────────────────────────────────

    def saved(self, turn: Turn, witness: Witness) -> None:
        """Look at a turn that was just written by a coordinator that heard what ``witness`` tells."""
        incident, run = turn.incident, turn.run
        if run is not None and run.harms and run.id not in self._begun:
            self._starts(run, incident)
            self._begun[run.id] = run
        elif run is not None and run.harms:
            self._begun[run.id] = run
        if turn.call is not None:
            self._intended.setdefault(turn.call.operation, self.ledger.epoch)
            self._latest[turn.call.operation] = id(witness)
            if turn.call.step.irreversible:
                self._explained(turn)
        if run is not None and turn.decision is not None and isinstance(turn.decision.verdict, Hold):
            self._healing_goes_on(run, turn.decision)
        if incident.how in (How.RESOLVED_ITSELF, How.HANDED_OVER):
            self._known_to_be_over(incident, witness)
        if not incident.open:
            self._nothing_left(incident)

    def _starts(self, run: Run, incident: Incident) -> None:
        """1: starts in a window, open runs, rest of a domain from what ended before this was known."""
        others = [one for one in self._begun.values() if one.incident != run.incident]
        open_now = {one.incident for one in others if one.open} | {run.incident}
        if self.budget.runs.cluster is not None and len(open_now) > self.budget.runs.cluster.max:
            self._note(1, f"{len(open_now)} runs are open, {self.budget.runs.cluster.max} may be: {sorted(open_now)}")
        rate = self.budget.rate
        if rate is not None:
            late = [one.id for one in others if one.started > run.started - rate.window]
            if len(late) + 1 > rate.max:
                self._note(1, f"{run.id} and {late} began within {rate.window}, {rate.max} may")
        for one in others:
            if set(one.domain) & set(run.domain) and (one.ended or one.started) <= incident.opened:
                rested = run.started - (one.ended or one.started)
                if rested < self.budget.cooldown - timedelta(milliseconds=1):
                    self._note(
                        1, f"{run.id} began {rested} after {one.id} on the same hosts, {self.budget.cooldown} is their rest"
                    )

    def _explained(self, turn: Turn) -> None:
        """9: the first intent of what cannot be taken back stands beside its decision, with guards that all said yes."""
        assert turn.call is not None  # noqa: S101 (the caller has looked)
        if turn.call.step.attempts > 1 or turn.call.operation in self._since:
            return
        decision = turn.decision
        if decision is None or not isinstance(decision.verdict, RunStep):
            self._note(9, f"{turn.call.operation} ({turn.call.step.action}) is intended without a decision")
            return
        no = [guard.name for guard in decision.guards if not guard.ok] + [one.name for one in decision.budgets if not one.ok]
        if no:
            self._note(9, f"{turn.call.operation} was decided although {no} said no")

    def _healing_goes_on(self, run: Run, decision: Decision) -> None:
        """10: no guard and no budget holds a step that heals."""
        step = run.current
        no = [guard.name for guard in decision.guards if not guard.ok] + [one.name for one in decision.budgets if not one.ok]
        if no and step is not None and run.open and not (step.harm or step.irreversible):
            self._note(10, f"{run.operation} ({step.action}) heals and is held by {no}")

    def _known_to_be_over(self, incident: Incident, witness: Witness) -> None:
        """8: what is closed because nothing is wrong any more was told to be over; absence and silence say nothing."""
        decided = self._now if incident.closed is None else (incident.closed - BEGIN).total_seconds()
        for finding in incident.findings:
            if not witness.was_told(finding.id, State.RESOLVED, decided - ROUND):
                self._note(
                    8, f"{incident.id} was closed as {incident.how}, and {finding.part} is told {witness.last(finding.id)}"
                )

    def _nothing_left(self, incident: Incident) -> None:
        """5: an incident that is closed has no mark."""
        for node in self.world.objects.all(NODE):
            if incident.id in marks_of(node):
                self._note(5, f"{incident.id} was closed with its mark on {node['metadata']['name']}")

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def calling(self, key: object, action: Any, target: Target, witness: Witness) -> None:  # noqa: ANN401 (any action)
        """Look at the call of an action, right before it is made by a coordinator that heard what ``witness`` tells."""
        operation = target.operation
        intent = self.ledger.intents.get(operation)
        if intent is None:
            self._note(3, f"{action.name} is called as {operation}, which is intended nowhere")
        elif intent.result is not None and self._latest.get(operation) == id(witness):
            # Who was frozen in a call and is no leader any more may still try it: the fence lets none of its writes through.
            self._note(9, f"{operation} ({action.name}) is called, and its intent has a result: {intent.result}")
        touched: frozenset[object] = frozenset((*target.domain, *((target.gang.id,) if target.gang is not None else ())))
        for other, on, harms in self._calls.values():
            if other != operation and on & touched and harms and action.irreversible:
                self._note(
                    2, f"{operation} ({action.name}) is called while {other} is under way on {sorted(map(str, on & touched))}"
                )
        self._calls[id(witness), key] = (operation, touched, action.irreversible)
        first = operation not in self._since
        self._since[operation] = self._now
        run = next((one for one in self.ledger.runs.values() if operation.startswith(f"{one.id}.")), None)
        # After a death nobody knows whether the call went out: what an earlier leader intended counts as begun (decision 0005).
        if first and run is not None and _forward(run, operation) and self._intended.get(operation) == self.ledger.epoch:
            self._may_harm(action, target, run, witness)

    def _may_harm(self, action: Any, target: Target, run: Run, witness: Witness) -> None:  # noqa: ANN401 (as above)
        """3, 8 and 10: until something irreversible was begun, harm needs a finding that fires, a watcher that looks, no pause."""
        if not (action.harm or action.irreversible):
            return
        before = [step for step in run.steps[: run.at] if step.irreversible and step.attempts > 0]
        if before:
            return
        incident = self.ledger.incidents[target.incident]
        about = [finding for finding in incident.findings if finding.part == run.part] or [incident.root]
        if not any(witness.was_told(finding.id, State.FIRING, self._now) for finding in about):
            self._note(3, f"{target.operation} ({action.name}) is called, and nothing about {run.part} fires")
        if self._now - witness.watcher > WATCHED:
            self._note(
                8, f"{target.operation} ({action.name}) is called {self._now - witness.watcher:.0f} s after the watcher spoke"
            )
        if self.ledger.settings.get("paused", '""') not in ('""', "null"):
            self._note(10, f"{target.operation} ({action.name}) is called under a pause")

    def called(self, key: object, witness: Witness) -> None:
        """Note that a call is over, however it ended."""
        self._calls.pop((id(witness), key), None)

    def stopped(self, witness: Witness) -> None:
        """Note that who made calls does nothing any more, or for a while."""
        self._calls = {key: call for key, call in self._calls.items() if key[0] != id(witness)}

    def repair_asked(self, host: str, operation: str) -> None:
        """2, 3 and 4: a repair is intended, its host is ours alone, and drained."""
        intent = next((one for name, one in self.ledger.intents.items() if operation.startswith(f"{name}.")), None)
        if intent is None or intent.action != "host.repair":
            self._note(3, f"repair of {host} is asked for as {operation}, which is intended nowhere")
            return
        if operation in self.world.workshop.repairs:
            return
        self._once_a_run(f"{host} was repaired", intent.incident)
        node = self.world.objects.get(NODE, host)
        if node is None or marks_of(node) != {intent.incident}:
            self._note(
                2, f"repair of {host} is asked for by {intent.incident}, and it is held by {sorted(marks_of(node or _NOTHING))}"
            )
        since = self._since.get(operation.rpartition(f".{host}")[0], self._now)
        busy = [
            pod["metadata"]["name"]
            for pod in self._holding()
            if pod["spec"].get("nodeName") == host and chips(pod) and self._bound.get(pod["metadata"]["uid"], 0.0) < since - CALL
        ]
        if busy:
            self._note(4, f"repair of {host} is asked for while {busy} run there")
        open_now = [
            name for name, known in self.world.workshop.hosts.items()
            if known == host and self.world.workshop.repairs[name].state == "requested" and name != operation
        ]  # fmt: skip
        if open_now:
            self._note(2, f"repair of {host} is asked for as {operation} while {open_now} is under way")

    # ── between instants ──────────────────────────────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """5: a mark that came after the end of its incident does not stay."""
        for (host, incident), since in list(self._late_marks.items()):
            if self._now - since > SWEPT and self._now > self.world.scenario.calm + SWEPT:
                self._note(5, f"{host} carries the mark of {incident}, which is not open, since {since:.1f} s")
                del self._late_marks[host, incident]

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _now(self) -> float:
        return self.world.clock.seconds

    def _note(self, number: int, what: str) -> None:
        self.broken.append(f"invariant {number} at {self._now:.3f} s: {what}")
        self.alarm()

    def _once_a_run(self, what: str, incident: str) -> None:
        """2: what cannot be taken back is done once by a run, whoever died in the middle of it."""
        self._done[what, incident] += 1
        runs = sum(run.incident == incident for run in self.ledger.runs.values())
        if self._done[what, incident] > max(runs, 1):
            self._note(2, f"{what} {self._done[what, incident]} times by {runs} runs of {incident}")

    def _holding(self) -> list[Object]:
        return [pod for pod in self.world.objects.all(POD) if pod["status"].get("phase") not in ("Succeeded", "Failed")]

    def _pods_of(self, owner: Object) -> list[Object]:
        name = owner["metadata"]["name"]
        labels = (NAMES.jobset_name, NAMES.job_name)
        return [pod for pod in self._holding() if any(pod["metadata"].get("labels", {}).get(label) == name for label in labels)]


_NOTHING: Object = {"spec": {}, "status": {"allocatable": {NAMES.tpu_resource: 0}}}
_OWNERS = frozenset(kind.kind for kind in GANG_KINDS.values())


def _forward(run: Run, operation: str) -> bool:
    step = run.steps[int(operation.rpartition(".")[2])]
    return step.purpose.value == "forward"


def marks_of(node: Object) -> set[str]:
    """Give the incidents of which a node carries our mark."""
    taints = node["spec"].get("taints") or ()
    return {str(taint.get("value", "")) for taint in taints if taint["key"] == NAMES.out_of_service}


def _strange(node: Object) -> tuple[object, ...]:
    """Give everything on a node that is not ours to touch."""
    meta, spec = node["metadata"], node["spec"]
    taints = sorted(str(sorted(taint.items())) for taint in spec.get("taints") or () if taint["key"] != NAMES.out_of_service)
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key not in OUR_LABELS}
    notes = {key: value for key, value in (meta.get("annotations") or {}).items() if not key.startswith(OURS)}
    return taints, bool(spec.get("unschedulable")), labels, notes


def _slice(pod: Object) -> tuple[str, str]:
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(NAMES.jobset_name) or labels.get(NAMES.job_name, "")), str(labels.get(NAMES.job_index, ""))
