"""What deciding looks at, beside the incident: the fleet, who else acts, what was started lately, what people switched off.

Read once per round by the coordinator; every number has an age. `Usage` is built once per round so that a budget is
O(domain) per decision; it counts our own marks and open runs, so it cannot drift.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.schema import BudgetSpec, Mode
    from sliceward.playbooks.silences import Silence
    from sliceward.remediations.ports import Progress
    from sliceward.topology.fleet import Fleet, Host
    from sliceward.topology.ids import GangId, HostId

SCOPES = ("fleet", "cluster", "pod", "cube", "tenant")


@dataclass(frozen=True, slots=True)
class Started:
    """A run that harms and was begun lately, ended or not; from the store."""

    at: datetime
    incident: str
    cluster: str
    playbook: str
    domain: frozenset[HostId]
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Hosts out of service by our doing and how many there are, per scope.

    ``owners``: host -> incident that has it out. ``out`` and ``own``: hosts out per (scope, key), in all and per incident.
    ``total``: hosts that exist per (scope, key). ``runs``: open runs per (scope, key); ``own_runs`` per incident.
    """

    owners: Mapping[HostId, str] = field(default_factory=dict)
    out: Mapping[tuple[str, str], int] = field(default_factory=Counter)
    own: Mapping[tuple[str, str, str], int] = field(default_factory=Counter)
    total: Mapping[tuple[str, str], int] = field(default_factory=Counter)
    runs: Mapping[tuple[str, str], int] = field(default_factory=Counter)
    own_runs: Mapping[tuple[str, str, str], int] = field(default_factory=Counter)

    @classmethod
    def of(cls, fleets: Iterable[Fleet], runs: Iterable[Run]) -> Self:
        """Count our marks on the hosts of all clusters, and the open runs; ended ones of open incidents tell whose marks are whose."""
        harmful = tuple(run for run in runs if run.harms)
        runs = tuple(run for run in harmful if run.open)
        owners: dict[HostId, str] = {}
        total: Counter[tuple[str, str]] = Counter()
        places: dict[HostId, list[tuple[str, str]]] = {}
        tenants = {run.incident: run.tenant for run in harmful if run.tenant}
        for fleet in fleets:
            for host in fleet.hosts.values():
                places[host.id] = _places(host)
                total.update(places[host.id])
                if host.our_marks:
                    owners[host.id] = host.our_marks[0].value
            total.update(_tenants(fleet))
        for run in runs:
            for host_id in run.domain:
                owners.setdefault(host_id, run.incident)
        out: Counter[tuple[str, str]] = Counter()
        own: Counter[tuple[str, str, str]] = Counter()
        for host_id, owner in owners.items():
            scopes = places.get(host_id, [("fleet", ""), ("cluster", host_id.cluster)])
            if owner in tenants:
                scopes = [*scopes, ("tenant", tenants[owner])]
            out.update(scopes)
            own.update((owner, *scope) for scope in scopes)
        running: Counter[tuple[str, str]] = Counter()
        own_runs: Counter[tuple[str, str, str]] = Counter()
        for run in runs:
            scopes = sorted({scope for host_id in run.domain for scope in places.get(host_id, ())} | _scopes_of(run))
            running.update(scopes)
            own_runs.update((run.incident, *scope) for scope in scopes)
        return cls(owners, out, own, total, running, own_runs)


def _places(host: Host) -> list[tuple[str, str]]:
    found = [("fleet", ""), ("cluster", host.id.cluster)]
    if host.pod is not None:
        found.append(("pod", str(host.pod)))
    if host.cube is not None:
        found.append(("cube", str(host.cube)))
    return found


def _scopes_of(run: Run) -> set[tuple[str, str]]:
    return {("fleet", ""), ("cluster", run.cluster)} | ({("tenant", run.tenant)} if run.tenant else set())


def _tenants(fleet: Fleet) -> Counter[tuple[str, str]]:
    """Count the hosts that each tenant's gangs hold, or would hold if they ran."""
    found: Counter[tuple[str, str]] = Counter()
    for gang in fleet.gangs.values():
        found["tenant", gang.tenant] += sum(role.slices * role.hosts for role in gang.roles)
    return found


@dataclass(frozen=True, slots=True)
class World:
    """One cluster and its surroundings at one instant.

    ``fleet_age``: age of the snapshot. ``watcher_age``: time since the watcher of this cluster last spoke (None: never).
    ``runs``: open runs of all clusters. ``started``: runs begun within the longest window or cooldown (a day is enough).
    ``paused``: why harm is stopped, "" when it is not. ``silences``: what people asked to be left
    alone, in force or not yet. ``ceiling``: no playbook acts above this mode. ``limits``: budget
    of the whole fleet, on top of each playbook's own. ``sick``: hosts with an open incident (never a spare). ``fleets``: the
    snapshots of all clusters, this one among them, that ``usage`` was counted on. ``unclear``: hosts of which a finding says
    that their identity is missing or doubled. ``fleet_stale_after``: a snapshot older than this is no ground to harm.
    """

    fleet: Fleet
    fleet_age: timedelta = timedelta(0)
    watcher_age: timedelta | None = timedelta(0)
    usage: Usage = field(default_factory=Usage)
    runs: tuple[Run, ...] = ()
    started: tuple[Started, ...] = ()
    progress: Mapping[GangId, Progress] = field(default_factory=dict)
    sick: frozenset[HostId] = frozenset()
    paused: str = ""
    silences: tuple[Silence, ...] = ()
    ceiling: Mode | None = None
    limits: BudgetSpec | None = None
    fleets: tuple[Fleet, ...] = ()
    unclear: frozenset[HostId] = frozenset()
    fleet_stale_after: timedelta = timedelta(minutes=2)

    def after(self, decision: Decision) -> World:
        """Give the world as the next decision of the same round must see it: with the run that this one began."""
        run = decision.run
        if run is None or not run.harms:
            return self
        runs = (*(other for other in self.runs if other.id != run.id), *((run,) if run.open else ()))
        begun = Started(run.started, run.incident, run.cluster, run.playbook, frozenset(run.domain), run.ended)
        known = any(one.incident == run.incident and one.at == run.started for one in self.started)
        started = self.started if known else (*self.started, begun)
        return replace(self, runs=runs, started=started, usage=Usage.of(self.fleets or (self.fleet,), runs))
