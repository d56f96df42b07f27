"""One turn of one incident: what a decision, an outcome or a person's word makes of incident, run, story and pages.

The coordinator's loop is: read -> `fold` -> `decide` -> `take` -> save -> call -> `outcome` -> save. Everything between
reading and saving is here and pure; a `Turn` is what is saved in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.incident import Entry, Incident
    from sliceward.playbooks.run import Call, Run
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.page import Page


@dataclass(frozen=True, slots=True)
class Answered:
    """The result of an operation, written beside its intent. ``text`` begins with ``done``, ``failed`` or ``waiting``."""

    operation: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What is saved in one transaction. ``decision`` is None where it only repeats the last one. ``call``: then call this.

    ``run`` None leaves the stored run as it is. ``pages`` go to the outbox. The call may be made only after the turn was
    saved (intent before act).
    """

    incident: Incident
    run: Run | None
    entries: tuple[Entry, ...] = ()
    decision: Decision | None = None
    pages: tuple[Page, ...] = ()
    call: Call | None = None
    answered: Answered | None = None


def take(incident: Incident, decision: Decision, now: datetime) -> Turn:
    """Give the turn that follows from a decision."""
    raise NotImplementedError


def outcome(incident: Incident, run: Run, answer: Outcome, now: datetime) -> Turn:
    """Give the turn that follows from an action's answer."""
    raise NotImplementedError


def approve(incident: Incident, *, by: str, reason: str, now: datetime) -> Turn:
    """Give the turn that follows from a person's yes. Raises `Refused` where nothing waits for approval."""
    raise NotImplementedError


def abort(incident: Incident, run: Run | None, *, by: str, reason: str, now: datetime) -> Turn:
    """Give the turn that follows from a person's stop; the next decision takes back what can be taken back."""
    raise NotImplementedError
