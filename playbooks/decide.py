"""What to do about one incident now: first matching playbook, guards, budgets; pure.

Called each round for every open incident, and between the steps of its run; it compares the present with what was begun
and never replays the past. ``Run(step)``, ``Hold(until, why)`` or ``Close(how)``, with the whole record.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from sliceward.detectors.finding import State
from sliceward.playbooks.advance import abort, cancel, due, give_up, half_done, refuse, release, start, take_off, tick, undo_of
from sliceward.playbooks.allow import may_begin, may_step
from sliceward.playbooks.choose import about, choose
from sliceward.playbooks.decision import Close, Decision, Hold, RunStep
from sliceward.playbooks.guards import NOT_SILENCED, another_machine
from sliceward.playbooks.incident import How, Needs
from sliceward.playbooks.run import Call, Ended, Ending, Purpose, Sleep
from sliceward.playbooks.silences import about as touched_by
from sliceward.playbooks.silences import covering

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.playbooks.advance import Moved
    from sliceward.playbooks.choose import Choice
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import Book
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.world import World

RECHECK = timedelta(seconds=15)
"""How soon a held incident is looked at again when nothing wakes the loop."""
PATIENCE = timedelta(minutes=15)
"""How long conditions that do not hold keep an incident from a human."""
CLEARING = timedelta(minutes=10)
"""How long findings may go on firing after a run that healed, before a human must look."""
LONGEST_RELEASE = timedelta(minutes=5)
"""How soon taking back is tried again after it failed."""


def decide(incident: Incident, run: Run | None, book: Book, world: World, now: datetime) -> Decision:
    """Give what follows for ``incident`` now, with its whole record.

    ``run``: the incident's present or last run, if any. Call it each round for every open incident.
    """
    decision = _decided(incident, run, book, world, now)
    return replace(decision, silenced=_silenced(incident, decision, world))


def _silenced(incident: Incident, decision: Decision, world: World) -> str:
    """Say which silence keeps the incident from opening a page: the one that holds its actions, else one about what it touches."""
    if not world.silences or isinstance(decision.verdict, Close):
        return ""
    held = next((guard.why for guard in decision.guards if guard.name == NOT_SILENCED and not guard.ok), "")
    run = decision.run
    hosts, gang = ((), None) if run is None else (run.domain, run.gang)
    subject = touched_by(incident, world.fleet, hosts=hosts, gang=gang, playbook=decision.playbook)
    found = covering(world.silences, subject, decision.at)
    return held or ("" if found is None else found.text)


def _decided(incident: Incident, run: Run | None, book: Book, world: World, now: datetime) -> Decision:
    decision = Decision(incident.id, now, Hold(now + RECHECK, ""), incident.playbook, incident.mode, run)
    if run is not None and run.open:
        moved = _steered(incident, run, world, now)
        decision = replace(decision, run=moved.run, entries=moved.entries)
        if moved.run.open:
            return _going(incident, moved.run, book, world, decision)
        run = moved.run
    return _standing(incident, run, book, world, decision)


def _steered(incident: Incident, run: Run, world: World, now: datetime) -> Moved:
    """Give the run after what happened around it: a person's stop, a cause or a machine that is gone, time that is up."""
    if incident.aborted_by:
        stopped = abort(run, f"aborted by {incident.aborted_by}: {incident.abort_reason or 'no reason given'}", now)
        if stopped.run is not run:
            return stopped
    states = {finding.state for finding in incident.findings}
    if states == {State.RESOLVED}:
        gone = cancel(run, "the fault resolved by itself before anything irreversible was done", now)
        if gone.run is not run and run.ending is not Ending.CANCELLED:
            return gone
    if _must_know(run) and (why := another_machine(run, world)):
        return refuse(run, why, now)
    return tick(run, now)


