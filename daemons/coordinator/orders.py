"""What people configured for placement, and all that stands beside the fleet at one instant, built from it in one place.

Comes in: configuration, the clusters' fleets with what is found, told and reserved there, the runs and displacements of the store.
Goes out: `Beside`, by which the coordinator plans, and explains, and answers what would be if.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.daemons.coordinator.views import BLINDS
from sliceward.detectors.finding import Kind, State
from sliceward.remediations.weighing import told_by
from sliceward.scheduling.beside import SURE, Beside
from sliceward.scheduling.costs import Costs
from sliceward.scheduling.mix import counted_mix
from sliceward.scheduling.quota import Quota, usage
from sliceward.scheduling.risk import Failure, risks_of
from sliceward.topology.ids import HostId, LinkId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sliceward.daemons.coordinator.settings import CoordinatorSettings
    from sliceward.daemons.store import Case
    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.world import Started
    from sliceward.remediations.ports import Progress
    from sliceward.scheduling.ground import Mix
    from sliceward.scheduling.rights import Displaced
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId


@dataclass(frozen=True, slots=True)
class Orders:
    """As in `Beside`. ``counts``: the expected requests are counted among the gangs that are there, where none are said."""

    quota: Quota = field(default_factory=Quota)
    protected: frozenset[str] = frozenset()
    mix: Mapping[str, Mix] = field(default_factory=dict)
    counts: bool = False
    costs: Costs = field(default_factory=Costs)
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sure: float = SURE


NO_ORDERS = Orders()


def orders_of(settings: CoordinatorSettings) -> Orders:
    """Give what a configuration says. Raises `Misconfigured`."""
    wanted = settings.placement
    return Orders(
        quota=Quota.from_mapping(settings.quota),
        protected=frozenset(wanted.protected),
        mix=wanted.mixes,
        counts=wanted.count_gangs,
        costs=wanted.weights,
        levels={cluster: tuple(levels) for cluster, levels in wanted.levels.items()},
        sure=wanted.spares_sure,
    )


@dataclass(frozen=True, repr=False)  # printed with a traceback, a whole fleet would take minutes
class Told:
    """One cluster now: its fleet, its present findings, and what its gangs tell."""

    name: str
    fleet: Fleet
    findings: Collection[Finding]
    progress: Mapping[GangId, Progress]


@dataclass(frozen=True, repr=False)  # as above
class Remembered:
    """What the coordinator remembers over all clusters: open incidents with their runs, starts of runs that harm, displacements."""

    cases: Collection[Case]
    started: Iterable[Started]
    past: tuple[Displaced, ...]
    reserved: Mapping[HostId, GangId]


def beside_of(orders: Orders, clusters: Sequence[Told], others: Iterable[Fleet], known: Remembered, now: datetime) -> Beside:
    """Give what stands beside the fleets of some clusters. ``others``: the fleets of all other clusters, which use quota too."""
    names = {cluster.name for cluster in clusters}
    findings = [finding for cluster in clusters for finding in cluster.findings if finding.state is State.FIRING]
    fleets = [cluster.fleet for cluster in clusters]
    moved: dict[GangId, list[datetime]] = defaultdict(list)
    for one in known.started:
        if one.gang is not None:
            moved[one.gang].append(one.at)
    runs = [case.run for case in known.cases if case.run is not None and case.run.open]
    return Beside(
        reserved={host: gang for host, gang in known.reserved.items() if host.cluster in names},
        healing=frozenset(run.gang for run in runs if run.gang is not None),
        stopped=frozenset(run.gang for run in runs if run.gang is not None and run.facts.get("suspended")),
        sick=sick_hosts(known.cases, names),
        lost=frozenset(one.part for one in findings if one.kind is Kind.HOST_LOST and isinstance(one.part, HostId)),
        links=frozenset(one.part for one in findings if one.kind not in BLINDS and isinstance(one.part, LinkId)),
        risks=risks_of((Failure(one.at, one.domain, _replaced(one, fleets)) for one in known.started), now),
        quota=orders.quota,
        protected=orders.protected,
        elsewhere=sum((Counter(usage(fleet)) for fleet in others), Counter()),
        mix={**counted_mix(fleets), **orders.mix} if orders.counts else orders.mix,
        costs=orders.costs,
        levels={cluster: levels for cluster, levels in orders.levels.items() if cluster in names},
        sure=orders.sure,
        told={gang: told_by(progress) for cluster in clusters for gang, progress in cluster.progress.items()},
        past=known.past,
        moved={gang: tuple(times) for gang, times in moved.items()},
    )


def _replaced(failed: Started, fleets: Iterable[Fleet]) -> frozenset[HostId]:
    """Give the hosts of a run that are other machines now; where either identity is not known, it is taken for the same."""
    shown = (fleet.hosts[host] for fleet in fleets for host in failed.domain if host in fleet.hosts)
    known = ((host, failed.machines.get(host.id.name, "")) for host in shown)
    return frozenset(host.id for host, then in known if then and host.instance_id and host.instance_id != then)


def tells_of_harm(finding: Finding) -> bool:
    """Tell whether it keeps its hosts from new places: a suspect is watched, and no cube is kept empty for it."""
    return finding.state is not State.RESOLVED and finding.kind is not Kind.PART_SUSPECT


def sick_hosts(cases: Iterable[Case], clusters: Collection[str]) -> dict[HostId, str]:
    """Give the hosts that leave service with an incident that is not resolved, and which."""
    found: dict[HostId, str] = {}
    for case in sorted(cases, key=lambda case: (case.incident.opened, case.incident.id), reverse=True):
        incident = case.incident
        if incident.cluster in clusters and any(map(tells_of_harm, incident.findings)):
            found.update(dict.fromkeys(incident.domain, f"incident {incident.id}"))
    return found
