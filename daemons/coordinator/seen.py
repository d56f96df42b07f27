"""One cluster at one instant, as deciding and actions see it: made once for all that is decided and called in that instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sliceward.daemons.coordinator.orders import Told, beside_of, tells_of_harm
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.world import Usage, World
from sliceward.remediations.action import Target
from sliceward.scheduling.scene import Scene
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from sliceward.daemons.coordinator.calls import Begun
    from sliceward.daemons.coordinator.orders import Remembered
    from sliceward.daemons.coordinator.rules import Rules
    from sliceward.daemons.coordinator.side import Side
    from sliceward.daemons.store import Case
    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.silences import Silence
    from sliceward.playbooks.world import Started
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId


@dataclass(frozen=True, repr=False)  # printed with a traceback, a whole fleet would take minutes
class Known:
    """What is known beside one cluster: incidents, fleets of all clusters, starts of late, what people switched off or silenced.

    ``remembered``: what placement goes by beside.
    """

    cases: Collection[Case]
    fleets: Sequence[Fleet]
    started: tuple[Started, ...]
    paused: str
    silences: tuple[Silence, ...]
    remembered: Callable[[], Remembered]


@dataclass(frozen=True, repr=False)  # as above
class Seen:
    """One cluster now. ``findings``: the present ones, by id."""

    side: Side
    fleet: Fleet
    rules: Rules
    findings: Mapping[str, Finding]
    known: Known
    now: datetime

    @cached_property
    def world(self) -> World:
        """What deciding looks at, beside the incident."""
        runs, age = [case.run for case in self.known.cases if case.run is not None], self.side.age
        return World(
            fleet=self.fleet,
            fleet_age=timedelta.max if age is None else age,
            watcher_age=self.side.presence.watcher_age,
            usage=Usage.of(self.known.fleets, runs),
            runs=tuple(run for run in runs if run.open),
            past=tuple(run for run in runs if not run.open),
            started=self.known.started,
            progress=self.side.presence.progress,
            sick=frozenset().union(
                *(case.incident.domain for case in self.known.cases if not _is_suspicion(case.incident.findings))
            ),
            paused=self.known.paused,
            silences=self.known.silences,
            ceiling=self.rules.ceiling,
            limits=self.rules.limits,
            fleets=tuple(self.known.fleets),
            unclear=frozenset(
                one.part
                for one in self.findings.values()
                if one.kind is Kind.IDENTITY_CONFLICT and one.state is not State.RESOLVED and isinstance(one.part, HostId)
            ),
            fleet_stale_after=self.side.pace.fleet_stale_after,
        )

    def target(self, begun: Begun, text: str, reserved: Mapping[HostId, GangId]) -> Target:
        """Give what an action is told. ``text``: of the incident; ``reserved``: hosts that other runs promised."""
        run, call, fleet = begun.run, begun.call, self.fleet
        return Target(
            incident=begun.incident,
            operation=call.operation,
            part=run.part,
            domain=run.domain,
            gang=fleet.gangs.get(run.gang) if run.gang else None,
            fleet=fleet,
            progress=self.side.presence.progress.get(run.gang) if run.gang else None,
            reserved=reserved,
            facts=run.facts,
            given=call.step.given,
            started=call.step.started or self.now,
            now=self.now,
            text=text,
            lost=self.scene.beside.lost,
            sick=frozenset(host for host, incidents in self._hurt.items() if incidents != {begun.incident}),
            scene=lambda: self.scene,
        )

    @cached_property
    def scene(self) -> Scene:
        """The fleet as placement sees it: made once, for hundreds of gangs may be planned for in one look."""
        cluster = Told(self.side.name, self.fleet, self.findings.values(), self.side.presence.progress)
        others = [fleet for fleet in self.known.fleets if fleet is not self.fleet]
        beside = beside_of(self.rules.orders, [cluster], others, self.known.remembered(), self.now)
        return Scene(self.fleet, self.now, beside)

    @cached_property
    def _hurt(self) -> Mapping[HostId, set[str]]:
        """The hosts that leave service with an incident that is not resolved, each with those incidents."""
        found: dict[HostId, set[str]] = {}
        for case in self.known.cases:
            incident = case.incident
            if incident.cluster == self.side.name and any(map(tells_of_harm, incident.findings)):
                for host in incident.domain:
                    found.setdefault(host, set()).add(incident.id)
        return found


def _is_suspicion(findings: Sequence[Finding]) -> bool:
    """Whether nothing but suspects stand in an incident: those are watched, and make no host unfit."""
    return all(one.kind is Kind.PART_SUSPECT for one in findings)
