"""What deciding looks at, beside the incident: the fleet, who else acts, what was started lately, what people switched off.

Made by the coordinator once for each look, and once more right before the calls; every number has an age. `Usage` is counted
then, and anew with each run that begins in the look (`World.after`), so that a budget is O(domain) per decision; it counts our
own marks and open runs, so it cannot drift.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sliceward.playbooks.run import Run
    from sliceward.playbooks.schema import BudgetSpec, Mode
    from sliceward.playbooks.silences import Silence
    from sliceward.remediations.ports import Progress
    from sliceward.topology.fleet import Cube, Fleet, Scope
    from sliceward.topology.ids import GangId, HostId

SCOPES = ("fleet", "cluster", "pod", "cube", "tenant")


@dataclass(frozen=True, slots=True)
class Started:
    """A run that harms and was begun lately, ended or not; from the store. ``gang``: the one that it moves.

    ``machines``: the instance that each host of the domain was when it began, by name, as far as that was known.
    """

    at: datetime
    incident: str
    cluster: str
    playbook: str
    domain: frozenset[HostId]
    ended: datetime | None = None
    gang: GangId | None = None
    machines: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, run: Run) -> Self:
        """Give the start of a run."""
        machines = {name: instance for name, (instance, _) in run.machines.items() if instance}
        return cls(run.started, run.incident, run.cluster, run.playbook, frozenset(run.domain), run.ended, run.gang, machines)


@dataclass(frozen=True, slots=True)
class Usage:
    """Hosts out of service by our doing and how many there are, per scope.

    ``owners``: host -> incident that has it out. ``out`` and ``own``: hosts out per (scope, key), in all and per incident.
    ``total``: hosts that exist per (scope, key). ``runs``: open runs per (scope, key); ``own_runs`` per incident.
    """

    owners: Mapping[HostId, str] = field(default_factory=dict)
    out: Mapping[Scope, int] = field(default_factory=Counter)
    own: Mapping[tuple[str, str, str], int] = field(default_factory=Counter)
    total: Mapping[Scope, int] = field(default_factory=Counter)
    runs: Mapping[Scope, int] = field(default_factory=Counter)
    own_runs: Mapping[tuple[str, str, str], int] = field(default_factory=Counter)

    @classmethod
    def of(cls, fleets: Iterable[Fleet], runs: Iterable[Run]) -> Self:
        """Count our marks on the hosts of all clusters, and the open runs; ended ones of open incidents tell whose marks are whose.

        What of it is the same for a snapshot is the snapshot's: only what is out and what runs is gone through.
        """
        harmful = tuple(run for run in runs if run.harms)
        runs = tuple(run for run in harmful if run.open)
        fleets = tuple(fleets)
        tenants = {run.incident: run.tenant for run in harmful if run.tenant}
        total: Counter[Scope] = Counter()
        owners: dict[HostId, str] = {}
        for fleet in fleets:
            total.update(fleet.hosts_in)
            total.update(_tenants(fleet))
            owners.update((host, marks[0].value) for host, marks in fleet.marked.items())
        for run in runs:
            for host_id in run.domain:
                owners.setdefault(host_id, run.incident)
        out: Counter[Scope] = Counter()
        own: Counter[tuple[str, str, str]] = Counter()
        alike = Counter((owner, _scopes(fleets, host_id) or _nowhere(host_id)) for host_id, owner in owners.items())
        for (owner, scopes), count in alike.items():
            for scope in (*scopes, *((("tenant", tenants[owner]),) if owner in tenants else ())):
                out[scope] += count
                own[owner, *scope] += count
        running: Counter[Scope] = Counter()
        own_runs: Counter[tuple[str, str, str]] = Counter()
        for run in runs:
            for scope in {scope for host_id in run.domain for scope in _scopes(fleets, host_id)} | _scopes_of(run):
                running[scope] += 1
                own_runs[run.incident, *scope] += 1
        return cls(owners, out, own, total, running, own_runs)


def _scopes(fleets: Iterable[Fleet], host: HostId) -> tuple[Scope, ...]:
    """Give what a host counts in; nothing where no snapshot shows it."""
    return next((fleet.scopes[host] for fleet in fleets if host in fleet.scopes), ())


def _nowhere(host: HostId) -> tuple[Scope, ...]:
    """Give what a host counts in that no snapshot shows."""
    return (("fleet", ""), ("cluster", host.cluster))


def _scopes_of(run: Run) -> set[Scope]:
    return {("fleet", ""), ("cluster", run.cluster)} | ({("tenant", run.tenant)} if run.tenant else set())


def _tenants(fleet: Fleet) -> Counter[Scope]:
    """Count the hosts that each tenant's gangs hold, or would hold if they ran."""
    found: Counter[Scope] = Counter()
    for gang in fleet.gangs.values():
        found["tenant", gang.tenant] += sum(role.slices * role.hosts for role in gang.roles)
    return found


@dataclass(frozen=True)
class World:
    """One cluster and its surroundings at one instant.

    ``fleet_age``: age of the snapshot. ``watcher_age``: time since the watcher of this cluster last spoke (None: never).
    ``runs``: open runs of all clusters; ``past``: ended ones of open incidents. ``started``: runs begun within the longest window or cooldown (a day is enough).
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
    past: tuple[Run, ...] = ()
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

    @cached_property
    def spares(self) -> tuple[Cube, ...]:
        """Whole cubes that are free, in service, promised to nobody and not under suspicion."""
        promised = {host for run in self.runs for host in run.promised}
        return tuple(cube for cube in self.fleet.vacant if self.sick.isdisjoint(cube.hosts) and promised.isdisjoint(cube.hosts))

    def after(self, run: Run | None) -> World:
        """Give the world as the next decision of the same look must see it: with the run as the one before left it.

        What a run gives back by its end is counted once another begins, or in the next look; marks that stand are counted in either.
        """
        if run is None or not run.harms:
            return self
        known = any(other.id == run.id for other in self.runs)
        runs = (*(other for other in self.runs if other.id != run.id), *((run,) if run.open else ()))
        past = tuple(other for other in self.past if other.incident != run.incident)
        if not run.open:
            return replace(self, runs=runs, past=(*past, run))
        if known:
            return replace(self, runs=runs)
        usage = Usage.of(self.fleets or (self.fleet,), (*runs, *past))
        again = any(one.incident == run.incident and one.at == run.started for one in self.started)
        started = self.started if again else (*self.started, Started.of(run))
        return replace(self, runs=runs, past=past, started=started, usage=usage)
