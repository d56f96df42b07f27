"""One round of detection: panel, rules and fleet in, the findings of the cluster out.

Pure: what was found before is an argument, the same for the same input. A finding fires while its rule does and for
``clear_for`` after; it is unknown while its part cannot be seen; it is resolved when its part is seen and shows nothing,
is another machine by now, or is explained by a larger part. Absence is never resolution.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from sliceward.detectors.clauses import evidence, judge
from sliceward.detectors.finding import Evidence, Finding, Kind, State
from sliceward.detectors.localise import Located, Suspect, hosts_of, locate
from sliceward.detectors.look import NO, UNKNOWN, YES, Look
from sliceward.detectors.metrics import EntityKind
from sliceward.detectors.rules.schema import Threshold
from sliceward.detectors.traps.catalog import TRAPS
from sliceward.topology.gangs import GangState
from sliceward.topology.ids import ChipId, CubeId, GangId, HostId, LinkId, SliceId
from sliceward.topology.links import port_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sliceward.detectors.look import Verdicts
    from sliceward.detectors.panel import Known, Panel
    from sliceward.detectors.rules import Rule
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import PartId

NO_TIME = timedelta()


@dataclass(frozen=True)
class Round:
    """What one round knows. ``verdicts``: by rule name, over all entities of its kind.

    ``excused``: what is not said of a part, by the kind of what is said instead.
    """

    panel: Panel
    fleet: Fleet
    look: Look
    rules: Mapping[str, Rule]
    verdicts: Mapping[str, Verdicts]
    now: datetime
    excused: Mapping[tuple[Kind, PartId], Kind] = field(default_factory=dict)


def evaluate(
    panel: Panel, rules: Sequence[Rule], fleet: Fleet, *, grace: timedelta, previous: Iterable[Finding]
) -> tuple[Finding, ...]:
    """Give every finding of the cluster as it stands at the panel's present: those that fire and those known before."""
    look = Look.at(panel, grace=grace.total_seconds(), fleet=fleet)
    now = datetime.fromtimestamp(panel.now, UTC)
    known = {finding.id: finding for finding in previous}
    look = replace(look, told=_told(Round(panel, fleet, look, {}, {}, now), rules, known.values()))
    verdicts = {rule.name: judge(look, rule) for rule in rules}
    for rule in rules:
        for better in rule.yields_to:
            if verdicts[better].shape == verdicts[rule.name].shape:
                verdicts[rule.name] = np.where(verdicts[better] == YES, NO, verdicts[rule.name]).astype(np.int8)
    this = Round(panel, fleet, look, {rule.name: rule for rule in rules}, verdicts, now)
    firing = {finding.id: finding for finding in (_fired(this, one, known) for one in locate(fleet, _suspects(this)))}
    firing |= {finding.id: finding for finding in _trapped(this, known)}
    this = replace(this, excused=_excused(this, firing.values()))
    firing = {key: finding for key, finding in firing.items() if (finding.kind, finding.part) not in this.excused}
    causes: dict[PartId, list[Finding]] = defaultdict(list)
    for finding in firing.values():
        for part in finding.also:
            causes[part].append(finding)
    rest = (_not_firing(this, finding, causes) for key, finding in known.items() if key not in firing)
    return tuple(sorted((*firing.values(), *rest), key=lambda finding: finding.id))


def _excused(this: Round, firing: Iterable[Finding]) -> dict[tuple[Kind, PartId], Kind]:
    """Give what is not said of a part since a better finding of the very part says it: one that a rule yields to, or a trap that knows the cause."""
    found: dict[tuple[Kind, PartId], Kind] = {}
    yields = [(rule.kind, rule.yields_to) for rule in this.rules.values() if rule.lift and rule.yields_to]
    for finding in firing:
        if finding.state is State.FIRING:
            instead = TRAPS[finding.detector].instead_of if finding.detector in TRAPS else frozenset()
            worse = (*instead, *(kind for kind, better in yields if finding.detector in better))
            found |= {(kind, finding.part): finding.kind for kind in worse if kind is not finding.kind}
    return found


