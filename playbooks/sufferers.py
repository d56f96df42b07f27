"""Who shares the fate of a broken part: containment of parts, the failure domain, the gang and the slice that are hurt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.topology.gangs import GangState
from sliceward.topology.ids import ChipId, CubeId, GangId, HostId, LinkId, SliceId, hosts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.detectors.finding import Finding
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import PartId


BETWEEN_CUBES = "between-cubes"
"""Label of a finding about a link: "true", "false", or absent where who found it did not see where the chips are."""


@dataclass(frozen=True, slots=True)
class Sufferers:
    """Hosts that leave service together, and the one gang and slice that are hurt (None: nobody, or more than one)."""

    domain: tuple[HostId, ...]
    gang: GangId | None
    slice: SliceId | None


def overlap(fleet: Fleet, one: PartId, other: PartId) -> bool:
    """Whether two parts are the same, contain one another, or are one repairable thing (chips of one host, links of one chip)."""
    return one == other or _contains(fleet, one, other) or _contains(fleet, other, one) or _joined(fleet, one, other)


def _contains(fleet: Fleet, large: PartId, small: PartId) -> bool:
    if isinstance(large, CubeId):
        inside = isinstance(small, HostId | ChipId) or (isinstance(small, LinkId) and fleet.is_inside_one_cube(small))
        return inside and large in fleet.cubes_of(small)
    if isinstance(large, HostId):
        return large in hosts_of(small) and isinstance(small, ChipId | LinkId)
    return isinstance(large, ChipId) and isinstance(small, LinkId) and large in small.ends


def _joined(fleet: Fleet, one: PartId, other: PartId) -> bool:
    if isinstance(one, ChipId) and isinstance(other, ChipId):
        return one.host_id == other.host_id
    if isinstance(one, LinkId) and isinstance(other, LinkId):
        alike = fleet.is_inside_one_cube(one) == fleet.is_inside_one_cube(other)
        return alike and bool(set(one.ends) & set(other.ends))
    return False


def gang_of(fleet: Fleet, finding: Finding) -> GangId | None:
    """Give the gang that a finding hurts: the one it names, else the only one on the part's hosts."""
    if isinstance(finding.part, GangId):
        return finding.part
    if finding.gang is not None:
        return finding.gang
    part = finding.part
    if isinstance(part, SliceId):
        return fleet.slices[part].gang if part in fleet.slices else None
    hosts = fleet.cubes[part].hosts if isinstance(part, CubeId) and part in fleet.cubes else hosts_of(part)
    return _only(fleet, hosts)


def _only(fleet: Fleet, hosts: Sequence[HostId]) -> GangId | None:
    found = {gang for host in hosts for gang in fleet.gangs_on.get(host, ())}
    return found.pop() if len(found) == 1 else None


def sufferers(fleet: Fleet, findings: Sequence[Finding]) -> Sufferers:
    """Give who is hurt by the root (the first of ``findings``), with what its siblings know.

    A gang that someone suspended, that ended, that runs elsewhere by now, or that the fleet does not show has nothing to lose
    and is not named.
    """
    root = findings[0]
    domain = domain_of(fleet, root)
    named = (*(gang_of(fleet, finding) for finding in findings), _only(fleet, domain))
    gang = next((one for one in named if one is not None and _suffers(fleet, one) and not _has_left(fleet, one, domain)), None)
    return Sufferers(domain, gang, _slice(fleet, root, gang, domain))


def is_inside_one_cube(fleet: Fleet, finding: Finding) -> bool:
    """Whether the link of a finding is certainly inside one cube.

    Who found it may have seen where the chips are (they report it), which beats what the fleet makes of labels; only that
    both ends are in one cube must be so here as well.
    """
    link = finding.part
    if not isinstance(link, LinkId):
        return False
    match finding.labels.get(BETWEEN_CUBES):
        case "true":
            return False
        case "false":
            return len(fleet.cubes_of(link)) == 1 and all(end.host_id in fleet.hosts for end in link.ends)
        case _:
            return fleet.is_inside_one_cube(link)


def domain_of(fleet: Fleet, finding: Finding) -> tuple[HostId, ...]:
    """Give the hosts that leave service together for a finding; none for a link that leaves its cube."""
    if isinstance(finding.part, LinkId):
        return fleet.cubes[fleet.cubes_of(finding.part)[0]].hosts if is_inside_one_cube(fleet, finding) else ()
    return fleet.domain_of(finding.part)


def _suffers(fleet: Fleet, gang: GangId) -> bool:
    return gang in fleet.gangs and fleet.gangs[gang].state is GangState.RUNNING


def _has_left(fleet: Fleet, gang: GangId, domain: tuple[HostId, ...]) -> bool:
    """Whether every pod of the gang has its place outside ``domain``; one without a place may yet come back to it."""
    places = [member.host for member in fleet.gangs[gang].members if not member.ended]
    return bool(domain and places) and all(host is not None and host not in domain for host in places)


def _slice(fleet: Fleet, root: Finding, gang: GangId | None, domain: tuple[HostId, ...]) -> SliceId | None:
    if isinstance(root.part, SliceId):
        return root.part
    if root.slice is not None:
        return root.slice
    if gang is None:
        return None
    cubes = set(fleet.cubes_of(root.part))
    hurt = [s.id for s in fleet.slices.values() if s.gang == gang and (cubes & set(s.cubes) or set(domain) & set(s.hosts))]
    return hurt[0] if len(hurt) == 1 else None
