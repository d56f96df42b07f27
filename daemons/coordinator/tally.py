"""What was decided and done since the start, counted for Prometheus (`sliceward.daemons.coordinator.metrics`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from prometheus_client import Counter, Histogram

from sliceward.playbooks.decision import Close, Hold, RunStep
from sliceward.remediations.outcome import Done, Failed, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

    from sliceward.playbooks.decision import Verdict
    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.outcome import Outcome

_MINUTE, _HOUR = 60.0, 3600.0
BUCKETS = (*(m * _MINUTE for m in (1, 2, 5, 10, 20, 30)), *(h * _HOUR for h in (1, 2, 4, 8, 24, 72)))
"""Of an incident's length: from a gang that is moved in a minute to a host that is repaired in three days."""


class Tally:
    """What was decided and done since the start."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.decisions = Counter(
            "sliceward_decisions", "Decisions that were something new, by playbook.", ["playbook", "outcome"], registry=None
        )
        self.steps = Counter("sliceward_steps", "Answers of actions to a call.", ["action", "outcome"], registry=None)
        self.lasted = Histogram(
            "sliceward_incident_duration_seconds",
            "From the first finding's incident to its close.",
            ["kind", "how"],
            buckets=BUCKETS,
            registry=None,
        )

    def begin(self, actions: Iterable[str]) -> None:
        """Show these actions from the start: the rise of a series that begins at one is seen by nobody."""
        for action in actions:
            self.steps.labels(action, "failed")

    def saved(self, turns: Iterable[Turn]) -> None:
        """Count what was just written."""
        for turn in turns:
            incident = turn.incident
            if turn.decision is not None:
                self.decisions.labels(turn.decision.playbook or "none", _said(turn.decision.verdict)).inc()
            if incident.closed is not None and incident.how is not None:
                lasted = (incident.closed - incident.opened).total_seconds()
                self.lasted.labels(incident.kind.value, incident.how.value).observe(lasted)

    def answered(self, action: str, answer: Outcome) -> None:
        """Count what an action answered."""
        match answer:
            case Done():
                outcome = "done"
            case Wait():
                outcome = "waiting"
            case Failed():
                outcome = "failed"
            case _:
                assert_never(answer)
        self.steps.labels(action, outcome).inc()

    def collect(self) -> Iterator[Metric]:
        """Give all of it."""
        for metric in (self.decisions, self.steps, self.lasted):
            yield from metric.collect()


def _said(verdict: Verdict) -> str:
    match verdict:
        case RunStep():
            return "run"
        case Hold():
            return "hold"
        case Close():
            return "close"
        case _:
            assert_never(verdict)