def _told(this: Round, rules: Sequence[Rule], known: Iterable[Finding]) -> dict[str, NDArray[np.bool_]]:
    """Give by rule with a limit to clear the entities of which it was told, in the shape of a row, unless another boot showed it."""
    clearing = {
        rule.name: rule
        for rule in rules
        if any(isinstance(one, Threshold) and one.clear is not None for one in rule.when.conditions())
    }
    told: dict[str, NDArray[np.bool_]] = {}
    for finding in known:
        rule = clearing.get(finding.detector)
        if rule is None or finding.state is State.RESOLVED:
            continue
        _, boot = _incarnation(this, finding.part)
        if not (finding.boot_id and boot and boot != finding.boot_id):
            there = told.setdefault(rule.name, np.zeros(this.panel.ring.entities(rule.entity), dtype=bool))
            there.reshape(-1)[_entities(this, rule, finding.part)] = True
    return told


def _suspects(this: Round) -> Iterable[Suspect]:
    for name, verdicts in this.verdicts.items():
        rule = this.rules[name]
        for entity in np.flatnonzero(verdicts == YES):
            yield _suspect(this, rule, int(entity))


def _suspect(this: Round, rule: Rule, entity: int) -> Suspect:
    host, chip, port = this.panel.entity(rule.entity, entity)
    numbers = tuple(evidence(this.look, rule, entity))
    note = ""
    if rule.note:
        known = this.panel.known(host.name)
        note = _identity_note(this, known) if rule.note == "identity" else _note(known, rule.note.format(chip=chip))
    part = host if rule.entity is EntityKind.HOST else ChipId(host.cluster, host.name, chip)
    return Suspect(rule, part, numbers, note, port if rule.entity is EntityKind.LINK else None)


def _note(known: Known | None, key: str) -> str:
    return known.notes.get(key, "no details") if known is not None else "no details"


def _identity_note(this: Round, known: Known | None) -> str:
    if known is None or known.speaker is None:
        return "nobody speaks for this host, and no label tells its index"
    if known.twins(this.panel.now):
        voices = known.voices(this.panel.now)
        named = " and ".join(f"instance {instance or '?'} boot {boot or '?'}" for _, instance, boot in voices)
        return f"{len(voices)} agents speak for this host: {named}"
    missing = [name for name, there in _identity(this.fleet, HostId(this.panel.cluster, known.name), known) if not there]
    return f"frames come without {', '.join(missing)}" if missing else "identity is incomplete"


def _identity(fleet: Fleet, host: HostId, known: Known) -> tuple[tuple[str, bool], ...]:
    shown = fleet.hosts.get(host)
    indexed = known.index is not None or (shown is not None and shown.index is not None)
    return ("instance id", bool(known.instance_id)), ("boot id", bool(known.boot_id)), ("index", indexed)


def identity_is_missing(fleet: Fleet, host: HostId, known: Known) -> bool:
    """Whether the host speaks without saying who and where it is, or is silent and nothing else tells its index."""
    told = dict(_identity(fleet, host, known))
    return not (all(told.values()) if known.speaker is not None else told["index"] or host not in fleet.hosts)


def _fired(this: Round, one: Located, known: Mapping[str, Finding]) -> Finding:
    rule = one.rule
    instance, boot = _incarnation(this, one.part)
    gang, slice_ = _sufferers(this.fleet, one.part)
    fresh = Finding(
        rule.kind, one.part, State.FIRING, rule.severity, this.now, this.now, one.score, rule.name, rule.version,
        _says(rule, one), one.evidence, one.also, gang, slice_, instance, boot, one.labels,
    )  # fmt: skip
    before = known.get(fresh.id)
    if before is None or before.state is State.RESOLVED:
        return fresh
    # A gang that was moved away because of this fault no longer suffers, but it stays in the story while the fault lasts.
    return replace(fresh, since=before.since, gang=gang or before.gang, slice=slice_ or before.slice)


