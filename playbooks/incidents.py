"""Findings in, incidents out: one incident per cause.

* Hardware folds by containment: a cube tells of its hosts, chips and inner links; a host of its chips and of links that end
  on it; links of one chip belong together. A finding that explains others away (``also``) tells of them.
* Symptoms (a stuck collective, a slice error) fold into the hardware incident of the same gang, whichever came first.
* The root is the earliest hardware evidence, never the loudest error. While a run acts, the root stays as it is.
* The settle time counts from arrival here, not from the finding's own ``since``: siblings are late as a group.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.incident import Entry, EntryKind, How, Incident, Phase
from sliceward.playbooks.sufferers import gang_of, overlap, sufferers
from sliceward.topology.ids import ChipId, ClusterId, GangId, HostId, LinkId, SliceId, hosts_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from datetime import datetime

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.load import Book
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import PartId

SYMPTOMS = frozenset({
    Kind.COLLECTIVE_STUCK, Kind.INPUT_STARVED, Kind.SLICE_ERROR, Kind.SLICE_MIXED, Kind.GANG_DISAGREES, Kind.SLICE_FAILURE,
    Kind.GANG_FAILED, Kind.PROGRAM_FATAL, Kind.COMPILE_STALLED, Kind.CHECKPOINT_STALLED, Kind.NO_FIRST_STEP,
    Kind.PROGRAMS_DIFFER,
})  # fmt: skip
BLINDNESS = frozenset({Kind.TELEMETRY_LOST, Kind.AGENT_UNWELL, Kind.IDENTITY_CONFLICT, Kind.PROVIDER_DISAGREES})
SUSPICIONS = frozenset({Kind.PART_SUSPECT, Kind.CHIP_FATAL, Kind.CHIP_HUNG, Kind.HOST_DYING, Kind.JOB_PAUSES})
"""Findings that accuse nobody yet: never the root of what is known for certain."""
SETTLE = timedelta(seconds=10)
"""Settle time of a kind that no playbook names."""


@dataclass(frozen=True, slots=True)
class Folded:
    """All open incidents after folding (some may just have been folded away: ``closed`` is set), and lines for the story.

    ``changed``: ids of incidents that differ in substance from before and must be saved.
    """

    incidents: tuple[Incident, ...]
    entries: tuple[Entry, ...]
    changed: frozenset[str]


def fold(incidents: Sequence[Incident], findings: Iterable[Finding], fleet: Fleet, book: Book, now: datetime) -> Folded:
    """Give the open incidents of one cluster for the findings as they stand now.

    ``findings``: the present state of every finding of the cluster, from the broker and from alerts. A finding of an
    incident that is no longer among them becomes unknown (absence is never resolution).
    """
    present = {finding.id: finding for finding in findings}
    found = [_refreshed(incident, present) for incident in incidents if incident.open]
    told = {finding.id for incident in found for finding in incident.findings}
    entries: list[Entry] = []
    new = sorted((f for f in present.values() if f.state is State.FIRING and f.id not in told), key=_order)
    near, names = Near(fleet, found if new else ()), {incident.id for incident in found}
    for finding in new:
        home = _home(found, near.places(finding), finding, fleet, book)
        if home is None:
            home = len(found)
            found.append(_opened(finding, names, fleet, book, now))
            names.add(found[home].id)
        else:
            found[home] = replace(found[home], findings=(*found[home].findings, finding))
        found[home] = _rooted(found[home], fleet, book)
        near.note(home, found[home])
        entries.append(_seen(found[home], finding, now))
    merged = _merged(found, fleet, book, now)
    rooted = [_rooted(incident, fleet, book) if incident.open else incident for incident in merged]
    before = {incident.id: incident for incident in incidents}
    changed = [i for i in rooted if _substance(i) != (_substance(before[i.id]) if i.id in before else None)]
    entries += [_told_elsewhere(i, now) for i in changed if i.how is How.FOLDED]
    entries += [_located(i, fleet, now) for i in changed if i.open and _moved(before.get(i.id), i)]
    return Folded(tuple(rooted), tuple(entries), frozenset(i.id for i in changed))


def _refreshed(incident: Incident, present: Mapping[str, Finding]) -> Incident:
    def now_of(finding: Finding) -> Finding:
        return present.get(finding.id) or replace(finding, state=State.UNKNOWN)

    return replace(incident, findings=tuple(now_of(finding) for finding in incident.findings))


def rank(finding: Finding) -> int:
    """Give how well a finding names a cause: hardware 0, symptoms 1, lost sight and mere suspicion 2."""
    if finding.kind in BLINDNESS | SUSPICIONS:
        return 2
    return 1 if finding.kind in SYMPTOMS or isinstance(finding.part, GangId | SliceId) else 0


def _order(finding: Finding) -> tuple[int, datetime, str]:
    return (rank(finding), finding.since, finding.id)


def frozen(incident: Incident) -> bool:
    """Whether a run acts on its root, so that the root must not change."""
    return bool(incident.run) and incident.phase is not Phase.HANDED_OVER


class Near:
    """Finds the few incidents that may share a finding's cause: all that `same_cause` compares them by, as keys.

    Without it each of a thousand findings is compared with each of a thousand incidents, for seconds.
    """

    def __init__(self, fleet: Fleet, incidents: Sequence[Incident]) -> None:
        """Take in the incidents; their places are as in the sequence."""
        self._fleet = fleet
        self._places: dict[PartId, set[int]] = {}
        self._keys: dict[int, frozenset[PartId]] = {}
        for place, incident in enumerate(incidents):
            self.note(place, incident)

    def note(self, place: int, incident: Incident) -> None:
        """Take in an incident, or that its root or gang is another now."""
        for key in self._keys.pop(place, ()):
            self._places[key].discard(place)
        gang = () if incident.gang is None else (incident.gang,)
        self._keys[place] = keys = frozenset((*self._parts(incident.root), *gang))
        for key in keys:
            self._places.setdefault(key, set()).add(place)

    def places(self, finding: Finding) -> list[int]:
        """Give the places of the incidents that may share its cause, in order."""
        gang = gang_of(self._fleet, finding)
        keys = (*self._parts(finding), *(() if gang is None else (gang,)))
        return sorted(set[int]().union(*(self._places.get(key, ()) for key in keys)))

    def _parts(self, finding: Finding) -> set[PartId]:
        """Give the part, what it says it explains, and the hosts and cubes that it lies on: whatever overlaps shares one."""
        part = finding.part
        cubes = self._fleet.cubes_of(part) if isinstance(part, HostId | ChipId | LinkId) else ()
        return {part, *finding.also, *hosts_of(part), *cubes}


def _home(found: Sequence[Incident], near: Sequence[int], finding: Finding, fleet: Fleet, book: Book) -> int | None:
    """Give the place of the incident that shares the finding's cause: the best root first, then the oldest."""
    places = [place for place in near if found[place].open and same_cause(found[place], finding, fleet, book)]
    return min(places, key=lambda place: (*_order(found[place].root), found[place].opened), default=None)


