"""What conditions read: one value per name of `sliceward.playbooks.conditions.VARIABLES`, from incident, fleet and progress.

What is not known is left out, so that an expression that needs it is an error, not False.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sliceward.playbooks.sufferers import is_inside_one_cube
from sliceward.topology.ids import ChipId, ClusterId, HostId, LinkId

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.world import World
    from sliceward.topology.fleet import Fleet


def inputs(incident: Incident, finding: Finding, world: World, now: datetime) -> dict[str, Any]:
    """Give the inputs for conditions about ``finding`` of ``incident``."""
    generation = generation_of(world.fleet, incident.domain)
    return {
        "now": now,
        "cluster.name": incident.cluster,
        "incident.id": incident.id,
        "incident.kinds": sorted({f.kind.value for f in incident.firing}),
        "incident.openFor": now - incident.opened,
        "domain.size": len(incident.domain),
        "domain.generation": generation,
        "spare.cubes": spare_cubes(world, generation),
        **_finding(finding, world.fleet, now),
        **_gang(incident, world, now),
        **_slice(incident, world.fleet),
        **_host(finding, world.fleet),
    }


def generation_of(fleet: Fleet, domain: tuple[HostId, ...]) -> str:
    """Give the TPU generation of a domain, "" where it is unknown or mixed."""
    found = {fleet.hosts[host].generation for host in domain if host in fleet.hosts}
    return found.pop() if len(found) == 1 else ""


def spare_cubes(world: World, generation: str) -> int:
    """Count the whole cubes of a generation that are free, in service and not under suspicion."""
    return sum(cube.generation == generation for cube in world.spares)


def _finding(finding: Finding, fleet: Fleet, now: datetime) -> dict[str, Any]:
    part = finding.part
    return {
        "finding.kind": finding.kind.value,
        "finding.part": str(part),
        "finding.partKind": "cluster" if isinstance(part, ClusterId) else part.kind,
        "finding.severity": finding.severity.value,
        "finding.score": float(finding.score),
        "finding.firingFor": now - finding.since,
        "finding.source": finding.source,
        "finding.betweenCubes": isinstance(part, LinkId) and not is_inside_one_cube(fleet, finding),
        "finding.labels": dict(finding.labels),
        "finding.others": len(finding.also),
    }


def _gang(incident: Incident, world: World, now: datetime) -> dict[str, Any]:
    gang = None if incident.gang is None else world.fleet.gangs.get(incident.gang)
    if gang is None:
        empty: dict[str, Any] = dict.fromkeys(("gang.id", "gang.tenant", "gang.managedBy", "gang.state"), "")
        return empty | dict.fromkeys(("gang.chips", "gang.priority", "gang.restarts"), 0)
    found: dict[str, Any] = {
        "gang.id": str(gang.id),
        "gang.chips": gang.chips,
        "gang.tenant": gang.tenant,
        "gang.managedBy": gang.managed_by.value,
        "gang.state": gang.state.value,
        "gang.priority": gang.priority,
        "gang.restarts": gang.restarts,
    }
    progress = world.progress.get(gang.id)
    if progress is not None:
        if progress.rate is not None:
            found["gang.rate"] = float(progress.rate)
        if progress.rate_before is not None:
            found["gang.rateBefore"] = float(progress.rate_before)
        if progress.checkpoint_age is not None:
            found["gang.checkpointAge"] = timedelta(seconds=progress.checkpoint_age) + (now - progress.at)
    return found


def _slice(incident: Incident, fleet: Fleet) -> dict[str, Any]:
    one = None if incident.slice is None else fleet.slices.get(incident.slice)
    if one is None:
        return {"slice.id": "", "slice.chips": 0, "slice.cubes": 0}
    chips = sum(fleet.hosts[host].chips for host in one.hosts if host in fleet.hosts)
    return {"slice.id": str(one.id), "slice.chips": chips, "slice.cubes": len(one.cubes)}


def _host(finding: Finding, fleet: Fleet) -> dict[str, Any]:
    part = finding.part
    name = part if isinstance(part, HostId) else part.host_id if isinstance(part, ChipId) else None
    host = None if name is None else fleet.hosts.get(name)
    if host is None:
        return {"host.name": ""}
    return {
        "host.name": host.id.name,
        "host.ready": host.ready.value,
        "host.cordoned": host.cordoned,
        "host.labels": dict(host.labels),
    }
