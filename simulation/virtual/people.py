"""People: they cordon, taint, label, stop gangs, reboot and replace hosts, tell the coordinator what to do, and mend what it hands over.

They take care of their own marks, and from the calm on they take them away again. What they ask of a coordinator goes through ``ask``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sliceward.detectors.finding import State
from sliceward.playbooks.incident import Needs
from sliceward.remediations.ports import NODE, POD
from sliceward.simulation.virtual.scenario import Deed, hosts_of
from sliceward.simulation.virtual.world import hosts_of as carriers_of
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.playbooks.incident import Incident
    from sliceward.remediations.gangs.kind import GangKind
    from sliceward.remediations.ports import Object
    from sliceward.simulation.virtual.scenario import Meddling
    from sliceward.simulation.virtual.world import World

STRANGE = "example.test/theirs"
LOOK = 6.0
"""Seconds between two looks of those on call."""
HELP = 100.0
"""Seconds after the calm from which on they mend what any incident is about that is still open."""
NOTE = {"key": STRANGE, "value": "yes", "effect": "NoSchedule"}


@dataclass(eq=False, slots=True)
class People:
    """``ask``: a deed and an incident's id (or "") for whoever leads. ``spared``: gangs that people stopped, ended or deleted.

    ``helped``: incidents that they were paged about and went to in the end, though nobody asked them to.
    """

    world: World
    incidents: Callable[[], Mapping[str, Incident]]
    is_paused: Callable[[], bool]
    ask: Callable[[Deed, str], None]
    approve: Callable[[str], None]
    spared: set[str] = field(default_factory=set)
    helped: set[str] = field(default_factory=set)
    _cordoned: set[str] = field(default_factory=set)
    _tainted: set[str] = field(default_factory=set)
    _strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put all deeds on the agenda."""
        world = self.world
        for one in world.scenario.meddling:
            world.agenda.after(one.at, partial(self._do, one))
        world.agenda.after(LOOK, self._on_call)
        world.agenda.after(world.scenario.calm, self._tidy)

    # ── deeds ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _do(self, one: Meddling) -> None:
        names = hosts_of(self.world.scenario.plan)
        host = names[one.whom % len(names)]
        match one.deed:
            case Deed.CORDON | Deed.UNCORDON | Deed.TAINT | Deed.LABEL:
                self._mark(one.deed, host)
            case Deed.REBOOT:
                self.world.boot(host)
            case Deed.REPLACE:
                self.world.mend(host)
                self.world.boot(host, instance=f"instance-{one.whom}")
            case Deed.STRANGER:
                self._sit(host, one.whom)
            case Deed.PAUSE | Deed.RESUME | Deed.ABORT:
                self._tell(one.deed)
            case Deed.DELETE_POD:
                pods = self.world.objects.all(POD)
                if pods:
                    meta = pods[one.whom % len(pods)]["metadata"]
                    self.world.objects.delete(POD, meta["name"], meta["namespace"])
            case Deed.SUSPEND_GANG | Deed.FINISH_GANG | Deed.DELETE_GANG:
                self._stop(one.deed, one.whom)

    def _mark(self, deed: Deed, host: str) -> None:
        node = self.world.objects.get(NODE, host)
        if node is None:
            return
        taints = node["spec"].get("taints") or []
        match deed:
            case Deed.CORDON:
                self._cordoned.add(host)
                patch: Object = {"spec": {"unschedulable": True}}
            case Deed.UNCORDON:
                self._cordoned.discard(host)
                patch = {"spec": {"unschedulable": None}}
            case Deed.TAINT:
                self._tainted.add(host)
                patch = {"spec": {"taints": [*(taint for taint in taints if taint["key"] != STRANGE), NOTE]}}
            case _:
                patch = {"metadata": {"labels": {STRANGE: "yes"}, "annotations": {STRANGE: "yes"}}}
        self.world.objects.patch(NODE, host, patch, ours=False)

    def _sit(self, host: str, number: int) -> None:
        """Let somebody's pod that tolerates everything come onto a host where there is room for it."""
        if any(pod["spec"].get("nodeName") == host for pod in self.world.objects.all(POD)):
            return
        chips = {NAMES.tpu_resource: str(self.world.scenario.plan.chips_a_host)}
        spec = {"nodeName": host, "tolerations": [{"operator": "Exists"}]}
        spec["containers"] = [{"name": "main", "image": "nothing:1", "resources": {"limits": chips, "requests": chips}}]
        name = f"stranger-{number}"
        self._strangers.append(name)
        meta = {"name": name, "namespace": "default"}
        self.world.objects.put(POD, {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}})

    def _stop(self, deed: Deed, number: int) -> None:
        gangs = self._gangs()
        if not gangs:
            return
        kind, owner = gangs[number % len(gangs)]
        meta = owner["metadata"]
        objects = self.world.objects
        self.spared.add(meta["name"])
        match deed:
            case Deed.SUSPEND_GANG:
                objects.patch(kind.kind, meta["name"], {"spec": {"suspend": True}}, meta["namespace"], ours=False)
            case Deed.DELETE_GANG:
                objects.drop(kind.kind, meta["name"], meta["namespace"])
            case _:
                done = "Completed" if kind.owner_kind == "JobSet" else "Complete"
                status = {"conditions": [{"type": done, "status": "True"}]}
                objects.patch(kind.kind, meta["name"], {"status": status}, meta["namespace"], ours=False)
                for pod in self.world.controllers.pods_of(kind, owner):
                    own = pod["metadata"]
                    objects.patch(POD, own["name"], {"status": {"phase": "Succeeded"}}, own["namespace"], ours=False)

    def _gangs(self) -> list[tuple[GangKind, Object]]:
        return list(self.world.controllers.owners())

    def _tell(self, deed: Deed) -> None:
        if deed is not Deed.ABORT:
            self.ask(deed, "")
            return
        for incident in self._open():
            self.ask(Deed.ABORT, incident.id)
            return

    # ── on call ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> list[Incident]:
        return sorted((one for one in self.incidents().values() if one.open), key=lambda one: (one.opened, one.id))

    def _on_call(self) -> None:
        """Approve what asks for it, mend what was handed over, and in the end what waits for something else."""
        self.world.agenda.after(LOOK, self._on_call)
        now, calm = self.world.clock.seconds, self.world.scenario.calm
        if now > calm and self.is_paused():
            self.ask(Deed.RESUME, "")
        for incident in self._open():
            if incident.needs is Needs.APPROVAL:
                self.approve(incident.id)
            elif incident.needs is Needs.HUMAN:
                self._see_to(incident)
            elif now > calm + HELP:
                self.helped.add(incident.id)
                self._mend(incident)

    def _see_to(self, incident: Incident) -> None:
        """Mend what is broken; where all is mended already, say that it is."""
        if not self._mend(incident) and all(finding.state is State.RESOLVED for finding in incident.findings):
            self.ask(Deed.ABORT, incident.id)

    def _mend(self, incident: Incident) -> bool:
        """Mend what is broken; give whether anything was."""
        about = {finding.part for finding in incident.findings}
        broken = [one for one in self.world.ailments if one.fault.part in about and not one.mended]
        for ailment in broken:
            for host in sorted(carriers_of(ailment.fault)):
                self.world.mend(host)
        return bool(broken)

    def _tidy(self) -> None:
        """Take away one's own marks, and let go on what one stopped."""
        for host in sorted(self._cordoned):
            self._mark(Deed.UNCORDON, host)
        for host in sorted(self._tainted):
            node = self.world.objects.get(NODE, host)
            taints = [taint for taint in (node or {"spec": {}})["spec"].get("taints") or [] if taint["key"] != STRANGE]
            self.world.objects.patch(NODE, host, {"spec": {"taints": taints}}, ours=False)
        for name in self._strangers:
            self.world.objects.drop(POD, name, "default")
