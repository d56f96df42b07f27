"""The run as a state machine: a run and what happened in, the next run and lines for the story out. Pure.

Undo goes backwards through what was tried and not yet taken back, by the inverse that each action declares. Before the first
irreversible step a run can be cancelled; after it, what was begun is finished.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_never

from sliceward.playbooks.incident import Entry, EntryKind
from sliceward.playbooks.run import FINISHED, Call, Due, Ended, Ending, OnError, Purpose, Run, Sleep, Step, StepState
from sliceward.remediations.outcome import Done, Failed, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import PlannedStep, Playbook
    from sliceward.remediations.outcome import Outcome

LONGEST_TAKING_OFF = timedelta(minutes=10)
"""As the shipped playbooks allow for giving back."""
SHORTEST_WAIT = timedelta(milliseconds=50)
"""No action is asked again sooner, whatever it answers."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A run after something happened, and what to tell."""

    run: Run
    entries: tuple[Entry, ...] = ()


def start(incident: Incident, playbook: Playbook, *, inputs: Mapping[str, Any], tenant: str, now: datetime) -> Run:
    """Give the run that ``playbook`` begins for ``incident``: all steps pending, those whose ``when`` is False skipped.

    A ``when`` that cannot be evaluated leaves its step in: the action reads the present and decides.
    """
    return Run(
        id=f"{incident.id}-r{len(incident.tried) + 1}" if not incident.run else _next_id(incident),
        incident=incident.id,
        cluster=incident.cluster,
        playbook=playbook.name,
        digest=playbook.digest,
        part=incident.part,
        domain=incident.domain,
        gang=incident.gang,
        tenant=tenant,
        started=now,
        deadline=now + playbook.spec.timeout,
        steps=tuple(_planned(step, Purpose.FORWARD, inputs) for step in playbook.steps),
        on_failure=tuple(_planned(step, Purpose.FAILURE, inputs) for step in playbook.on_failure),
        ending=Ending.HANDED_OVER if playbook.spec.hand_over else Ending.HEALED,
        why=playbook.spec.hand_over,
    )


def _next_id(incident: Incident) -> str:
    number = incident.run.rpartition("-r")[2]
    return f"{incident.id}-r{int(number) + 1 if number.isdecimal() else 1}"


def _planned(step: PlannedStep, purpose: Purpose, inputs: Mapping[str, Any]) -> Step:
    spec = step.spec
    wanted = True if step.when is None else step.when.evaluate(inputs).value
    return Step(
        name=spec.name,
        action=spec.action,
        timeout=spec.timeout,
        given=spec.given,
        on_error=spec.on_error,
        irreversible=step.irreversible,
        harm=step.harm,
        inverse=step.inverse,
        purpose=purpose,
        phase=spec.phase,
        state=StepState.SKIPPED if wanted is False else StepState.PENDING,
        text=f"not needed: {spec.when} is false" if wanted is False else "",
    )


def due(run: Run, now: datetime) -> Due:
    """Give what the run needs now."""
    step = run.current
    if step is None or run.ended is not None:
        return Ended(run.ending, run.why)
    if step.retry_at is not None and step.retry_at > now:
        return Sleep(step.retry_at, step.text)
    return Call(step, run.at, run.operation)


def begun(run: Run, now: datetime) -> Moved:
    """Give the run with its present step under way: saved before the action is called (the intent)."""
    step = run.current
    if step is None:
        return Moved(run)
    first = step.attempts == 0
    state, started = StepState.RUNNING, step.started or now
    tried = replace(step, state=state, started=started, asked=now, attempts=step.attempts + 1, retry_at=None)
    facts = {"action": step.action, "operation": run.operation, "irreversible": step.irreversible}
    entries = (Entry(now, run.incident, EntryKind.STEP_STARTED, _title(step), facts),) if first else ()
    return Moved(_with_step(run, run.at, tried), entries)


