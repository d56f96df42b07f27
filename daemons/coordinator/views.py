"""The fleet as docs/api.md shows it: a snapshot, its findings and its incidents in, JSON values out. Pure.

A part is healthy only while telemetry is known to come in and nothing is said against it; sick while a finding about it
fires; else unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks import record
from sliceward.scheduling.quota import Quota, usage
from sliceward.scheduling.rows import problem_row
from sliceward.topology.health import Health, worst
from sliceward.topology.ids import ChipId, LinkId
from sliceward.topology.links import is_between_cubes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import Playbook
    from sliceward.playbooks.silences import Silence
    from sliceward.remediations.ports import Progress
    from sliceward.topology.fleet import Cube, Fleet, Host, Problem, Slice
    from sliceward.topology.gangs import Gang, Member
    from sliceward.topology.ids import CubeId, GangId, HostId, PartId

Row = dict[str, Any]
Sketch = tuple[str, "Callable[[], Row]"]
"""Id of a row, and what draws it."""
Part = TypeVar("Part")

BLINDS = frozenset({Kind.TELEMETRY_LOST, Kind.AGENT_UNWELL, Kind.IDENTITY_CONFLICT, Kind.PROVIDER_DISAGREES, Kind.PART_SUSPECT})
"""Findings that say that nothing is known for certain about the part, not that it is sick."""


@dataclass(frozen=True)
class Sight:
    """One cluster as it is shown. ``telemetry``: whether frames are being watched; ``age`` of the snapshot, None: never read."""

    name: str
    fleet: Fleet | None
    age: timedelta | None
    reachable: bool
    telemetry: bool
    findings: Sequence[Finding] = ()
    incidents: Sequence[Incident] = ()
    progress: Mapping[GangId, Progress] = field(default_factory=dict)
    quota: Quota = field(default_factory=Quota)
    problem: str = ""

    @cached_property
    def about(self) -> Mapping[PartId, tuple[Finding, ...]]:
        """Findings that are not resolved, by their part."""
        found: dict[PartId, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            if finding.state is not State.RESOLVED:
                found[finding.part].append(finding)
        return {part: tuple(findings) for part, findings in found.items()}

    @cached_property
    def incident_of(self) -> Mapping[HostId, str]:
        """The open incident that each host is in."""
        return {host: one.id for one in reversed(self.incidents) if one.open for host in one.domain}

    def health(self, part: PartId) -> Health:
        """Say what is known about one part by itself."""
        found = self.about.get(part, ())
        if any(f.state is State.FIRING and f.kind not in BLINDS for f in found):
            return Health.UNHEALTHY
        return Health.UNKNOWN if found or not self.telemetry or not self.reachable else Health.HEALTHY


def host_health(sight: Sight, host: Host) -> Health:
    """Say what is known about a host: its own findings, and what Kubernetes says of it."""
    return worst((sight.health(host.id), host.ready))


def chip_health(sight: Sight, host: Host, chip: ChipId) -> Health:
    """Say what is known about a chip: a host that is lost or silent tells nothing about its chips."""
    own = sight.health(chip)
    if own is not Health.HEALTHY:
        return own
    silent = host.ready is not Health.HEALTHY or any(
        f.kind in BLINDS or f.kind is Kind.HOST_LOST or f.state is State.UNKNOWN for f in sight.about.get(host.id, ())
    )
    return Health.UNKNOWN if silent else own


def host_row(sight: Sight, host: Host) -> Row:
    """Give a ``Host``."""
    gangs = sight.fleet.gangs_on.get(host.id, ()) if sight.fleet else ()
    return {
        "id": str(host.id),
        "cluster": sight.name,
        "name": host.id.name,
        "cube": None if host.cube is None else str(host.cube),
        "index": host.index,
        "generation": host.generation,
        "health": host_health(sight, host).value,
        "ready": host.ready.value,
        "cordoned": host.cordoned,
        "in_service": not host.our_marks and not host.cordoned,
        "gang": str(gangs[0]) if gangs else None,
        "incident": sight.incident_of.get(host.id) or next((mark.value for mark in host.our_marks), None),
        "marks": [{"key": m.key, "value": m.value, "effect": m.effect, "ours": m.ours} for m in host.marks],
        "findings": [finding.id for finding in sight.about.get(host.id, ())],
    }


def chip_rows(sight: Sight, cube: Cube) -> list[Row]:
    """Give the chips of a cube whose place is known, with their health."""
    fleet = sight.fleet
    if fleet is None:
        return []
    return [
        {
            "at": list(at),
            "host": chip.host,
            "index": chip.index,
            "health": chip_health(sight, fleet.hosts[chip.host_id], chip).value,
            **_reading(sight, chip),
        }
        for at, chip in sorted(fleet.chips_at(cube.id).items())
    ]


def _reading(sight: Sight, chip: ChipId) -> Row:
    """Give what a chip that differs from its peers read last, and the band of the peers; nothing for the others."""
    picture = next((one.picture for one in sight.about.get(chip, ()) if one.picture is not None), None)
    known = () if picture is None else zip(picture.values, picture.low, picture.high, strict=False)
    last = next((three for three in reversed(tuple(known)) if all(map(isfinite, three))), None)
    if picture is None or last is None:
        return {}
    value, low, high = last
    return {"reading": {"metric": picture.metric, "unit": picture.unit, "value": value, "low": low, "high": high}}


def cube_row(sight: Sight, cube: Cube) -> Row:
    """Give a ``Cube``. A spare is whole, healthy, in service and without a gang."""
    fleet = sight.fleet
    hosts = [fleet.hosts[host] for host in cube.hosts if host in fleet.hosts] if fleet else []
    rows, chips = [host_row(sight, host) for host in hosts], chip_rows(sight, cube)
    healths = [Health(row["health"]) for row in (*rows, *chips)] + [sight.health(cube.id)]
    healths += [Health.UNHEALTHY for link in _inner_links(sight, cube.id) if sight.health(link) is Health.UNHEALTHY]
    health, in_service = worst(healths), bool(rows) and all(row["in_service"] for row in rows)
    gang = next((row["gang"] for row in rows if row["gang"]), None)
    return {
        "id": str(cube.id),
        "cluster": sight.name,
        "name": cube.id.name,
        "shape": list(cube.shape),
        "generation": cube.generation,
        "state": cube.state,
        "health": health.value,
        "in_service": in_service,
        "spare": health is Health.HEALTHY and in_service and gang is None and cube.complete,
        "incident": next((row["incident"] for row in rows if row["incident"]), None),
        "gang": gang,
        "hosts": rows,
        "chips": chips,
    }


def _inner_links(sight: Sight, cube: CubeId) -> list[LinkId]:
    fleet = sight.fleet
    return [
        part
        for part in sight.about
        if fleet and isinstance(part, LinkId) and fleet.is_inside_one_cube(part) and fleet.cubes_of(part) == (cube,)
    ]


def link_rows(sight: Sight) -> list[Row]:
    """Give the links about which a finding is open; ``between_cubes`` where it is not certainly inside one."""
    incidents = {finding.id: one.id for one in sight.incidents if one.open for finding in one.findings}
    return [
        {
            "id": str(part),
            "cluster": sight.name,
            "ends": [str(end) for end in part.ends],
            "between_cubes": sight.fleet is not None
            and (is_between_cubes(sight.fleet, part) or len(sight.fleet.cubes_of(part)) > 1),
            "kind": findings[0].kind.value,
            "state": findings[0].state.value,
            "incident": next((incidents[f.id] for f in findings if f.id in incidents), None),
        }
        for part, findings in sorted(sight.about.items(), key=lambda item: str(item[0]))
        if isinstance(part, LinkId)
    ]


def slice_row(sight: Sight, one: Slice) -> Row:
    """Give a ``Slice``."""
    return {
        "id": str(one.id),
        "cluster": sight.name,
        "shape": list(one.shape),
        "cubes": [str(cube) for cube in one.cubes],
        "gang": None if one.gang is None else str(one.gang),
        "role": one.role,
        "index": one.index,
    }


def gang_row(sight: Sight, gang: Gang) -> Row:
    """Give a ``Gang``; its slices by role and index with the cubes that their pods are in now."""
    progress = sight.progress.get(gang.id)
    return {
        "id": str(gang.id),
        "cluster": sight.name,
        "key": gang.id.key,
        "name": gang.id.name,
        "namespace": gang.id.namespace,
        "kind": gang.id.owner_kind,
        "tenant": gang.tenant,
        "priority": gang.priority,
        "state": gang.state.value,
        "managed_by": gang.managed_by.value,
        "chips": gang.chips,
        "hosts": len(gang.hosts),
        "slices": _gang_slices(sight, gang),
        "progress": None if progress is None else {k: v for k, v in record.plain(progress).items() if k != "gang"},
    }


def _gang_slices(sight: Sight, gang: Gang) -> list[Row]:
    members: dict[tuple[str, int], list[Member]] = defaultdict(list)
    for member in gang.members:
        if member.host is not None and not member.ended:
            members[member.role, member.slice_index].append(member)
    rows = []
    for role in gang.roles:
        for index in range(role.slices):
            hosts = {member.host for member in members[role.name, index] if member.host is not None}
            cubes = sorted({cube for host in hosts if (cube := _cube_of(sight, host)) is not None})
            whole = len(hosts) == role.hosts and _in_one_slice(sight, hosts, cubes)
            rows.append({"role": role.name, "index": index, "cubes": [str(cube) for cube in cubes], "whole": whole})
    return rows


def _cube_of(sight: Sight, host: HostId) -> CubeId | None:
    known = sight.fleet.hosts.get(host) if sight.fleet else None
    return known.cube if known else None


def _in_one_slice(sight: Sight, hosts: set[HostId], cubes: Sequence[CubeId]) -> bool:
    slices = sight.fleet.slices.values() if sight.fleet else ()
    return len(cubes) == 1 or any(hosts <= set(one.hosts) for one in slices)


def quota_rows(sight: Sight) -> list[Row]:
    """Give chips held and allowed by tenant and generation; ``nominal`` is None without a limit."""
    used = usage(sight.fleet) if sight.fleet else {}
    return [
        {
            "cluster": sight.name,
            "tenant": tenant,
            "generation": generation,
            "nominal": sight.quota.nominal.get((tenant, generation)),
            "used": used.get((tenant, generation), 0),
        }
        for tenant, generation in sorted(used.keys() | sight.quota.nominal.keys())
    ]


def playbook_row(playbook: Playbook) -> Row:
    """Give what a playbook says."""
    return {
        "name": playbook.name,
        "mode": playbook.mode.value,
        "summary": playbook.spec.summary,
        "kinds": sorted({kind.value for selector in playbook.spec.trigger.findings for kind in selector.kinds}),
        "conditions": [{"name": one.name, "expression": one.expression} for one in playbook.conditions],
        "steps": [{"name": step.spec.name, "action": step.spec.action} for step in playbook.steps],
        "hands_over": playbook.spec.hand_over,
        "runbook": playbook.runbook,
        "where": playbook.where,
        "digest": playbook.digest,
    }


def silence_row(silence: Silence, now: datetime) -> Row:
    """Give a ``Silence``."""
    row = {name: record.plain(getattr(silence, name)) for name in ("id", "matches", "by", "why", "made", "ended")}
    return row | {
        "from": record.plain(silence.begins),
        "until": record.plain(silence.until),
        "state": silence.stand(now).value,
        "ended_by": silence.ended_by or None,
        "ended_why": silence.ended_why or None,
    }


def _sketched(draw: Callable[[Sight, Part], Row], sight: Sight, parts: Mapping[Any, Part]) -> list[Sketch]:
    return [(str(name), partial(draw, sight, part)) for name, part in parts.items()]


SKETCHES: Mapping[str, Callable[[Sight], list[Sketch]]] = {
    "hosts": lambda sight: _sketched(host_row, sight, sight.fleet.hosts if sight.fleet else {}),
    "cubes": lambda sight: _sketched(cube_row, sight, sight.fleet.cubes if sight.fleet else {}),
    "slices": lambda sight: _sketched(slice_row, sight, sight.fleet.slices if sight.fleet else {}),
    "gangs": lambda sight: _sketched(gang_row, sight, sight.fleet.gangs if sight.fleet else {}),
    "links": lambda sight: [(str(row["id"]), partial(dict, row)) for row in link_rows(sight)],
    "findings": lambda sight: _sketched(finding_row, sight, {finding.id: finding for finding in sight.findings}),
}
"""What each list shows of a cluster, by its name: of 10,000 rows a page holds a hundred, and no others are drawn."""


def finding_row(sight: Sight, finding: Finding) -> Row:
    """Give a ``Finding`` as it is known now."""
    row: Row = record.plain(finding)
    return row | {"id": finding.id, "cluster": sight.name}


def cluster_view(sight: Sight, unplaced: Sequence[Problem] = ()) -> Row:
    """Give one cluster of a ``Fleet``; its many rows are drawn one by one, as they are asked for. ``unplaced``: nothing is placed there."""
    fleet = sight.fleet
    hosts = fleet.hosts.values() if fleet else ()
    generations = Counter(host.generation for host in hosts)
    problems = [problem_row(problem) for problem in (*(fleet.problems if fleet else ()), *unplaced)]
    if sight.problem:
        why = {"name": "ClusterNotReadable", "about": sight.name, "why": sight.problem}
        problems.append(why | {"what_to_do": "Check kubeconfig, context and rights; what is shown is old"})
    return {
        "name": sight.name,
        "reachable": sight.reachable,
        "age_seconds": None if sight.age is None else round(sight.age.total_seconds(), 3),
        "generation": generations.most_common(1)[0][0] if generations else None,
        "pods": sorted({str(cube.pod) for cube in fleet.cubes.values() if cube.pod}) if fleet else [],
        "cubes": (cube_row(sight, cube) for cube in (fleet.cubes.values() if fleet else ())),
        "hosts": (host_row(sight, host) for host in hosts if host.cube is None),
        "slices": (slice_row(sight, one) for one in (fleet.slices.values() if fleet else ())),
        "gangs": (gang_row(sight, gang) for gang in (fleet.gangs.values() if fleet else ())),
        "quota": quota_rows(sight),
        "links": link_rows(sight),
        "problems": problems,
    }
