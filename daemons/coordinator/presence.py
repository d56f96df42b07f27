"""The present state of one cluster's findings and gang progress, as the broker holds it (retained).

Absent is unknown: a broker that is away, or that came back empty, ages findings to unknown, and so does a watcher that
no longer repeats them; only a message says resolved. Malformed messages are counted by reason and cost nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from sliceward.daemons import topics
from sliceward.daemons.complaints import Complaints
from sliceward.daemons.coordinator.alerts import aged
from sliceward.detectors.finding import BadFinding, Finding, from_json
from sliceward.remediations.ports import Progress
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import ClusterId, GangId, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.daemons.coordinator.settings import PaceSettings
    from sliceward.daemons.wire import Bus, Message
    from sliceward.topology.ids import PartId

log = structlog.get_logger(__name__)

WHAT_TO_DO = "Bring watcher and coordinator to one version; if they are, find who else may write there (docs/runbooks/messages-malformed.md)"
MOST_FINDINGS = 100_000
MOST_GANGS = 100_000
MOST_SECONDS = 1e9
MOST_STEPS = 1 << 53


@dataclass(frozen=True, slots=True)
class _Told:
    finding: Finding
    connection: int
    at: datetime


class Presence:
    """What the broker of one cluster tells. ``clock`` gives the wall time."""

    def __init__(self, cluster: str, bus: Bus, *, clock: Callable[[], datetime], pace: PaceSettings) -> None:
        """Begin knowing nothing. ``watcher_why``: what the watcher's status says is wrong with it, "" while nothing."""
        self.cluster = cluster
        self.counts: Counter[str] = Counter()
        self._bus, self._clock = bus, clock
        self._stale_after, self._grace = pace.findings_stale_after, pace.broker_grace
        self._told_within = pace.findings_told_within
        self._told: dict[str, _Told] = {}
        self._progress: dict[GangId, Progress] = {}
        self._connection, self._connected_at = 0, clock()
        self._watcher_heard: datetime | None = None
        self.watcher_why = ""
        self._complaints = Complaints(log)

    def notice(self) -> None:
        """Notice a new connection: what the broker kept comes again now, and what does not come is unknown.

        The wire counts its connections before the first message of each, so that a message never counts for the one before.
        """
        if self._bus.counts["connected"] != self._connection:
            self._connection = self._bus.counts["connected"]
            self._connected_at = self._clock()

    @property
    def settled(self) -> bool:
        """Whether what is known can be decided on: retained messages had time to come, or the broker is away for long."""
        self.notice()
        waited = self._clock() - self._connected_at
        return waited >= (self._grace if self._bus.connected else self._stale_after)

    @property
    def watcher_age(self) -> timedelta | None:
        """Time since the watcher last spoke; None: never."""
        return None if self._watcher_heard is None else max(timedelta(0), self._clock() - self._watcher_heard)

    @property
    def progress(self) -> Mapping[GangId, Progress]:
        """Progress of each gang as last published."""
        return self._progress

    def findings(self) -> dict[str, Finding]:
        """Give every finding that was ever told and not cleared, by id, with its state as far as it is known now."""
        self.notice()
        lost = not self._bus.connected and self._bus.age > self._stale_after.total_seconds()
        empty = self._bus.connected and self.settled
        now = self._clock()
        return {
            key: aged(told.finding)
            if lost or (empty and told.connection < self._connection) or now - told.at > self._told_within
            else told.finding
            for key, told in self._told.items()
        }

    def take(self, message: Message) -> bool:
        """Take in one message; gives whether it changed what is known."""
        self.notice()
        address = topics.read(message.topic)
        if address is None or address.cluster != self.cluster:
            return False
        if address.thing == "findings":
            return self._take_finding(address.name, message)
        if address.thing == "gangs":
            return self._take_progress(address.name, message)
        if address.thing == "watcher":
            self._take_alive(message)
        return False

    def _take_finding(self, key: str, message: Message) -> bool:
        if not message.payload:
            return self._told.pop(key, None) is not None
        try:
            finding = from_json(message.payload)
        except BadFinding as error:
            return self._bad("finding", message.topic, str(error))
        if finding.id != key or cluster_of(finding.part) != self.cluster:
            why = f"the topic names {key} of {self.cluster}, the message {finding.id} of {finding.part}"
            return self._bad("finding", message.topic, why)
        if key not in self._told and len(self._told) >= MOST_FINDINGS:
            return self._bad("finding", message.topic, f"more than {MOST_FINDINGS} findings")
        before = self._told.get(key)
        self._told[key] = _Told(finding, self._connection, self._heard(message, finding.seen))
        return before is None or before.finding != finding

    def _take_progress(self, key: str, message: Message) -> bool:
        if not message.payload:
            gone = [gang for gang in self._progress if gang.key == key]
            for gang in gone:
                del self._progress[gang]
            return bool(gone)
        try:
            progress = read_progress(message.payload)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, Misconfigured) as error:
            return self._bad("progress", message.topic, f"{type(error).__name__}: {error}")
        if progress.gang.cluster != self.cluster:
            return self._bad("progress", message.topic, f"is of cluster {progress.gang.cluster}")
        if progress.gang.key != key:
            return self._bad(
                "progress", message.topic, f"the topic names {key}, the message {progress.gang}, which is {progress.gang.key}"
            )
        if progress.gang not in self._progress and len(self._progress) >= MOST_GANGS:
            return self._bad("progress", message.topic, f"more than {MOST_GANGS} gangs")
        self._heard(message, progress.at)
        self._progress[progress.gang] = progress
        return True

    def _take_alive(self, message: Message) -> None:
        try:
            row = json.loads(message.payload)
            gone = row.get("online") is False
            at = None if gone else datetime.fromisoformat(row["at"]).astimezone(UTC)
            late = ", ".join(map(str, row.get("loops_late") or ()))
            why = str(row.get("why") or "without a word")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            self._bad("watcher", message.topic, f"is no status of a watcher: {type(error).__name__}: {error}")
            return
        if at is not None:
            self._heard(message, at)
        self.watcher_why = (f"it is gone: {why}" if gone else f"its loops {late} are late" if late else "")[:500]

    def _heard(self, message: Message, at: datetime) -> datetime:
        """Give when this was said, and note that the watcher lived then: now, or when it was written if the broker kept it."""
        when = min(at, self._clock()) if message.retain else self._clock()
        self._watcher_heard = when if self._watcher_heard is None else max(when, self._watcher_heard)
        return when

    def _bad(self, what: str, topic: str, why: str) -> bool:
        self.counts[f"bad_{what}"] += 1
        self._complaints.tell("message refused", where=f"topic {topic}", why=f"{what}: {why}", what_to_do=WHAT_TO_DO)
        return False