def _says(rule: Rule, one: Located) -> str:
    first = one.evidence[0] if one.evidence else Evidence("", 0.0, 0.0, "", datetime.fromtimestamp(0, UTC), "")
    text = rule.says.format(metric=first.metric, value=first.value, limit=first.limit, unit=first.unit, note=one.note)
    if "port" in one.labels:
        return f"{text} (port {one.labels['port']}; its other end is not known)"
    if one.also and rule.part == "link":
        return f"{text}; {len(one.also)} links of one {'host' if isinstance(one.part, HostId) else 'chip'}"
    if one.also and rule.kind is Kind.TELEMETRY_LOST:
        return f"{len(one.also)} hosts fell silent at once, the first {first.value:.0f} s ago: the network or the broker; their health is unknown"
    if rule.kind is Kind.COLLECTIVE_STUCK:
        return f"{text}: the job, not the hardware"
    return text


def _incarnation(this: Round, part: PartId) -> tuple[str, str]:
    if not isinstance(part, HostId | ChipId):
        return "", ""
    host = part if isinstance(part, HostId) else part.host_id
    known, shown = this.panel.known(host.name), this.fleet.hosts.get(host)
    instance = (known.instance_id if known else "") or (shown.instance_id if shown else "")
    return instance, (known.boot_id if known else "") or (shown.boot_id if shown else "")


def _sufferers(fleet: Fleet, part: PartId) -> tuple[GangId | None, SliceId | None]:
    hosts = hosts_of(fleet, part)
    gang = part if isinstance(part, GangId) else next((g for h in hosts for g in fleet.gangs_on.get(h, ())), None)
    if isinstance(part, SliceId):
        return gang, part
    cubes = [fleet.hosts[h].cube for h in hosts if h in fleet.hosts]
    slices = (
        s for cube in cubes if cube is not None for s in fleet.slices_in.get(cube, ()) if set(hosts) & set(fleet.slices[s].hosts)
    )
    return gang, next(slices, None)


def _trapped(this: Round, known: Mapping[str, Finding]) -> Iterable[Finding]:
    for trap in TRAPS.values():
        for one in trap.find(this.panel, this.fleet):
            gang, slice_ = _sufferers(this.fleet, one.part)
            instance, boot = _incarnation(this, one.part)
            fresh = Finding(
                trap.kind, one.part, State.FIRING, trap.severity, this.now, this.now, trap.score, trap.name, trap.version,
                one.text, one.evidence, (), gang, slice_, instance, boot,
            )  # fmt: skip
            before = known.get(fresh.id)
            lived = before is not None and before.state is not State.RESOLVED
            if not one.seen:
                if before is not None and lived and before.detector == trap.name:
                    yield replace(before, state=State.UNKNOWN)
            else:
                yield replace(fresh, since=before.since) if before is not None and lived else fresh


def _not_firing(this: Round, finding: Finding, causes: Mapping[PartId, Sequence[Finding]]) -> Finding:
    """Judge a finding of before that does not fire now."""
    over = _over(this, finding, causes)
    if finding.state is State.RESOLVED or over is not None:
        return finding if over is None else _resolved(this, finding, over)
    rule = this.rules.get(finding.detector)
    seen = UNKNOWN if rule is None else _verdict_on(this, rule, finding.part)
    if rule is None or seen == UNKNOWN:
        return replace(finding, state=State.UNKNOWN)
    if seen == YES or this.now - finding.seen < _clear_for(this, rule, finding):
        # Still within its hysteresis, or shown by a member of a larger part that is not the whole of it any more.
        return replace(finding, state=State.FIRING)
    return _resolved(this, finding, finding.text)


def _over(this: Round, finding: Finding, causes: Mapping[PartId, Sequence[Finding]]) -> str | None:
    """Give why a finding is over whatever its rule says, None where it is not."""
    if finding.state is State.RESOLVED:
        return None
    cause = next((cause for cause in causes.get(finding.part, ()) if _explains(this, cause, finding)), None)
    told = this.excused.get((finding.kind, finding.part)) if cause is None else cause.kind
    if told is not None:
        return f"explained by {told} of {finding.part if cause is None else cause.part}"
    if this.fleet.hosts and not _exists(this.fleet, finding.part):
        return f"{finding.part} no longer exists"
    if isinstance(finding.part, GangId) and this.fleet.hosts and this.fleet.gangs[finding.part].state in _ENDED:
        return f"{finding.part} has ended"
    if finding.kind is Kind.TELEMETRY_LOST and isinstance(finding.part, SliceId | CubeId):
        rule = this.rules.get(finding.detector)
        known = rule is not None and _verdict_on(this, rule, finding.part) != UNKNOWN
        return "not half of its hosts are silent any more: each speaks for itself" if known else None
    return finding.text if finding.detector in TRAPS else None


