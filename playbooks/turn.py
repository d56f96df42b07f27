"""One turn of one incident: what a decision, an outcome or a person's word makes of incident, run, story and pages.

The coordinator's loop is: read -> `outcome` -> `fold` -> `decide` -> `take` -> save -> call. Everything between reading and saving
is here and pure; a `Turn` is never saved in part, and those of one look are one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from sliceward.playbooks import pages
from sliceward.playbooks.advance import advance, begun, withdrawn
from sliceward.playbooks.decision import Close, Hold, RunStep
from sliceward.playbooks.incident import Entry, EntryKind, How, Needs, Phase
from sliceward.playbooks.run import Ending, StepState
from sliceward.playbooks.schema import Mode
from sliceward.remediations.outcome import Done, Failed, Wait
from sliceward.topology.errors import Refused
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.incidents import Folded
    from sliceward.playbooks.run import Call, Run
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.page import Page


@dataclass(frozen=True, slots=True)
class Answered:
    """The result of an operation, written beside its intent. ``text`` begins with ``done``, ``failed``, ``waiting`` or ``withdrawn``."""

    operation: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What is saved as a whole or not at all, with others or by itself. ``decision`` is None where it only repeats the last one. ``call``: then call this.

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


HELD_LONG = timedelta(minutes=2)
"""An incident that is held this long after it settled is paged, whoever holds it."""


def take(incident: Incident, decision: Decision, now: datetime) -> Turn:
    """Give the turn that follows from a decision."""
    verdict, run = decision.verdict, decision.run
    after = replace(_with_run_ended(incident, run), silenced=decision.silenced)
    match verdict:
        case Hold(between=True):
            return Turn(after, run, decision.entries)
        case RunStep(call=call):
            if run is None:
                return Turn(after, None, decision.entries)
            return _stepped(after, decision, run, call, now)
        case Hold():
            turn = _held(after, decision, verdict)
        case Close(how=how, why=why):
            closed = replace(after, how=how, closed=now, phase=Phase.CLOSED, needs=Needs.NOTHING, why=why)
            entry = Entry(now, incident.id, EntryKind.CLOSED, f"{how}: {why}", {"how": how.value})
            turn = Turn(closed, run, (*decision.entries, entry))
        case _:
            assert_never(verdict)
    return _paged(_recorded(turn, incident, decision), incident, decision, now)


def outcome(incident: Incident, run: Run, answer: Outcome, now: datetime) -> Turn:
    """Give the turn that follows from an action's answer."""
    moved = advance(run, answer, now)
    match answer:
        case Done(text=text):
            said = f"done: {text}"
        case Wait(why=why):
            said = f"waiting: {why}"
        case Failed(why=why):
            said = f"failed: {why}"
        case _:
            assert_never(answer)
    after = _with_run_ended(incident, moved.run)
    turn = Turn(after, moved.run, moved.entries, answered=Answered(run.operation, said))
    return _failing(turn, incident, moved.run, now)


def withdraw(incident: Incident, run: Run, now: datetime) -> Turn:
    """Give the turn that takes an intent back whose action was not called, because the present changed after saving.

    Of an earlier try nobody says here what came of it, nor that there was none.
    """
    moved = withdrawn(run, now)
    step = moved.run.current
    never = step is not None and step.attempts == 0
    said = Answered(run.operation, "withdrawn: never called") if never else None
    return Turn(replace(incident, gist=""), moved.run, moved.entries, answered=said)


def folded(incidents: Iterable[Incident], result: Folded, now: datetime) -> tuple[Turn, ...]:
    """Give the turns that follow from folding: changed incidents with their lines; who was folded away is resolved at the pager."""
    before = {incident.id: incident for incident in incidents}
    turns = []
    for incident in result.incidents:
        if incident.id not in result.changed:
            continue
        lines = tuple(entry for entry in result.entries if entry.incident == incident.id)
        told = incident.how is How.FOLDED and before.get(incident.id, incident).paged
        turns.append(Turn(incident, None, lines, pages=(pages.resolved(incident, None, now),) if told else ()))
    return tuple(turns)


def approve(incident: Incident, *, by: str, reason: str, now: datetime) -> Turn:
    """Give the turn that follows from a person's yes. Raises `Refused` where nothing waits for approval."""
    if incident.needs is not Needs.APPROVAL:
        raise Refused(f"{incident.id} does not wait for approval (phase {incident.phase})")
    entry = Entry(now, incident.id, EntryKind.APPROVED, f"approved by {by}" + (f": {reason}" if reason else ""), {"by": by})
    return Turn(replace(incident, approved_by=by, needs=Needs.NOTHING, why="", gist=""), None, (entry,))


def abort(incident: Incident, run: Run | None, *, by: str, reason: str, now: datetime) -> Turn:
    """Give the turn that follows from a person's stop; the next decision takes back what can be taken back."""
    if incident.aborted_by:
        raise Refused(f"{incident.id} was aborted by {incident.aborted_by} already")
    entry = Entry(now, incident.id, EntryKind.ABORTED, f"stopped by {by}" + (f": {reason}" if reason else ""), {"by": by})
    return Turn(replace(incident, aborted_by=by, abort_reason=reason, gist=""), run, (entry,))


def _with_run_ended(incident: Incident, run: Run | None) -> Incident:
    """Give the incident as a run that ended leaves it."""
    if run is None or run.open or run.id != incident.run or run.ending not in (Ending.HANDED_OVER, Ending.ABORTED):
        return incident
    tried = tuple(dict.fromkeys((*incident.tried, run.playbook)))
    return replace(incident, tried=tried, phase=Phase.HANDED_OVER, needs=Needs.HUMAN, why=run.why)