def cluster_of(part: PartId) -> str:
    """Give the name of the cluster that a part is in."""
    return part.name if isinstance(part, ClusterId) else part.cluster


def read_progress(payload: bytes) -> Progress:
    """Read a progress message. Raises ValueError, TypeError, KeyError or `Misconfigured` where it is none."""
    row = json.loads(payload)
    gang = parse(row["gang"])
    if not isinstance(gang, GangId):
        raise TypeError(f"{row['gang']!r} is no gang")
    return Progress(
        gang=gang,
        at=datetime.fromisoformat(row["at"]).astimezone(UTC),
        step=_whole(row.get("step")),
        rate=_number(row.get("rate")),
        rate_before=_number(row.get("rate_before")),
        checkpoint_step=_whole(row.get("checkpoint_step")),
        checkpoint_age=_number(row.get("checkpoint_age")),
        members=_whole(row.get("members")) or 0,
    )


def _whole(told: Any) -> int | None:  # noqa: ANN401 (JSON of others)
    """Give a step or a count; None where it is not told or cannot be true. Raises ValueError or TypeError where it is no number."""
    number = None if told is None else int(told)
    return number if number is not None and 0 <= number <= MOST_STEPS else None


def _number(told: object) -> float | None:
    """Give a rate or an age; None where it is not told or cannot be true (what cannot be counted with is not known)."""
    number = None if told is None else float(told)  # type: ignore[arg-type]  # TypeError where it is no number
    return number if number is not None and 0 <= number <= MOST_SECONDS else None
