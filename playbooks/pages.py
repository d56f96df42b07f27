"""Pages for people: one when an incident is settled and decided, one when a run fails them, one when it is over.

The deduplication key is the incident's id, so a receiver shows one alert. In this order: what is broken, who is hurt, what
is done, what a human must decide. Made from values alone; sending is the outbox's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.playbooks.decision import RunStep
from sliceward.playbooks.incident import How, Needs
from sliceward.playbooks.run import Purpose, StepState
from sliceward.remediations.page import Page, PageEvent

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.run import Run

LONGEST_SUMMARY = 1_024
"""Characters of a summary (PagerDuty Events v2)."""


def opened(incident: Incident, decision: Decision, now: datetime) -> Page:
    """Tell that something is broken and what will be done about it."""
    summary = f"{incident.kind} on {incident.part}" + (f", {incident.gang} is hurt" if incident.gang else "")
    facts = _facts(incident) | {"what is done": _plan(decision), "what a human must decide": _question(incident, decision)}
    web = decision.runbook.startswith(("https://", "http://"))
    links = {"runbook": decision.runbook} if web else {}
    if decision.runbook and not web:
        facts["runbook"] = decision.runbook
    return _page(incident, "open", PageEvent.TRIGGER, summary, facts, now, links)


def handed_over(incident: Incident, run: Run, now: datetime) -> Page:
    """Tell that sliceward could not finish and a human must."""
    why = incident.why or run.why
    facts = _facts(incident) | {"what was done": _done(run), "what a human must decide": why}
    # One page each time that a run stops for a human, so that a second run of the same incident is not silent.
    name = f"{run.id.removeprefix(f'{incident.id}-')}-{'held' if run.open else 'hand-over'}"
    return _page(incident, name, PageEvent.TRIGGER, f"a human must take over {incident.part}: {why}", facts, now, {})


def resolved(incident: Incident, run: Run | None, now: datetime) -> Page:
    """Tell that it is over, and how it ended."""
    how = incident.how.value if incident.how is not None else How.HANDED_OVER.value
    facts = _facts(incident) | {"what was done": "nothing" if run is None else _done(run), "how it ended": how}
    return _page(incident, "resolve", PageEvent.RESOLVE, f"{how}: {incident.kind} on {incident.part}", facts, now, {})


def _page(  # noqa: PLR0913, PLR0917 (private: the parts of one page)
    incident: Incident, name: str, event: PageEvent, summary: str, facts: dict[str, str], now: datetime, links: dict[str, str]
) -> Page:
    return Page(
        delivery_id=f"{incident.id}-{name}",
        dedup_key=incident.id,
        event=event,
        severity=incident.severity,
        summary=summary[:LONGEST_SUMMARY],
        source=f"sliceward/{incident.cluster}",
        component=str(incident.part),
        kind=incident.kind.value,
        at=now,
        facts=facts,
        links=links,
    )


def _facts(incident: Incident) -> dict[str, str]:
    hurt = [f"gang {incident.gang}"] if incident.gang else []
    hurt += [f"slice {incident.slice}"] if incident.slice else []
    also = [f"{f.kind} on {f.part} ({f.state})" for f in incident.findings[1:20]]
    facts = {
        "what is broken": f"{incident.part}: {incident.text}",
        "who is hurt": ", ".join(hurt) or "nobody",
        "leaves service together": f"{len(incident.domain)} hosts" if incident.domain else "nothing",
    }
    return facts | ({"seen with it": "; ".join(also)} if also else {})


def _plan(decision: Decision) -> str:
    run = decision.run
    if isinstance(decision.verdict, RunStep) and run is not None:
        steps = [s.name for s in run.steps if s.state is not StepState.SKIPPED and s.purpose is Purpose.FORWARD]
        return f"playbook {run.playbook}: {', '.join(steps)}"
    return "nothing is changed"


def _question(incident: Incident, decision: Decision) -> str:
    run, verdict = decision.run, decision.verdict
    if isinstance(verdict, RunStep):
        return run.why if run is not None and run.why and not run.harms else "nothing; sliceward acts and will report"
    why = getattr(verdict, "why", "")
    if getattr(verdict, "needs", Needs.NOTHING) is Needs.APPROVAL:
        return f"{why}: sliceward approve {incident.id}, or abort {incident.id}"
    return f"{why}; see sliceward explain {incident.id}"


def _done(run: Run) -> str:
    told = [f"{s.name}: {s.text or s.state}" for s in run.steps if s.state in (StepState.DONE, StepState.FAILED)]
    return "; ".join(told)[:4_000] or "nothing"