def _stepped(incident: Incident, decision: Decision, run: Run, call: Call, now: datetime) -> Turn:
    fresh = run.id != incident.run
    moved = begun(run, now)
    step = moved.run.steps[call.index]
    phase = Phase.REPAIRING if step.phase == Phase.REPAIRING.value else Phase.ACTING
    after = replace(incident, phase=phase, run=run.id, needs=Needs.NOTHING, why="")
    entries = decision.entries
    if fresh:
        after = replace(_about(after, run), playbook=decision.playbook, mode=decision.mode)
        names = ", ".join(s.name for s in run.steps if s.state is not StepState.SKIPPED)
        text = f"playbook {run.playbook} in mode {decision.mode}: {names}"
        entries = (*entries, Entry(now, incident.id, EntryKind.DECIDED, text, {"playbook": run.playbook, "run": run.id}))
    turn = Turn(after, moved.run, (*entries, *moved.entries), call=replace(call, step=step))
    return _paged(_recorded(turn, incident, decision), incident, decision, now)


def _about(incident: Incident, run: Run) -> Incident:
    """Give the incident with the finding that its run is about as root, and the run's domain and gang."""
    findings = sorted(incident.findings, key=lambda f: (f.part != run.part, f not in incident.firing))
    return replace(incident, findings=tuple(findings), domain=run.domain, gang=run.gang)


def _held(incident: Incident, decision: Decision, hold: Hold) -> Turn:
    chosen = any(one.matched and one.playbook == decision.playbook for one in decision.candidates)
    observing = chosen and hold.needs is Needs.HUMAN and decision.mode == Mode.OBSERVE.value
    phase = {Needs.NOTHING: Phase.HELD, Needs.APPROVAL: Phase.WAITING_FOR_APPROVAL, Needs.HUMAN: Phase.HANDED_OVER}[hold.needs]
    run = decision.run
    if run is not None and run.open:
        phase = Phase.HELD
    after = replace(incident, phase=Phase.OBSERVING if observing else phase, needs=hold.needs, why=hold.why)
    if decision.playbook:
        yes = after.approved_by if after.playbook == decision.playbook else ""
        after = replace(after, playbook=decision.playbook, mode=decision.mode, approved_by=yes)
    return Turn(after, run, decision.entries)


def _recorded(turn: Turn, before: Incident, decision: Decision) -> Turn:
    """Give the turn with the decision, and a line for a hold, unless it only repeats the last one."""
    gist = _gist(decision)
    if gist == before.gist:
        return turn
    entries, verdict = turn.entries, decision.verdict
    if isinstance(verdict, Hold):
        facts = {"playbook": decision.playbook, "needs": verdict.needs.value}
        quiet = "" if before.paged or decision.silenced == verdict.why else decision.silenced
        text = f"{verdict.why}; no page yet: {quiet}" if quiet else verdict.why
        entries = (*entries, Entry(decision.at, before.id, EntryKind.HELD, text, facts))
    return replace(
        turn, incident=replace(turn.incident, gist=gist), entries=entries, decision=replace(decision, run=None, entries=())
    )


def _gist(decision: Decision) -> str:
    match decision.verdict:
        case RunStep(call=call):
            return f"run|{call.operation}"
        case Hold(why=why, needs=needs):
            truths = ",".join(f"{c.playbook}:{e.name}={str(e.value)[:5]}" for c in decision.candidates for e in c.conditions)
            quiet = f"|{decision.silenced}" if decision.silenced else ""
            return f"hold|{decision.playbook}|{decision.mode}|{needs}|{why}|{truths}{quiet}"
        case Close(how=how):
            return f"close|{how}"
        case _:
            assert_never(decision.verdict)


def _paged(turn: Turn, before: Incident, decision: Decision, now: datetime) -> Turn:
    """Give the turn with the page that it is time for, if any."""
    incident, verdict = turn.incident, decision.verdict
    if isinstance(verdict, Close):
        return _with_page(turn, pages.resolved(incident, turn.run, now)) if before.paged else turn
    if before.paged:
        return _failing(turn, before, turn.run, now) if turn.run is not None else turn
    if decision.silenced:
        # Whoever works there knows; the page opens when the silence ends, if there is still something to tell.
        return turn
    held_long = now >= incident.settles + HELD_LONG
    ready = isinstance(verdict, RunStep) or verdict.needs is not Needs.NOTHING or held_long
    if not ready or incident.severity is Severity.INFO:
        return turn
    return _with_page(turn, pages.opened(incident, decision, now))


def _failing(turn: Turn, before: Incident, run: Run, now: datetime) -> Turn:
    """Give the turn with a second page where a run that acts ended in a human's hands, waits for them half-way, or did not help."""
    fresh = turn.incident.needs is Needs.HUMAN and before.needs is not Needs.HUMAN
    acted = run.harms and (run.open or run.ending in {Ending.HANDED_OVER, Ending.HEALED})
    if not (fresh and acted and before.paged):
        return turn
    return _with_page(turn, pages.handed_over(turn.incident, run, now))


def _with_page(turn: Turn, page: Page) -> Turn:
    facts = {"delivery": page.delivery_id, "event": page.event.value}
    entry = Entry(page.at, turn.incident.id, EntryKind.PAGED, f"{page.event} {page.summary}", facts)
    paged = replace(turn.incident, paged=True)
    return replace(turn, incident=paged, pages=(*turn.pages, page), entries=(*turn.entries, entry))
