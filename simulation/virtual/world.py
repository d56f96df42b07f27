"""The world of a scenario: cluster, hosts with their faults, agents, the watcher, the provider, and people who meddle and mend.

All of it goes on while coordinators die. What it says on the broker goes through a `Tongue`, for topics are the daemons' affair.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol

from sliceward.detectors.finding import Finding, State
from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.ports import NODE, POD
from sliceward.simulation.virtual.agenda import BEGIN, Agenda, Clock
from sliceward.simulation.virtual.controllers import Controllers
from sliceward.simulation.virtual.objects import Objects
from sliceward.simulation.virtual.repairs import Receiver, Workshop
from sliceward.topology import ids
from sliceward.topology.health import Severity
from sliceward.topology.ids import GangId, HostId, LinkId
from sliceward.topology.names import NAMES
from sliceward.topology.plan import objects_of

if TYPE_CHECKING:
    from sliceward.remediations.ports import Kind, Object
    from sliceward.simulation.virtual.scenario import Fault, Scenario
    from sliceward.topology.plan import Objects as Drawn
    from sliceward.topology.planned import ClusterPlan

DETECTED = (0.1, 2.0)
RESOLVED = (0.1, 2.0)
REPEAT = 25.0
ROUND = 25.0
NOTICED = 0.7
ANSWER = (0.01, 0.9)
RATE = 5.0


class Tongue(Protocol):
    """How the watcher and the agents are heard."""

    def finding(self, found: Finding) -> None:
        """Publish a finding, retained."""
        ...

    def progress(self, gang: GangId, row: dict[str, Any]) -> None:
        """Publish a gang's progress, retained."""
        ...

    def alive(self, row: dict[str, Any]) -> None:
        """Publish that the watcher looks."""
        ...

    def answer(self, host: str, row: dict[str, Any]) -> None:
        """Publish an agent's answer."""
        ...


@dataclass(slots=True)
class Ailment:
    """A fault that came: whether it is mended, and what the watcher last said of it."""

    fault: Fault
    mended: bool = False
    told: State | None = None