def advance(run: Run, outcome: Outcome, now: datetime) -> Moved:
    """Give the run after its present step's action answered."""
    step = run.current
    if step is None:
        return Moved(run)
    run = replace(run, facts={**run.facts, **outcome.facts})
    step = replace(step, facts={**step.facts, **outcome.facts})
    match outcome:
        case Done(text=text):
            ended = replace(step, state=StepState.DONE, ended=now, text=text, retry_at=None)
            entry = Entry(
                now, run.incident, EntryKind.STEP_DONE, f"{_title(step)}: {text}", {**outcome.facts, "action": step.action}
            )
            return _settled(_with_step(run, run.at, ended), (entry,), now)
        case Wait(retry_in=retry_in, why=why):
            waiting = replace(step, text=why, retry_at=now + max(retry_in, SHORTEST_WAIT))
            told = () if why == step.text else (Entry(now, run.incident, EntryKind.STEP_WAITING, f"{_title(step)}: {why}"),)
            return Moved(_with_step(run, run.at, waiting), told)
        case Failed(why=why):
            return _failed(_with_step(run, run.at, step), why, step.on_error, now)
        case _:
            assert_never(outcome)


def tick(run: Run, now: datetime) -> Moved:
    """Give the run after time passed: a step past its time-out, or a run past its own, goes the way of failure.

    What such a step did is unknown, not failed; undo and later steps read the present. A step is given up only after a look
    at the present that began past its time: a stall of our own, or a step of the clock, ages nobody.
    """
    step = run.current
    if step is None or run.ended is not None:
        return Moved(run)
    if step.purpose is Purpose.FORWARD and now >= run.deadline:
        return _failed(
            run, f"the run's time was up at {run.deadline:%H:%M:%S}; what {step.name} did is unknown", OnError.STOP, now
        )
    if run.overdue(now) and step.started is not None and step.asked is not None and step.asked >= step.started + step.timeout:
        return give_up(run, now)
    return Moved(run)


def give_up(run: Run, now: datetime) -> Moved:
    """Give the run after its present step had no result in its time."""
    step = run.current
    if step is None:
        return Moved(run)
    why = f"no result within {step.timeout}, so what it did is unknown" + (f" ({step.text})" if step.text else "")
    return _failed(run, why, step.on_error, now)


def cancel(run: Run, why: str, now: datetime) -> Moved:
    """Give the run taken back because its cause is gone; unchanged once an irreversible step was begun."""
    if run.committed or not run.open:
        return Moved(run)
    return _taken_back(run, Ending.CANCELLED, why, now)


def abort(run: Run, why: str, now: datetime) -> Moved:
    """Give the run stopped by a person: nothing goes on, what can be taken back is taken back; unchanged where that is under way."""
    step = run.current
    if not run.open or run.ending is Ending.ABORTED or (step is not None and step.purpose is Purpose.UNDO):
        return Moved(run)
    return _taken_back(run, Ending.ABORTED, why, now)


def release(run: Run, why: str, now: datetime) -> Moved:
    """Give an ended run opened again to take back what it left, so that its incident can be closed; the same if nothing is left."""
    back = undo_of(run)
    if run.open or not back:
        return Moved(run)
    entry = Entry(now, run.incident, EntryKind.DECIDED, f"taking back what is ours: {why}")
    return Moved(replace(run, steps=(*run.steps, *back), ended=None), (entry,))


def take_off(run: Run, why: str, now: datetime) -> Moved:
    """Give an ended run opened again to take off its incident's marks that it knows nothing of: an earlier run's, or a late write's."""
    back = Step(
        "take-off", "domain.give_back", LONGEST_TAKING_OFF, on_error=OnError.CONTINUE, purpose=Purpose.UNDO, phase="repairing"
    )
    return Moved(replace(run, steps=(*run.steps, back), ended=None), (Entry(now, run.incident, EntryKind.DECIDED, why),))


def refuse(run: Run, why: str, now: datetime) -> Moved:
    """Give the run whose present step must not be called, for what it was decided about is no longer there."""
    step = run.current
    return Moved(run) if step is None else _failed(run, why, step.on_error, now)


