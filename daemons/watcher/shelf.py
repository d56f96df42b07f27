"""The shelf: every finding of the cluster as it was last told, and what must be told now.

In: the findings of a round. Out: messages to publish, retained. Told again on each connection (an empty broker fills again),
when something changed, and at least every ``refresh``; resolved findings are told as such and cleared a day later. After a
start what the broker still holds of our own is put here first, so that ``since`` and unknown survive a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.daemons import topics
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import BadFinding, Finding, State, from_json, to_json
from sliceward.topology.ids import ClusterId

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from sliceward.topology.ids import PartId

OURS = "watcher"


@dataclass(slots=True)
class Told:
    """A finding with the time and form in which the broker confirmed it; None: not yet, or not on this connection."""

    finding: Finding
    at: datetime | None = None
    form: Finding | None = None


@dataclass
class Shelf:
    """All findings of one cluster by id. ``bad``: retained messages of ours that could not be read, id -> why."""

    cluster: str
    refresh: timedelta
    keep_resolved: timedelta
    told: dict[str, Told] = field(default_factory=dict)
    cleared: set[str] = field(default_factory=set)
    bad: dict[str, str] = field(default_factory=dict)

    @property
    def findings(self) -> list[Finding]:
        """Every finding that is not cleared."""
        return [told.finding for told in self.told.values()]

    def recall(self, key: str, payload: bytes) -> None:
        """Take in what the broker kept from before the start; what is known already is newer."""
        if not payload or key in self.told:
            return
        try:
            finding = from_json(payload)
        except BadFinding as error:
            self.bad[key] = str(error)
            return
        if finding.source == OURS and finding.id == key and _cluster_of(finding.part) == self.cluster:
            self.told[key] = Told(finding)

    def take(self, findings: Iterable[Finding], now: datetime) -> None:
        """Put the findings of a round; those that were resolved long enough leave."""
        for finding in findings:
            known = self.told.setdefault(finding.id, Told(finding))
            known.finding = finding
            if finding.state is State.RESOLVED and now - finding.seen >= self.keep_resolved:
                del self.told[finding.id]
                self.cleared.add(finding.id)
            else:
                self.cleared.discard(finding.id)

    def not_after(self, now: datetime) -> None:
        """Let nothing have been seen later than now: a clock that was ahead and was set right must not keep a finding alive."""
        for told in self.told.values():
            if told.finding.seen > now:
                told.finding = replace(told.finding, seen=now, since=min(told.finding.since, now))

    def forget_telling(self) -> None:
        """Act as if nothing had been told: the broker may have come back empty."""
        for told in self.told.values():
            told.at = told.form = None

    def due(self, now: datetime) -> list[tuple[str, Message]]:
        """Give the messages to publish now with the id that each is about, changes first, then the clearings."""
        tell = [told for told in self.told.values() if told.at is None or _differs(told) or now - told.at >= self.refresh]
        tell.sort(key=lambda told: (told.form is not None and not _differs(told), told.finding.id))
        messages = [(told.finding.id, self._message(told.finding.id, to_json(told.finding))) for told in tell]
        return messages + [(key, self._message(key, b"")) for key in sorted(self.cleared)]

    def confirmed(self, key: str, message: Message, now: datetime) -> None:
        """Note that the broker has a message."""
        if not message.payload:
            self.cleared.discard(key)
        elif key in self.told:
            told = self.told[key]
            told.at, told.form = now, told.finding

    def _message(self, key: str, payload: bytes) -> Message:
        return Message(topics.finding(self.cluster, key), payload, retain=True, qos=1)


def _differs(told: Told) -> bool:
    """Whether a finding says something else than when it was told; its numbers and ``seen`` move on all the time."""
    if told.form is None:
        return True
    same = replace(told.finding, seen=told.form.seen, evidence=told.form.evidence, text=told.form.text, picture=told.form.picture)
    return same != told.form


def _cluster_of(part: PartId) -> str:
    return part.name if isinstance(part, ClusterId) else part.cluster
