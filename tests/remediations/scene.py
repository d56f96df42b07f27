"""A scene for actions: a fleet, its objects in a fake cluster, a broken part, and a target that follows the story.

``llm`` runs on cube-0 and cube-1, ``other`` on cube-2, cube-3 is free; the fault is on ``cube-0-host-05``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sliceward.remediations.action import Target
from sliceward.remediations.outcome import Done, Failed, Outcome, Wait
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, WORKLOAD, Kind, Object, Ports
from sliceward.scheduling import scene as placing
from sliceward.scheduling.beside import Beside
from sliceward.scheduling.quota import Quota, usage
from sliceward.topology.reading import read_fleet
from tests.builders import NOW, FleetBuilder, a_fleet, gang_id, host_id
from tests.fakes.cluster import FakeCluster
from tests.fakes.hosts import FakeHosts
from tests.fakes.provider import FakeProvider
from tests.remediations.declared import DeclaredCluster, Right

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Action
    from sliceward.remediations.ports import Progress
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId, HostId, PartId

INCIDENT = "inc-0a1b2c3d4e"
LLM = gang_id("llm")


@dataclass
class Scene:
    """The world of one test. ``act`` calls an action once, ``see`` until it answers otherwise than Wait. ``used``: rights needed."""

    cluster: FakeCluster
    part: PartId
    domain: tuple[HostId, ...]
    gang: GangId | None = LLM
    hosts: FakeHosts = field(default_factory=FakeHosts)
    provider: FakeProvider = field(default_factory=FakeProvider)
    facts: dict[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    quota_left: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reserved: Mapping[HostId, GangId] = field(default_factory=dict)
    lost: frozenset[HostId] = frozenset()
    sick: frozenset[HostId] = frozenset()
    elapsed: timedelta = timedelta()
    incident: str = INCIDENT
    operation: str = "run-1.0"
    used: set[Right] = field(default_factory=set)

    def target(self, **given: Any) -> Target:  # noqa: ANN401 (parameters of any action)
        """Give the target as the coordinator would now make it."""
        fleet = read_fleet(
            "c1",
            nodes=self.cluster.of(NODE),
            pods=self.cluster.of(POD),
            jobsets=self.cluster.of(JOBSET),
            jobs=self.cluster.of(JOB),
            workloads=self.cluster.of(WORKLOAD),
            as_of=NOW + self.elapsed,
        )
        return Target(
            incident=self.incident,
            operation=self.operation,
            part=self.part,
            domain=self.domain,
            gang=fleet.gangs.get(self.gang) if self.gang is not None else None,
            fleet=fleet,
            progress=self.progress,
            reserved=self.reserved,
            facts=self.facts,
            given=given,
            started=NOW,
            now=NOW + self.elapsed,
            text="ICI link degraded",
            lost=self.lost,
            sick=self.sick,
            scene=(lambda: self._scene(fleet)) if self.quota_left else None,
        )

    def _scene(self, fleet: Fleet) -> placing.Scene:
        """Give the fleet as placement sees it, where so much quota is left beside what is held, here and elsewhere."""
        used, elsewhere = usage(fleet), dict.fromkeys(self.quota_left, 1_000)
        nominal = {account: left + used.get(account, 0) + 1_000 for account, left in self.quota_left.items()}
        beside = Beside(quota=Quota(nominal), elsewhere=elsewhere, lost=self.lost, sick=dict.fromkeys(self.sick, "sick"))
        return placing.Scene(fleet, NOW + self.elapsed, beside)

    @property
    def ports(self) -> Ports:
        """Give the ports."""
        return Ports(self.cluster, self.hosts, self.provider)

    async def act(self, action: Action, **given: Any) -> Outcome:  # noqa: ANN401 (parameters of any action)
        """Call once; keep the facts, as the journal does."""
        cluster = DeclaredCluster(self.cluster, action.verbs)
        outcome = await action(self.target(**given), replace(self.ports, cluster=cluster))
        self.used |= cluster.used
        self.facts |= dict(outcome.facts)
        return outcome

    async def see(self, action: Action, *, calls: int = 10, **given: Any) -> Outcome:  # noqa: ANN401 (parameters of any action)
        """Call until it is done or has failed."""
        for _ in range(calls):
            outcome = await self.act(action, **given)
            if not isinstance(outcome, Wait):
                return outcome
            self.elapsed += outcome.retry_in
        return outcome

    def node(self, name: str) -> Object:
        """Give a node as it is."""
        return self.cluster.see(NODE, name)

    def keys(self, name: str) -> set[str]:
        """Give the keys of a node's taints."""
        return {taint["key"] for taint in self.node(name)["spec"].get("taints") or []}

    def owner(self, kind: Kind = JOBSET) -> Object:
        """Give the gang's owner object as it is."""
        assert self.gang is not None
        return self.cluster.see(kind, self.gang.name, self.gang.namespace)

    def edit_owner(self, body: Object, kind: Kind = JOBSET) -> None:
        """Change the owner as somebody else."""
        assert self.gang is not None
        self.cluster.edit(kind, self.gang.name, body, self.gang.namespace)

    def suspended_by(self, incident: str = INCIDENT, kind: Kind = JOBSET) -> None:
        """Let the gang be suspended, its controller have said so, and its pods be gone."""
        note = {"annotations": {"sliceward.dev/suspended-by": incident}} if incident else {}
        status = {"conditions": [{"type": "Suspended", "status": "True"}]}
        self.edit_owner({"metadata": note, "spec": {"suspend": True}, "status": status}, kind)
        self.drop_pods()

    def pods(self, gang: str = "llm") -> list[Object]:
        """Give the gang's pods."""
        return [pod for pod in self.cluster.of(POD) if pod["metadata"]["name"].startswith(f"{gang}-")]

    def drop_pods(self, gang: str = "llm") -> None:
        """Let the gang's pods be gone."""
        for pod in self.pods(gang):
            self.cluster.drop(POD, pod["metadata"]["name"], pod["metadata"]["namespace"])


def default_fleet() -> FleetBuilder:
    """Give the fleet of the scene."""
    return a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").with_gang("other").on("cube-2")


def a_scene(builder: FleetBuilder | None = None, *, cube: str = "cube-0", kind: str = "JobSet") -> Scene:
    """Set the scene."""
    builder = builder or default_fleet()
    drawn = builder.objects()
    cluster = FakeCluster("c1", now=NOW)
    for of, objects in ((NODE, drawn.nodes), (POD, drawn.pods), (JOBSET, drawn.jobsets), (JOB, drawn.jobs)):
        cluster.put_all(of, objects)
    domain = tuple(host_id(name) for name in builder.hosts_of(cube))
    return Scene(cluster, host_id(f"{cube}-host-05"), domain, gang=replace(LLM, owner_kind=kind))


def done(outcome: Outcome) -> Done:
    """Give a Done, or say what came instead."""
    assert isinstance(outcome, Done), outcome
    return outcome


def waiting(outcome: Outcome) -> Wait:
    """Give a Wait, or say what came instead."""
    assert isinstance(outcome, Wait), outcome
    return outcome


def failed(outcome: Outcome) -> Failed:
    """Give a Failed, or say what came instead."""
    assert isinstance(outcome, Failed), outcome
    return outcome
