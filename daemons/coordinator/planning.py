"""What would still be done about an open incident, in order, without doing it: playbook chosen as deciding would. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.playbooks import record
from sliceward.playbooks.choose import choose
from sliceward.playbooks.plan import plan
from sliceward.playbooks.run import Purpose, StepState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.daemons.store import Case
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import Book
    from sliceward.playbooks.run import Step
    from sliceward.playbooks.world import World
    from sliceward.remediations.action import Action

Row = dict[str, Any]


def planned(case: Case, actions: Mapping[str, Action], *, book: Book, world: World, now: datetime) -> Row:
    """Give a ``Plan`` of docs/api.md: the steps of its run, or those of the playbook that would be begun."""
    incident, run = case.incident, case.run
    if run is not None and run.open:
        going = run.steps if any(step.purpose is Purpose.FAILURE for step in run.steps) else (*run.steps, *run.on_failure)
        steps = [_of_run(step, number, actions) for number, step in enumerate(going, start=1)]
        return _plan(incident, run.playbook, incident.mode, f"under way since {record.plain(run.started)}", steps)
    choice = choose(incident, book, world, now)
    if choice.playbook is None:
        return _plan(incident, None, None, choice.why, [])
    changes = [record.plain(change) | {"state": "pending"} for change in plan(choice.playbook, actions, choice.inputs)]
    mode = choice.playbook.mode.value
    why = "chosen by its trigger and conditions" + (f"; {incident.why}" if incident.why else "")
    return _plan(incident, choice.playbook.name, mode, why, changes)


def _plan(incident: Incident, playbook: str | None, mode: str | None, why: str, changes: list[Row]) -> Row:
    return {"incident": incident.id, "playbook": playbook, "mode": mode or None, "why": why, "changes": changes}


def _of_run(step: Step, number: int, actions: Mapping[str, Action]) -> Row:
    action = actions.get(step.action)
    return {
        "number": number,
        "step": step.name,
        "action": step.action,
        "about": action.about if action else "this version has no such action",
        "applies": step.state is not StepState.SKIPPED,
        "irreversible": step.irreversible,
        "harm": step.harm,
        "undo": step.inverse,
        "timeout": step.timeout.total_seconds(),
        "on_error": step.on_error.value,
        "on_failure_only": step.purpose is Purpose.FAILURE,
        "state": step.state.value,
    }