def undo_of(run: Run) -> tuple[Step, ...]:
    """Give the steps that take back what was tried and stands, latest first."""
    found: list[Step] = []
    for index in reversed(range(len(run.steps))):
        step = run.steps[index]
        if step.purpose is Purpose.UNDO or not step.inverse or step.attempts == 0:
            continue
        later = run.steps[index + 1 :]
        if any(other.action == step.inverse and other.state in (StepState.DONE, StepState.RUNNING) for other in later):
            continue
        if any(other.action == step.inverse for other in found):
            continue
        name = f"undo-{step.name}"
        found.append(Step(name, step.inverse, step.timeout, on_error=OnError.CONTINUE, purpose=Purpose.UNDO, phase="repairing"))
    return tuple(found)


def half_done(run: Run) -> bool:
    """Whether something irreversible stands that a later step makes good again (a gang that we suspended is not resumed)."""
    owed = {step.action for step in undo_of(run)}
    return any(step.irreversible and step.attempts > 0 and step.inverse in owed for step in run.steps)


def withdrawn(run: Run, now: datetime) -> Moved:
    """Give the run as if its present step had not been begun: the intent was saved, and the action was *not* called."""
    step = run.current
    if step is None or step.attempts == 0:
        return Moved(run)
    # As if it had not been asked since its first time: a stall of our own ages nobody, one more look is due.
    before = replace(step, attempts=step.attempts - 1, asked=step.started)
    if before.attempts == 0:
        before = replace(before, state=StepState.PENDING, started=None, asked=None)
    entry = Entry(now, run.incident, EntryKind.HELD, f"{_title(step)}: not called after all; the present changed meanwhile")
    return Moved(_with_step(run, run.at, before), (entry,))


def _taken_back(run: Run, ending: Ending, why: str, now: datetime) -> Moved:
    stopped = replace(run, steps=_skipped(run.steps, why, now), ending=ending, why=why)
    kind = EntryKind.ABORTED if ending is Ending.ABORTED else EntryKind.DECIDED
    entry = Entry(now, run.incident, kind, why)
    return _settled(replace(stopped, steps=(*stopped.steps, *undo_of(stopped))), (entry,), now)


def _failed(run: Run, why: str, on_error: OnError, now: datetime) -> Moved:
    """Give the run after its present step failed."""
    step, index = run.steps[run.at], run.at
    entry = Entry(now, run.incident, EntryKind.STEP_FAILED, f"{_title(step)}: {why}")
    failed = _with_step(run, index, replace(step, state=StepState.FAILED, ended=now, text=why, retry_at=None))
    if step.purpose is not Purpose.FORWARD:
        left = replace(failed, ending=Ending.HANDED_OVER, why=f"{step.name} failed: {why}")
        return _settled(left, (entry,), now)
    match on_error:
        case OnError.CONTINUE:
            return _settled(failed, (entry,), now)
        case OnError.HAND_OVER:
            rest: tuple[Step, ...] = ()
        case OnError.STOP:
            back = () if failed.committed else undo_of(failed)
            rest = (*back, *failed.on_failure)
        case _:
            assert_never(on_error)
    stopped = _skipped(failed.steps, f"{step.name} failed", now)
    handed = replace(failed, steps=(*stopped, *rest), ending=Ending.HANDED_OVER, why=f"{step.name} failed: {why}")
    return _settled(handed, (entry,), now)


def _skipped(steps: Sequence[Step], why: str, now: datetime) -> tuple[Step, ...]:
    return tuple(
        step if step.state in FINISHED else replace(step, state=StepState.SKIPPED, ended=now, text=why, retry_at=None)
        for step in steps
    )


def _settled(run: Run, entries: tuple[Entry, ...], now: datetime) -> Moved:
    """End the run where no step is left."""
    return Moved(run if run.current is not None else replace(run, ended=now), entries)


def _with_step(run: Run, index: int, step: Step) -> Run:
    return replace(run, steps=(*run.steps[:index], step, *run.steps[index + 1 :]))


def _title(step: Step) -> str:
    return step.name if step.name == step.action else f"{step.name} ({step.action})"
