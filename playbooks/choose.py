"""Which playbook an incident is for: indexed selectors first, then conditions; the first that matches wins.

Every playbook that was looked at is recorded with why it was not chosen. A condition that cannot be evaluated stops the
search: whether that playbook applies is unknown, and going on past it would treat unknown as false.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sliceward.playbooks.decision import Candidate, Evaluated
from sliceward.playbooks.inputs import generation_of, inputs
from sliceward.playbooks.sufferers import sufferers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import Book, Playbook
    from sliceward.playbooks.world import World
    from sliceward.topology.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Choice:
    """What the search came to. ``playbook`` None: none matches, for the reason ``why``.

    ``finding``: the one that started the playbook. ``named``: some playbook names a kind of this incident.
    """

    candidates: tuple[Candidate, ...]
    playbook: Playbook | None = None
    finding: Finding | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    named: bool = False


def choose(incident: Incident, book: Book, world: World, now: datetime) -> Choice:
    """Give the first playbook, by priority and name, whose trigger, match and conditions all take the incident."""
    candidates: list[Candidate] = []
    closest = ""
    for playbook in book.playbooks:
        finding = next((f for f in incident.findings if playbook.triggered_by(f)), None)
        candidate, given = _look(playbook, finding, incident, world, now)
        candidates.append(candidate)
        if finding is not None and candidate.matched:
            return Choice(tuple(candidates), playbook, finding, given, named=True)
        if _unknown(candidate):
            return Choice(tuple(candidates), why=f"{playbook.name}: {candidate.why_not}", named=True)
        if finding is not None and not closest:
            closest = f"{playbook.name}: {candidate.why_not}"
    kinds = ", ".join(sorted({f.kind.value for f in incident.findings}))
    return Choice(tuple(candidates), why=closest or f"no playbook is for {kinds}", named=bool(closest))


def about(incident: Incident, finding: Finding, fleet: Fleet) -> Incident:
    """Give the incident as it is when ``finding`` is taken for its root: what is hurt and what leaves service follow."""
    if finding.id == incident.root.id:
        return incident
    findings = (finding, *(other for other in incident.findings if other.id != finding.id))
    hurt = sufferers(fleet, findings)
    return replace(incident, findings=findings, domain=hurt.domain, gang=hurt.gang, slice=hurt.slice)


def _unknown(candidate: Candidate) -> bool:
    values = [condition.value for condition in candidate.conditions]
    return False not in values and any(isinstance(value, str) for value in values)


def _look(
    playbook: Playbook, finding: Finding | None, incident: Incident, world: World, now: datetime
) -> tuple[Candidate, Mapping[str, Any]]:
    why = _dismissed(playbook, finding, incident, world)
    if why or finding is None:
        return _not(playbook, why), {}
    given = playbook.language.inputs(inputs(about(incident, finding, world.fleet), finding, world, now))
    conditions = tuple(condition.evaluate(given) for condition in playbook.conditions)
    broken = next((c for c in conditions if isinstance(c.value, str)), None)
    false = next((c for c in conditions if c.value is False), None)
    if false is not None:
        # One False settles it: what another condition would have said no longer matters.
        return _not(playbook, f"condition {false.name} is false", conditions), given
    if broken is not None:
        why = f"condition {broken.name} cannot be evaluated ({str(broken.value).removeprefix('error: ')})"
        return _not(playbook, why, conditions), given
    return Candidate(playbook.name, matched=True, why_not="", conditions=conditions), given


def _not(playbook: Playbook, why: str, conditions: tuple[Evaluated, ...] = ()) -> Candidate:
    return Candidate(playbook.name, matched=False, why_not=why, conditions=conditions)


def _dismissed(playbook: Playbook, finding: Finding | None, incident: Incident, world: World) -> str:
    """Give why a playbook is not even asked, "" if it is."""
    if finding is None:
        return "is for other findings"
    if playbook.name in incident.tried:
        return "was tried and did not heal it; a human must look"
    match = playbook.spec.match
    if match.clusters and incident.cluster not in match.clusters:
        return f"is not for cluster {incident.cluster}"
    generation = generation_of(world.fleet, about(incident, finding, world.fleet).domain)
    if match.generations and generation not in match.generations:
        return f"is not for generation {generation or 'unknown'}"
    return ""
