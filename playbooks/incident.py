"""An incident: the findings that share one cause, the gang and the slice they hurt, and where the story stands.

Made and kept up by `sliceward.playbooks.incidents.fold`; told on by `sliceward.playbooks.turn`. Frozen: each change is
a new value. `Entry` is one line of its story; the store gives it a sequence number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sliceward.detectors.finding import State
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.detectors.finding import Finding, Kind
    from sliceward.topology.ids import GangId, HostId, PartId, SliceId


class Phase(StrEnum):
    """Where an incident stands, in the words of docs/api.md."""

    OBSERVING = "observing"
    WAITING_FOR_APPROVAL = "waiting-for-approval"
    HELD = "held"
    ACTING = "acting"
    REPAIRING = "repairing"
    HANDED_OVER = "handed-over"
    CLOSED = "closed"


class How(StrEnum):
    """How an incident ended. ``FOLDED``: a later finding showed that it shares its cause with an older incident."""

    HEALED = "healed"
    HANDED_OVER = "handed-over"
    RESOLVED_ITSELF = "resolved-itself"
    ABORTED = "aborted"
    FOLDED = "folded"


class Needs(StrEnum):
    """What the incident waits for from people."""

    NOTHING = ""
    APPROVAL = "approval"
    HUMAN = "human"


class EntryKind(StrEnum):
    """What a line of the story is about."""

    SEEN = "seen"
    LOCATED = "located"
    DECIDED = "decided"
    HELD = "held"
    STEP_STARTED = "step-started"
    STEP_WAITING = "step-waiting"
    STEP_DONE = "step-done"
    STEP_FAILED = "step-failed"
    PAGED = "paged"
    CLOSED = "closed"
    APPROVED = "approved"
    ABORTED = "aborted"
    PAUSED = "paused"
    RESUMED = "resumed"
    SILENCED = "silenced"
    SILENCE_ENDED = "silence-ended"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the story. ``facts`` is JSON."""

    at: datetime
    incident: str
    kind: EntryKind
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


SEVERITIES = (Severity.CRITICAL, Severity.ERROR, Severity.WARNING, Severity.INFO)


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause and its story so far.

    ``findings``: the root (earliest hardware evidence) first; each with its present state. ``settles``: no decision before
    then, so that siblings can arrive. ``domain``: hosts that leave service together. ``needs``/``why``: what people must do.
    ``gist``: the last decision in short, to tell a new decision from a repeated one. ``tried``: playbooks whose run
    ended without healing, never begun again by themselves. ``run``: id of the present or last run. ``paged``: a page went out.
    ``silenced``: which silence holds its actions and its opening page, "" where none does.
    """

    id: str
    cluster: str
    opened: datetime
    settles: datetime
    findings: tuple[Finding, ...]
    gang: GangId | None = None
    slice: SliceId | None = None
    domain: tuple[HostId, ...] = ()
    phase: Phase = Phase.OBSERVING
    playbook: str = ""
    mode: str = ""
    needs: Needs = Needs.NOTHING
    why: str = ""
    approved_by: str = ""
    aborted_by: str = ""
    abort_reason: str = ""
    how: How | None = None
    closed: datetime | None = None
    paged: bool = False
    gist: str = ""
    tried: tuple[str, ...] = ()
    run: str = ""
    folded_into: str = ""
    silenced: str = ""

    @property
    def root(self) -> Finding:
        """The finding that names the cause."""
        return self.findings[0]

    @property
    def part(self) -> PartId:
        """The broken part."""
        return self.findings[0].part

    @property
    def kind(self) -> Kind:
        """What is wrong with it."""
        return self.findings[0].kind

    @property
    def text(self) -> str:
        """What is wrong, in a sentence."""
        return self.findings[0].text

    @property
    def severity(self) -> Severity:
        """The worst of the findings that fire, else of all."""
        firing = [f.severity for f in self.findings if f.state is State.FIRING]
        return min(firing or [f.severity for f in self.findings], key=SEVERITIES.index)

    @property
    def open(self) -> bool:
        """Whether the story goes on."""
        return self.closed is None

    @property
    def firing(self) -> tuple[Finding, ...]:
        """Findings that fire now."""
        return tuple(f for f in self.findings if f.state is State.FIRING)
