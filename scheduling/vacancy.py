"""Which hosts and cubes a gang may be planned on, and why not the others.

A host is free for a gang if it is Ready for certain, not cordoned, carries no mark that keeps pods away, is not to be
avoided, is not promised to another gang, and holds nothing but members of this same gang (which is suspended first).
Unknown is not free (invariant 8), and what another gang holds is not free (invariant 7).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sliceward.topology.gangs import GangState
from sliceward.topology.health import Health
from sliceward.topology.names import NAMES, Names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.topology.fleet import Cube, Fleet, Host
    from sliceward.topology.gangs import Gang, Role
    from sliceward.topology.ids import GangId, HostId

BEST, ACCEPTABLE = 0, 1
"""Rank of a cube by Google's word on it: HEALTHY (or not labelled, as on classic pools), DEGRADED."""


@dataclass(frozen=True)
class Vacancy:
    """The free room in a fleet as one gang sees it."""

    fleet: Fleet
    gang: Gang
    avoid: frozenset[HostId]
    reserved: Mapping[HostId, GangId]
    names: Names = NAMES

    def why_not(self, host_id: HostId) -> str | None:
        """Say why a host is not free for the gang; None where it is."""
        host = self.fleet.hosts.get(host_id)
        if host is None:
            return "not in the fleet"
        return self._condition(host) or self._taken(host)

    def why_unsuited(self, host_id: HostId, role: Role) -> str | None:
        """Say why pods of a role could not run on a free host; None where they could.

        Our own label and that of a slice still to be formed come later and are not asked for.
        """
        host = self.fleet.hosts[host_id]
        if host.chips != role.chips_per_host:
            return f"has {host.chips} chips, the pods ask for {role.chips_per_host}"
        later = {self.names.gang, self.names.slice, self.names.slice_topology}
        missing = [k for k, v in sorted(role.node_selector.items()) if k not in later and host.labels.get(k) != v]
        return f"lacks label {missing[0]}={role.node_selector[missing[0]]}" if missing else None

    def why_not_cube(self, cube: Cube) -> str | None:
        """Say why a cube as a whole is of no use to the gang, before looking at its hosts; None where it may be."""
        if cube.generation != self.gang.generation:
            return f"is {cube.generation}"
        if not cube.complete:
            return f"has {len(cube.hosts)} of {cube.expected_hosts} hosts"
        if self.rank(cube) is None:
            return f"is {cube.state} in Google's words"
        return None

    def why_not_whole(self, cube: Cube, role: Role) -> str | None:
        """Say why a cube cannot be taken whole by a slice of a role: the commonest reason and the hosts that show it."""
        told = self.why_not_cube(cube)
        if told is not None:
            return told
        reasons = {h: why for h in cube.hosts if (why := self.why_not(h) or self.why_unsuited(h, role)) is not None}
        return _summed_up(reasons, len(cube.hosts)) if reasons else None

    def rank(self, cube: Cube) -> int | None:
        """Give the choice that a cube is by Google's word on it; None: never."""
        ranks: dict[str | None, int] = {None: BEST, self.names.healthy: BEST, self.names.degraded: ACCEPTABLE}
        return ranks.get(cube.state)

    def _condition(self, host: Host) -> str | None:
        if host.id in self.avoid:
            return "to be avoided"
        if host.ready is not Health.HEALTHY:
            return "not Ready" if host.ready is Health.UNHEALTHY else "readiness unknown"
        if host.our_marks:
            return f"out of service for incident {host.our_marks[0].value}"
        if host.cordoned:
            return "cordoned"
        return None if host.available else f"tainted {next(m.key for m in host.marks if m.effect.startswith('No'))}"

    def _taken(self, host: Host) -> str | None:
        others = [gang for gang in self.fleet.gangs_on.get(host.id, ()) if gang != self.gang.id]
        if others:
            return f"held by {others[0].name}"
        if host.id in self.fleet.strangers:
            return f"held by pod {self.fleet.strangers[host.id][0]}"
        promised = self.reserved.get(host.id)
        if promised is not None and promised != self.gang.id:
            return f"promised to {promised.name}"
        labelled = self._promises.get(host.labels.get(self.names.gang, ""))
        return f"promised to {labelled.name}" if labelled is not None and labelled != self.gang.id else None

    @cached_property
    def _promises(self) -> Mapping[str, GangId]:
        """Living gangs whose template selects our label: hosts that carry its value are theirs, pods there or not."""
        alive = {GangState.RUNNING, GangState.SUSPENDED}
        return {g.placed_by_us: g.id for g in self.fleet.gangs.values() if g.placed_by_us and g.state in alive}


def _summed_up(reasons: Mapping[HostId, str], hosts: int) -> str:
    """Say the commonest reason: ``held by llm (16 of 16 hosts)``; its first host where there are few."""
    why, count = min(Counter(reasons.values()).items(), key=lambda pair: (-pair[1], pair[0]))
    first = min(host for host, reason in reasons.items() if reason == why)
    more = f", and {len(reasons) - count} hosts for other reasons" if len(reasons) > count else ""
    return f"{why} ({count} of {hosts} hosts, e.g. {first.name}){more}"


def dominant(reasons: Iterable[str]) -> str:
    """Say what most cubes are rejected for, hosts' names and counts left out: ``5 held by llm, 1 cordoned``."""
    counts = Counter(reason.partition(" (")[0] for reason in reasons)
    return ", ".join(f"{count} {why}" for why, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:4])
