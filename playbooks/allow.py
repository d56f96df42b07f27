"""May this run begin, may this step be called: guards, mode, approval and budgets, each recorded, the first no wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.playbooks.advance import half_done
from sliceward.playbooks.budgets import spend, spend_on_step
from sliceward.playbooks.decision import Guard, Hold
from sliceward.playbooks.guards import Intent, guards, not_paused, not_silenced, unchanged
from sliceward.playbooks.incident import Needs
from sliceward.playbooks.run import Purpose
from sliceward.playbooks.schema import MODES, BudgetSpec, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.choose import Choice
    from sliceward.playbooks.decision import Spent
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import Book
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.world import World

RECHECK = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What was checked; ``hold`` is None where everything says yes. ``mode``: in force, after the fleet's ceiling."""

    guards: tuple[Guard, ...] = ()
    budgets: tuple[Spent, ...] = ()
    hold: Hold | None = None
    mode: str = ""


def may_begin(incident: Incident, choice: Choice, run: Run, world: World, now: datetime) -> Allowed:
    """Whether the chosen playbook may begin. One without harm may in any mode: it looks, keeps evidence and hands over."""
    playbook, finding = choice.playbook, choice.finding
    if playbook is None or finding is None or not run.harms:
        return Allowed(mode="" if playbook is None else playbook.mode.value)
    mode = in_force(playbook.mode, world)
    checks = guards(Intent(incident, finding, run.domain, run.gang, run.playbook), world, now)
    budgets = spend(playbook.spec.budget, run, world, now, opened=incident.opened)
    hold = (
        _refused(checks, now)
        or _observing(mode, playbook.name, now)
        or _unapproved(incident, choice, mode, now)
        or _spent(budgets, now)
    )
    return Allowed(checks, budgets, hold, mode.value)


def may_step(incident: Incident, run: Run, book: Book, world: World, now: datetime) -> Allowed:
    """Whether the present step of a run may be called.

    Healing steps always may. Before the first irreversible step a step that harms needs all that beginning needed. After
    it what was begun is finished: a gang that we stopped is made to run again even under a pause or a silence; from then on a
    pause, a silence or a lowered mode, and the budget of its own action, hold each step that harms and was not called yet.
    """
    step = run.current
    if step is None or step.purpose is not Purpose.FORWARD or not (step.harm or step.irreversible):
        return Allowed()
    if (step.irreversible and step.attempts > 0) or half_done(run):
        return Allowed()
    ceiling = world.ceiling is Mode.OBSERVE
    playbook = book.named(run.playbook)
    # Without the playbook (it was removed) the default budget bounds what is still to be done.
    budget = BudgetSpec() if playbook is None else playbook.spec.budget
    intent = Intent(incident, cause(incident, run), run.domain, run.gang, run.playbook)
    if run.committed:
        lowered = Guard("mode", not ceiling, "the whole fleet only observes" if ceiling else "acting is allowed")
        checks: tuple[Guard, ...] = (not_paused(world), not_silenced(intent, world, now), lowered)
        budgets = spend_on_step(budget, run, world)
        return Allowed(checks, budgets, _refused(checks, now) or _spent(budgets, now))
    budgets = spend(budget, run, world, now, opened=incident.opened)
    checks = (*guards(intent, world, now), unchanged(run, world))
    observing = _observing(world.ceiling, run.playbook, now) if ceiling else None
    return Allowed(checks, budgets, _refused(checks, now) or observing or _spent(budgets, now))


def cause(incident: Incident, run: Run) -> Finding:
    """Give the finding that the run is about: a firing one of its part, else any of its part, else the root."""
    about = [finding for finding in incident.findings if finding.part == run.part]
    firing = [finding for finding in about if finding in incident.firing]
    return (firing or about or [incident.root])[0]


def in_force(mode: Mode, world: World) -> Mode:
    """Give the mode after the fleet's ceiling."""
    return mode if world.ceiling is None else min(mode, world.ceiling, key=MODES.index)


def _refused(checks: Sequence[Guard], now: datetime) -> Hold | None:
    """Hold for the first check that says no; one that needs a human weighs more than one that passes by itself."""
    no = [check for check in checks if not check.ok]
    if not no:
        return None
    first = next((check for check in no if check.needs is not Needs.NOTHING), no[0])
    return Hold(first.until or now + RECHECK, first.why, first.needs)


def _observing(mode: Mode | None, playbook: str, now: datetime) -> Hold | None:
    if mode is not Mode.OBSERVE:
        return None
    return Hold(now + RECHECK, f"mode Observe: {playbook} would act; nothing is changed", Needs.HUMAN)


def _unapproved(incident: Incident, choice: Choice, mode: Mode, now: datetime) -> Hold | None:
    playbook = choice.playbook
    # A yes is a yes to the playbook that asked, not to whatever is chosen later.
    if playbook is None or (incident.approved_by and incident.playbook == playbook.name):
        return None
    asked, patience = mode is Mode.APPROVE, None
    if playbook.approval is not None and playbook.spec.approval is not None:
        # An error asks too: whether a person is needed is unknown.
        asked = asked or playbook.approval.evaluate(choice.inputs).value is not False
        patience = playbook.spec.approval.timeout
    if not asked:
        return None
    if patience is not None and now >= incident.settles + patience:
        return Hold(now + RECHECK, f"nobody approved {playbook.name} within {patience}", Needs.HUMAN)
    return Hold(now + RECHECK, f"{playbook.name} waits for approval", Needs.APPROVAL)


def _spent(budgets: Sequence[Spent], now: datetime) -> Hold | None:
    over = [budget for budget in budgets if not budget.ok]
    if not over:
        return None
    first = over[0]
    why = f"budget {first.name}: {first.used:g} used and {first.asked:g} asked of {first.limit:g}"
    if first.name.endswith("cooldown"):
        why = f"the failure domain rests for {timedelta(seconds=first.limit)} after a run"
    return Hold(max(now + RECHECK, first.until) if first.until else now + RECHECK, why)
