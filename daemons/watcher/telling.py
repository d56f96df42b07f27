"""From parts that stand accused to what is told of them: findings with who suffers, what became of those told before, and pictures.

Done beside the loop. Pictures are drawn for what is told alone, a few a round, the one that was drawn longest ago first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Finding, Kind, State
from sliceward.detectors.passes import told
from sliceward.detectors.passes.evidence import WARM
from sliceward.detectors.passes.lessons import LEARNED
from sliceward.detectors.passes.verdicts import QUIET
from sliceward.topology.ids import ChipId, HostId, LinkId, SwitchId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sliceward.daemons.watcher.sight import Sight
    from sliceward.detectors.finding import Picture
    from sliceward.detectors.passes.evidence import Evidence
    from sliceward.detectors.passes.fleet import Places
    from sliceward.detectors.passes.localise import Key
    from sliceward.detectors.passes.told import Case
    from sliceward.detectors.passes.watch import Watch
    from sliceward.topology.ids import PartId

DRAWN_EVERY, MOST_DRAWN = 3, 24
"""Ticks between two drawings of one picture, and pictures a round."""
PICTURE_ROWS = 60
MOST_ASKED = 64
"""Members of a part that are asked whether they stand apart."""
OFTEN = 2.0
"""Times its peers' errors that are more than theirs."""


@dataclass(eq=False)
class Telling:
    """What is told of one cluster. ``over``: why a part stands accused no more, by its name; ``pictures``: by part, those drawn last at the end."""

    cluster: str
    over: dict[str, str] = field(default_factory=dict)
    pictures: dict[Key, Picture | None] = field(default_factory=dict)

    def findings(self, cases: Mapping[Key, Case], watch: Watch, places: Places, sight: Sight) -> Iterator[Finding]:
        """Give every finding of ours as it stands: those of parts that stand accused, and those known before."""
        known = {finding.id: finding for finding in sight.previous if finding.detector == told.DETECTOR}
        now, fresh = datetime.fromtimestamp(sight.now, UTC), set[str]()
        self._draw(cases, watch, places, sight)
        for case in cases.values():
            finding = told.finding_of(case, watch, places, now, self.pictures.get(case.key))
            finding = self._as_before(finding, known.get(finding.id), case.key, places, sight)
            if not watch.warm:
                finding = replace(finding, state=State.UNKNOWN)
            fresh.add(finding.id)
            yield finding
        accused = {case.part: case for case in cases.values()}
        for finding in known.values():
            if finding.id not in fresh and finding.state is not State.RESOLVED:
                yield self._not_accused(finding, accused, watch, places, now)
        self.over.clear()

    def _as_before(self, finding: Finding, before: Finding | None, key: Key, places: Places, sight: Sight) -> Finding:
        hosts = [HostId(self.cluster, places.hosts[number]) for number in sorted(places.hosts_of(*key))]
        finding = _with_sufferers(finding, hosts, sight)
        if before is not None and before.state is not State.RESOLVED:
            finding = replace(
                finding, since=before.since, gang=finding.gang or before.gang, slice=finding.slice or before.slice
            )  # fmt: skip
        if hosts and all(sight.silent(host.name) for host in hosts):
            finding = replace(finding, state=State.UNKNOWN, seen=before.seen if before is not None else finding.seen)
        return finding

    def _not_accused(
        self, finding: Finding, accused: Mapping[PartId, Case], watch: Watch, places: Places, now: datetime
    ) -> Finding:
        case = accused.get(finding.part)
        if case is not None:
            level = "condemned" if finding.kind is Kind.PART_SUSPECT else "a suspect"
            return told.resolved(finding, now, f"it is {level} by now")
        why = self.over.get(str(finding.part))
        if why is not None:
            return told.resolved(finding, now, why)
        key = places.label(str(finding.part))
        if key is None:
            gone = watch.warm and not _may_be_there(finding.part, places)
            return (
                told.resolved(finding, now, f"{finding.part} no longer exists") if gone else replace(finding, state=State.UNKNOWN)
            )
        signal = finding.labels.get("signal", "")
        if (
            watch.tick <= WARM + QUIET
            or _stands_out(watch, key, signal)
            or (signal.startswith(LEARNED) and not _learnt(watch, key))
        ):
            # Nothing is known yet, or it was odd when baselines were learnt, and is what they know as its own.
            return replace(finding, state=State.UNKNOWN)
        return told.resolved(finding, now, "its readings are its peers', as far as is known since baselines were learnt anew")

    def _draw(self, cases: Mapping[Key, Case], watch: Watch, places: Places, sight: Sight) -> None:
        self.pictures = {key: one for key, one in self.pictures.items() if key in cases}
        due = [key for key in cases if key not in self.pictures]
        due += list(self.pictures) if watch.tick % DRAWN_EVERY == 0 else []
        for key in due[:MOST_DRAWN]:
            self.pictures.pop(key, None)  # the one that was drawn last comes last
            self.pictures[key] = told.picture_of(cases[key], watch, places, sight.ring, rows=PICTURE_ROWS)


def unknown(sight: Sight) -> Iterator[Finding]:
    """Give those that are known as what they are while nothing can be said."""
    ours = (one for one in sight.previous if one.detector == told.DETECTOR)
    yield from (replace(one, state=State.UNKNOWN) for one in ours if one.state is State.FIRING)


def _may_be_there(part: PartId, places: Places) -> bool:
    """Whether a part may still be there that nothing is read of: a link between cubes that no slice joins at the moment."""
    match part:
        case LinkId():
            return all(end.host in places.number_of for end in part.ends)
        case ChipId():
            return part.host in places.number_of
        case _:
            return isinstance(part, SwitchId)


def _stands_out(watch: Watch, key: Key, signal: str) -> bool:
    """Whether a part, or half of its members, stands apart from its peers by what it was accused of."""
    for evidence in watch.crowds.values():
        members = evidence.members(key)[:MOST_ASKED]
        if len(members) and any(one.called == signal for one in evidence.signals):
            row = evidence.row(signal)
            apart = [
                evidence.outstanding(signal, members[n : n + 1])
                if row < evidence.gauges
                else _errs(evidence, row - evidence.gauges, int(one))
                for n, one in enumerate(members)
            ]
            return sum(apart) >= len(members) / 2
    return False


def _learnt(watch: Watch, key: Key) -> bool:
    """Whether the learned pass knows by now what is usual of such parts."""
    model = watch.models.get(key[0])
    return model is not None and bool(model.models)


def _errs(evidence: Evidence, row: int, member: int) -> bool:
    """Whether a counter of a member rose more often than its peers' since it is known."""
    rates, mine = evidence.rates, evidence.crowd.role == evidence.crowd.role[member]
    usual = rates.events[row, mine].sum() / max(1.0, float(rates.ticks[row, mine].sum()))
    return bool(rates.events[row, member] > OFTEN * usual * rates.ticks[row, member])


def _with_sufferers(finding: Finding, hosts: list[HostId], sight: Sight) -> Finding:
    """Say who suffers, and which machine showed it."""
    fleet = sight.fleet
    gang = next((gang for host in hosts for gang in fleet.gangs_on.get(host, ())), None)
    on = set(hosts)
    cubes = [fleet.hosts[host].cube for host in hosts if host in fleet.hosts]
    slices = (
        one for cube in cubes if cube is not None for one in fleet.slices_in.get(cube, ()) if on & set(fleet.slices[one].hosts)
    )
    instance, boot = sight.machine(hosts[0]) if isinstance(finding.part, HostId | ChipId) and hosts else ("", "")
    return replace(finding, gang=gang, slice=next(slices, None), instance_id=instance, boot_id=boot)