def _must_know(run: Run) -> bool:
    """Whether the present step is one that must meet the machine that was found sick (a repair), and was not called yet."""
    step = run.current
    if step is None or step.purpose is not Purpose.FORWARD or not step.irreversible or step.attempts > 0:
        return False
    return run.committed and not half_done(run)


def _going(incident: Incident, run: Run, book: Book, world: World, decision: Decision) -> Decision:
    now = decision.at
    match due(run, now):
        case Call() as call:
            allowed = may_step(incident, run, book, world, now)
            decision = replace(decision, guards=allowed.guards, budgets=allowed.budgets)
            if allowed.hold is None:
                return replace(decision, verdict=RunStep(call))
            if run.overdue(now):
                # No look is allowed any more, and its time is up.
                return _after(give_up(run, now), incident, book, world, decision)
            return replace(decision, verdict=allowed.hold)
        case Sleep(until=until, why=why):
            return replace(decision, verdict=Hold(until, why, between=True))
        case Ended():  # pragma: no cover (an open run has a step left)
            return _standing(incident, run, book, world, decision)
        case other:
            assert_never(other)


def _after(moved: Moved, incident: Incident, book: Book, world: World, decision: Decision) -> Decision:
    """Decide anew about a run that just changed."""
    decision = replace(decision, run=moved.run, entries=(*decision.entries, *moved.entries))
    follow = _going if moved.run.open else _standing
    return follow(incident, moved.run, book, world, decision)


def _standing(incident: Incident, run: Run | None, book: Book, world: World, decision: Decision) -> Decision:
    """Decide where no run is under way: close, take back, wait, or begin."""
    now = decision.at
    over = _over(incident, run, now)
    if isinstance(over, Close):
        return _closed(incident, run, over, world, decision)
    if over is not None:
        return replace(decision, verdict=over)
    if now < incident.settles:
        return replace(decision, verdict=Hold(incident.settles, "siblings may still arrive", between=True))
    tried = incident if run is None else replace(incident, tried=tuple(dict.fromkeys((*incident.tried, run.playbook))))
    if run is not None and run.ending is Ending.CANCELLED:
        tried = incident
    choice = choose(tried, book, world, now)
    decision = replace(decision, candidates=choice.candidates)
    if choice.playbook is None:
        return replace(decision, verdict=_nobody(incident, run, choice, now))
    return _begin(tried, choice, world, decision)


def _over(incident: Incident, run: Run | None, now: datetime) -> Close | Hold | None:
    """Give how the story ends or what it waits for; None where a playbook may be chosen."""
    states = {finding.state for finding in incident.findings}
    firing = State.FIRING in states
    if incident.aborted_by:
        who = f"aborted by {incident.aborted_by}"
        return Hold(now + RECHECK, f"{who}; the fault still fires", Needs.HUMAN) if firing else Close(How.ABORTED, who)
    if run is not None and run.ending is Ending.HEALED:
        return _healed(run, now, firing=firing)
    if firing:
        return None
    if State.UNKNOWN in states:
        return Hold(now + RECHECK, "what is known is too old: neither firing nor resolved", incident.needs)
    if run is not None and run.ending is Ending.HANDED_OVER:
        return _handed_over(incident, run, now)
    return Close(How.RESOLVED_ITSELF, "resolved by itself")


def _handed_over(incident: Incident, run: Run, now: datetime) -> Close | Hold:
    """Close what resolved, unless a drain may have silenced it: memory errors stop on a host where nothing runs."""
    if run.committed and undo_of(run):
        why = f"resolved, but not repaired and proven since the drain: `sliceward abort {incident.id}` gives it back once it is"
        return Hold(now + RECHECK, why, Needs.HUMAN)
    return Close(How.HANDED_OVER, "handed over, and resolved since")


