"""What deciding looks at, beside the incident: the fleet, who else acts, what was started lately, what people switched off.

Read once per round by the coordinator; every number has an age. `Usage` is built once per round so that a budget is
O(domain) per decision; it counts our own marks and open runs, so it cannot drift.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.playbooks.run import Run
    from sliceward.playbooks.schema import BudgetSpec, Mode
    from sliceward.remediations.ports import Progress
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId, HostId

SCOPES = ("fleet", "cluster", "pod", "cube", "tenant")


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was begun lately, ended or not; from the store."""

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
        """Count our marks on the hosts of all clusters, and the open runs."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class World:
    """One cluster and its surroundings at one instant.

    ``fleet_age``: age of the snapshot. ``watcher_age``: time since the watcher of this cluster last spoke (None: never).
    ``runs``: open runs of all clusters. ``started``: runs begun within the longest window or cooldown (a day is enough).
    ``paused``: why harm is stopped, "" when it is not. ``ceiling``: no playbook acts above this mode. ``limits``: budget
    of the whole fleet, on top of each playbook's own. ``sick``: hosts with an open incident (never a spare).
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
    ceiling: Mode | None = None
    limits: BudgetSpec | None = None