@dataclass(eq=False, slots=True)
class World:
    """Everything but the coordinators."""

    scenario: Scenario
    tongue: Tongue
    clock: Clock = field(default_factory=Clock)
    agenda: Agenda = field(init=False)
    dice: random.Random = field(init=False)
    objects: Objects = field(init=False)
    controllers: Controllers = field(init=False)
    workshop: Workshop = field(init=False)
    receiver: Receiver = field(default_factory=Receiver)
    ailments: list[Ailment] = field(default_factory=list)
    boots: int = 0
    _whole: dict[GangId, bool] = field(default_factory=dict)
    _looking: bool = False

    def __post_init__(self) -> None:
        """Build it, with all gangs running; nothing has happened yet."""
        scenario = self.scenario
        self.agenda = Agenda(self.clock)
        self.dice = random.Random(scenario.seed + 1)  # noqa: S311 (the point is that it can be repeated)
        self.objects = Objects(self.clock)
        self.controllers = Controllers(self.objects, self.agenda, self.dice, scenario.times)
        self.workshop = Workshop(self.agenda, self.dice, scenario.repair, scenario.repairs_fail, self.mend)
        drawn = _drawn(scenario.plan)
        for node in drawn.nodes:
            self.objects.put(NODE, node)
        for owner in (*drawn.jobsets, *drawn.jobs):
            self.objects.put(GANG_KINDS[owner["kind"]].kind, owner)
        for pod in drawn.pods:
            self.objects.put(POD, pod)
        self.controllers.watch()
        for fault in scenario.faults:
            self.agenda.after(fault.at, partial(self._break, fault))
        self.objects.listeners.append(self._changed)
        self._look()
        self._repeat()

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _break(self, fault: Fault) -> None:
        ailment = Ailment(fault)
        self.ailments.append(ailment)
        if isinstance(fault.part, HostId):
            self.controllers.kill(fault.part.name)
        self.agenda.after(self.dice.uniform(*DETECTED), lambda: self._tell(ailment))
        if fault.heals is not None:
            self.agenda.after(fault.heals, lambda: self._mend(ailment))
        if fault.flickers:
            self.agenda.after(self.dice.uniform(2.0, 20.0), lambda: self._flicker(ailment))

    def _flicker(self, ailment: Ailment) -> None:
        """Let the watcher see it gone for a moment."""
        if not ailment.mended and not self.is_silent:
            ailment.told = State.RESOLVED
            self.tongue.finding(self._finding(ailment))
            self.agenda.after(self.dice.uniform(0.5, 5.0), lambda: self._tell(ailment))

    def mend(self, host: str) -> None:
        """Repair everything on a host; it boots anew."""
        for ailment in self.ailments:
            if host in hosts_of(ailment.fault):
                self._mend(ailment)
        self.boot(host)

    def _mend(self, ailment: Ailment) -> None:
        if ailment.mended:
            return
        ailment.mended = True
        for host in hosts_of(ailment.fault):
            if not any(host in hosts_of(other.fault) and not other.mended for other in self.ailments):
                self.controllers.revive(host)
        self.agenda.after(self.dice.uniform(*RESOLVED), lambda: self._tell(ailment))

    def boot(self, host: str, *, instance: str = "") -> None:
        """Let a host start again; with ``instance``, as another machine."""
        self.boots += 1
        if self.objects.get(NODE, host) is None:
            return
        patch: Object = {"status": {"nodeInfo": {"bootID": f"boot-{self.boots}"}}}
        if instance:
            patch["metadata"] = {"annotations": {NAMES.instance_id: instance}}
        self.objects.patch(NODE, host, patch, ours=False)

    # ── watcher ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_silent(self) -> bool:
        """Whether the watcher says nothing now."""
        now = self.clock.seconds
        return any(begin <= now < end for begin, end in self.scenario.silent)

    def _tell(self, ailment: Ailment) -> None:
        if self.is_silent:
            return
        state = self._seen(ailment)
        ailment.told = state
        self.tongue.finding(self._finding(ailment))

    def _seen(self, ailment: Ailment) -> State:
        if ailment.mended:
            return State.RESOLVED
        part = ailment.fault.part
        if isinstance(part, LinkId) and ailment.told is not None:
            # A link is only seen from inside a job.
            ends = hosts_of(ailment.fault)
            busy = {pod["spec"].get("nodeName") for pod in self.objects.all(POD)}
            return State.FIRING if ends <= busy else State.UNKNOWN
        return State.FIRING

    def _finding(self, ailment: Ailment) -> Finding:
        fault, now = ailment.fault, self.clock()
        node = self.objects.get(NODE, min(hosts_of(fault))) or {"metadata": {}, "status": {}}
        of_host = not isinstance(fault.part, LinkId)
        return Finding(
            kind=fault.kind,
            part=fault.part,
            state=ailment.told or State.FIRING,
            severity=Severity.ERROR,
            since=BEGIN,
            seen=now,
            score=0.99,
            detector="rule/virtual",
            version="1",
            text=f"{fault.kind} on {fault.part}",
            instance_id=str((node["metadata"].get("annotations") or {}).get(NAMES.instance_id, "")) if of_host else "",
            boot_id=str(node["status"].get("nodeInfo", {}).get("bootID", "")) if of_host else "",
        )

    def _look(self) -> None:
        self.agenda.after(ROUND, self._look)
        if self.is_silent:
            return
        self.tongue.alive({"online": True, "at": self.clock().isoformat()})
        for ailment in self.ailments:
            if ailment.told is not None and self._seen(ailment) is not ailment.told:
                self._tell(ailment)
        for gang in self.gangs:
            self._progress(gang, self.is_whole(gang))

    def _changed(self, kind: Kind, _before: Object | None, _after: Object | None, _ours: bool) -> None:  # noqa: FBT001 (a listener)
        if kind == POD and not self._looking:
            self._looking = True
            self.agenda.after(NOTICED, self._look_at_gangs)

    def _look_at_gangs(self) -> None:
        """Tell at once of a gang that trains again, or no more."""
        self._looking = False
        for gang in self.gangs:
            whole = self.is_whole(gang)
            if whole is not self._whole.get(gang, True) and not self.is_silent:
                self._progress(gang, whole)

    def _progress(self, gang: GangId, whole: bool) -> None:  # noqa: FBT001 (private: what is told)
        self._whole[gang] = whole
        row = {
            "gang": str(gang), "at": self.clock().isoformat(), "step": int(self.clock.seconds), "members": 1,
            "rate": RATE if whole else 0.0, "rate_before": RATE, "checkpoint_step": 90, "checkpoint_age": 3.0,
        }  # fmt: skip
        self.tongue.progress(gang, row)

    def _repeat(self) -> None:
        """Say again what stands, as a watcher does in good time before it would be old."""
        self.agenda.after(REPEAT, self._repeat)
        for ailment in self.ailments:
            if ailment.told is not None or self.clock.seconds > ailment.fault.at + DETECTED[1]:
                self._tell(ailment)

    def connected(self) -> None:
        """Say everything again: the broker came back empty."""
        for ailment in self.ailments:
            if ailment.told is not None:
                self._tell(ailment)

    # ── agents ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def request(self, host: str, row: dict[str, Any]) -> None:
        """Let an agent hear a request; it may answer."""
        if self.dice.random() >= self.scenario.agents_silent:
            self.agenda.after(self.dice.uniform(*ANSWER), lambda: self._answer(host, row))

    def _answer(self, host: str, row: dict[str, Any]) -> None:
        node = self.objects.get(NODE, host)
        if host in self.controllers.dead or node is None:
            return
        sick = any(host in hosts_of(one.fault) and not one.mended for one in self.ailments)
        is_check = row["request"] == "device-check"
        said = {
            "id": row["id"],
            "request": row["request"],
            "ok": not (is_check and sick),
            "why": "a chip is missing" if sick else "",
        }
        said["facts"] = {} if is_check else {"checkpoint_step": 100}
        said["instance_id"] = str((node["metadata"].get("annotations") or {}).get(NAMES.instance_id, ""))
        self.tongue.answer(host, said)

    # ── what is so ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def gangs(self) -> list[GangId]:
        """The gangs of the scenario."""
        plan = self.scenario.plan
        return [GangId(plan.name, gang.namespace, gang.kind, gang.name) for gang in plan.gangs]

    def is_whole(self, gang: GangId) -> bool:
        """Whether all pods of a gang run."""
        kind = GANG_KINDS[gang.owner_kind]
        owner = self.objects.get(kind.kind, gang.name, gang.namespace)
        if owner is None:
            return False
        pods = self.controllers.pods_of(kind, owner)
        ready = [pod for pod in pods if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]
        return len(ready) == len(pods) == sum(piece.pods for piece in kind.wanted(owner))


@lru_cache(maxsize=256)
def _drawn(plan: ClusterPlan) -> Drawn:
    """Draw the objects of a plan; each pod's owner names its gang, for the garbage collector."""
    drawn = objects_of(plan)
    gangs = {owner["metadata"]["name"]: owner["metadata"]["uid"] for owner in (*drawn.jobsets, *drawn.jobs)}
    for pod in drawn.pods:
        labels = pod["metadata"]["labels"]
        gang = gangs[labels.get(NAMES.jobset_name) or labels[NAMES.job_name]]
        pod["metadata"]["ownerReferences"] = [{**owner, "gang": gang} for owner in pod["metadata"]["ownerReferences"]]
    return drawn


def hosts_of(fault: Fault) -> set[str]:
    """Give the names of the hosts that carry the broken part."""
    return {host.name for host in ids.hosts_of(fault.part)}