def _healed(run: Run, now: datetime, *, firing: bool) -> Close | Hold:
    """Close what was repaired and proven; unknown is enough then, for a link is only seen from inside a job."""
    if not firing:
        return Close(How.HEALED, "repaired, proven and given back; nothing fires any more")
    if run.ended is not None and now < run.ended + CLEARING:
        return Hold(min(now + RECHECK, run.ended + CLEARING), "healed; waiting for the findings to clear", between=True)
    return Hold(now + RECHECK, "healed by its playbook, and still firing", Needs.HUMAN)


def _closed(incident: Incident, run: Run | None, close: Close, world: World, decision: Decision) -> Decision:
    """Close, but never with marks of ours left: take those back first."""
    now = decision.at
    marked = [host for host, marks in world.fleet.marked.items() if any(mark.value == incident.id for mark in marks)]
    if run is not None and undo_of(run):
        if run.ended is not None and run.why.startswith("undo-") and now < run.ended + LONGEST_RELEASE:
            return replace(decision, verdict=Hold(run.ended + LONGEST_RELEASE, run.why, Needs.HUMAN))
        return _opened(release(run, close.why, now), decision)
    if marked:
        why = f"{len(marked)} hosts still carry our mark of a closed story, e.g. {marked[0].name}; waiting to see them gone"
        if now < (incident.settles if run is None or run.ended is None else run.ended) + PATIENCE:
            return replace(decision, verdict=Hold(now + RECHECK, why, between=True))
        # It came late, or an earlier run left it: nothing proves those hosts, so a human says that they may come back.
        if run is not None and incident.aborted_by:
            return _opened(take_off(run, f"taking off the marks of an earlier run: {close.why}", now), decision)
        what = "take the taint off by hand" if run is None else f"`sliceward abort {incident.id}` takes it off once they are well"
        return replace(decision, verdict=Hold(now + RECHECK, f"{why}: {what}", Needs.HUMAN))
    return replace(decision, verdict=close)


def _opened(moved: Moved, decision: Decision) -> Decision:
    call = Call(moved.run.steps[moved.run.at], moved.run.at, moved.run.operation)
    return replace(decision, run=moved.run, entries=(*decision.entries, *moved.entries), verdict=RunStep(call))


def _nobody(incident: Incident, run: Run | None, choice: Choice, now: datetime) -> Hold:
    """Say who must look where no playbook matches."""
    if run is not None and run.ending is Ending.HANDED_OVER:
        return Hold(now + RECHECK, run.why or "its playbook hands it over", Needs.HUMAN)
    late = now >= incident.settles + PATIENCE
    return Hold(now + RECHECK, choice.why, Needs.HUMAN if late or not choice.named else Needs.NOTHING)


def _begin(incident: Incident, choice: Choice, world: World, decision: Decision) -> Decision:
    """Begin the chosen playbook, if everything allows it."""
    now, playbook, finding = decision.at, choice.playbook, choice.finding
    if playbook is None or finding is None:  # pragma: no cover (decided by the caller)
        return decision
    incident = about(incident, finding, world.fleet)
    gang = None if incident.gang is None else world.fleet.gangs.get(incident.gang)
    begun = start(incident, playbook, inputs=choice.inputs, tenant="" if gang is None else gang.tenant, now=now)
    shown = [world.fleet.hosts[host] for host in incident.domain if host in world.fleet.hosts]
    begun = replace(begun, facts={"machines": {host.id.name: [host.instance_id, host.boot_id] for host in shown}})
    decision = replace(decision, playbook=playbook.name, runbook=playbook.runbook)
    allowed = may_begin(incident, choice, begun, world, now)
    decision = replace(decision, guards=allowed.guards, budgets=allowed.budgets, mode=allowed.mode)
    if allowed.hold is not None:
        return replace(decision, verdict=allowed.hold)
    first = due(begun, now)
    if not isinstance(first, Call):
        return replace(decision, verdict=Hold(now + RECHECK, f"no step of {playbook.name} applies", Needs.HUMAN))
    return replace(decision, run=begun, verdict=RunStep(first))