def _explains(this: Round, cause: Finding, finding: Finding) -> bool:
    """Whether a finding that lists the part of another shows the same fault, as `localise` joins them.

    The same rule, links that are sick or down, or a lost host or chip under what ends there; never what nobody sees now.
    """
    rule, by = this.rules.get(finding.detector), this.rules.get(cause.detector)
    if rule is None or by is None or _verdict_on(this, rule, finding.part) == UNKNOWN:
        return False
    if cause.kind is Kind.HOST_LOST:
        return rule.hardware
    return rule.name == by.name or (rule.part == "link" and (by.part == "link" or cause.kind is Kind.CHIP_LOST))


_ENDED = frozenset({GangState.FINISHED, GangState.FAILED})


def _exists(fleet: Fleet, part: PartId) -> bool:
    """Whether the fleet still shows a part; chips and links live and die with their hosts."""
    if isinstance(part, ChipId | LinkId):
        return all(host in fleet.hosts for host in hosts_of(fleet, part))
    groups: tuple[tuple[type, Mapping[Any, Any]], ...] = (
        (HostId, fleet.hosts), (GangId, fleet.gangs), (SliceId, fleet.slices), (CubeId, fleet.cubes),
    )  # fmt: skip
    return all(part in group for kind, group in groups if isinstance(part, kind))


def _resolved(this: Round, finding: Finding, text: str) -> Finding:
    return replace(finding, state=State.RESOLVED, seen=this.now, text=text)


def _clear_for(this: Round, rule: Rule, finding: Finding) -> timedelta:
    _, boot = _incarnation(this, finding.part)
    if finding.boot_id and boot and boot != finding.boot_id:
        return NO_TIME  # the machine was restarted or replaced since: what the former one showed says nothing of this one
    hosts = [this.panel.slots[h.name] for h in hosts_of(this.fleet, finding.part) if h.name in this.panel.slots]
    period = max((float(this.look.periods[slot]) for slot in hosts), default=this.panel.size.period)
    return timedelta(seconds=rule.clear_for.at(period, this.look.grace))


def _verdict_on(this: Round, rule: Rule, part: PartId) -> np.int8:
    """Give what the rule says of a part: the worst of its entities; unknown where none of them is seen."""
    entities = _entities(this, rule, part)
    if not entities:
        return UNKNOWN
    verdicts = this.verdicts[rule.name][entities]
    there = this.look.exists(rule.entity).ravel()[entities]
    if not there.any():
        return UNKNOWN  # not heard of since the start: absence says nothing
    verdicts = verdicts[there]
    if isinstance(part, LinkId):
        # One end that sees the link well is enough to know of it; both ends silent is unknown.
        known = verdicts[verdicts != UNKNOWN]
        return np.int8(known.max()) if len(known) else UNKNOWN
    return np.int8(verdicts.max())


def _entities(this: Round, rule: Rule, part: PartId) -> list[int]:
    ring, slots = this.panel.ring, this.panel.slots
    if isinstance(part, LinkId):
        ends = [(end, port_at(this.fleet, end, part)) for end in part.ends]
        return [
            (slots[end.host] * ring.chips + end.index) * ring.ports + port
            for end, port in ends
            if port is not None and port < ring.ports and end.index < ring.chips and end.host in slots
        ]
    per_host = int(np.prod(ring.entities(rule.entity)[1:], dtype=int))
    found: list[int] = []
    for host in hosts_of(this.fleet, part):
        if host.name in slots:
            first, count = slots[host.name] * per_host, per_host
            if isinstance(part, ChipId) and rule.entity is not EntityKind.HOST:
                count = per_host // ring.chips
                first += part.index * count
            found.extend(range(first, first + count))
    return found