def same_cause(incident: Incident, finding: Finding, fleet: Fleet, book: Book) -> bool:
    """Whether a finding belongs to an incident."""
    root = incident.root
    if overlap(fleet, root.part, finding.part) or finding.part in root.also or root.part in finding.also:
        return True
    gang = gang_of(fleet, finding)
    if gang is None or gang != incident.gang or incident.phase is Phase.REPAIRING:
        return False
    if rank(finding) == 1 or finding.kind in _absorbed(root, book):
        return True
    return rank(root) == 1 and rank(finding) == 0 and not frozen(incident)


def _absorbed(root: Finding, book: Book) -> frozenset[Kind]:
    return frozenset(kind for playbook in book.for_kind(root.kind) for kind in playbook.spec.correlate.absorb)


def _opened(finding: Finding, taken: Container[str], fleet: Fleet, book: Book, now: datetime) -> Incident:
    cause = f"{finding.kind}|{finding.part}|{now.isoformat()}"
    name = f"inc-{hashlib.sha256(cause.encode()).hexdigest()[:10]}"
    if name in taken:  # the same cause from two sources in one instant
        name = f"inc-{hashlib.sha256(f'{cause}|{finding.source}'.encode()).hexdigest()[:10]}"
    part = finding.part
    cluster = part.name if isinstance(part, ClusterId) else part.cluster
    return _rooted(Incident(id=name, cluster=cluster, opened=now, settles=now, findings=(finding,)), fleet, book)


def _rooted(incident: Incident, fleet: Fleet, book: Book) -> Incident:
    """Give the incident with its best root first and what follows from it; unchanged while a run acts."""
    if frozen(incident):
        return incident
    explained = {part for finding in incident.findings for part in finding.also}
    best = min(incident.findings, key=lambda f: (f.state is State.RESOLVED, f.part in explained, *_order(f)))
    findings = (best, *(f for f in incident.findings if f.id != best.id))
    settle = next((p.spec.correlate.settle for p in book.for_kind(best.kind) if p.triggered_by(best)), SETTLE)
    hurt = sufferers(fleet, findings)
    return replace(
        incident, findings=findings, settles=incident.opened + settle, gang=hurt.gang, slice=hurt.slice, domain=hurt.domain
    )


def _merged(found: Sequence[Incident], fleet: Fleet, book: Book, now: datetime) -> list[Incident]:
    """Fold younger incidents into older ones whose root now tells of theirs."""
    result = sorted(found, key=lambda i: (i.opened, i.id))
    if len(result) == 1:
        return result
    near = Near(fleet, result)
    for place, young in enumerate(result):
        if frozen(young) or not young.open or _holds(fleet, young):
            continue
        for older in near.places(young.root):
            old = result[older]
            if older < place and old.open and same_cause(old, young.root, fleet, book):
                new = tuple(f for f in young.findings if f.id not in {known.id for known in old.findings})
                result[older] = replace(old, findings=(*old.findings, *new))
                result[place] = replace(young, phase=Phase.CLOSED, how=How.FOLDED, closed=now, folded_into=old.id)
                break
    return result


def _holds(fleet: Fleet, incident: Incident) -> bool:
    """Whether hosts are out of service for it: told elsewhere, it would be closed and its marks taken off a part that is sick."""
    hosts = (fleet.hosts[host] for host in incident.domain if host in fleet.hosts)
    return any(mark.value == incident.id for host in hosts for mark in host.our_marks)


def _substance(incident: Incident) -> tuple[object, ...]:
    findings = tuple((f.id, f.state, f.severity, f.since, f.text) for f in incident.findings)
    return (findings, incident.gang, incident.slice, incident.domain, incident.settles, incident.closed)


def _moved(before: Incident | None, after: Incident) -> bool:
    return before is None or (before.root.id, before.domain, before.gang) != (after.root.id, after.domain, after.gang)


def _seen(incident: Incident, finding: Finding, now: datetime) -> Entry:
    facts = {"finding": finding.id, "kind": finding.kind.value, "part": str(finding.part), "score": finding.score}
    return Entry(now, incident.id, EntryKind.SEEN, f"{finding.kind} on {finding.part}: {finding.text}", facts)


def _located(incident: Incident, fleet: Fleet, now: datetime) -> Entry:
    cubes = ", ".join(str(cube) for cube in fleet.cubes_of(incident.part)) or "no cube"
    hurt = f"gang {incident.gang}" if incident.gang else "no gang"
    text = f"{incident.part} in {cubes}; {len(incident.domain)} hosts share its fate; {hurt} is hurt"
    facts = {"domain": [host.name for host in incident.domain], "gang": None if incident.gang is None else str(incident.gang)}
    return Entry(now, incident.id, EntryKind.LOCATED, text, facts)


def _told_elsewhere(incident: Incident, now: datetime) -> Entry:
    return Entry(now, incident.id, EntryKind.CLOSED, f"shares its cause with {incident.folded_into} and is told there")
