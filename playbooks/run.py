"""A run: one playbook at work on one incident, as a list of steps with their states.

A run carries all it needs (steps with parameters, time-outs, inverses), so that an edited playbook never changes a run
under way and a restart resumes at the exact step. `sliceward.playbooks.advance` moves it; nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from sliceward.topology.ids import GangId, PartId


class StepState(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class Purpose(StrEnum):
    """Why a step is in the run: the plan itself, the playbook's ``onFailure``, or taking back what was done."""

    FORWARD = "forward"
    FAILURE = "failure"
    UNDO = "undo"


class OnError(StrEnum):
    """What a failed step means for the run.

    ``STOP``: take back what can be taken back if nothing irreversible was begun, then ``onFailure``, then a human.
    ``CONTINUE``: go on with the next step. ``HAND_OVER``: leave everything as it is for a human.
    """

    STOP = "stop"
    CONTINUE = "continue"
    HAND_OVER = "hand-over"


class Ending(StrEnum):
    """How a run ends."""

    HEALED = "healed"
    HANDED_OVER = "handed-over"
    CANCELLED = "cancelled"
    ABORTED = "aborted"


FINISHED = frozenset({StepState.DONE, StepState.FAILED, StepState.SKIPPED})


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what was planned and how it stands. ``given`` are the playbook's ``with``; ``facts`` what it answered.

    ``started``: when its action was first called; ``asked``: when it was last called.
    """

    name: str
    action: str
    timeout: timedelta
    given: Mapping[str, Any] = field(default_factory=dict)
    on_error: OnError = OnError.STOP
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    purpose: Purpose = Purpose.FORWARD
    phase: str = "acting"
    state: StepState = StepState.PENDING
    started: datetime | None = None
    ended: datetime | None = None
    retry_at: datetime | None = None
    asked: datetime | None = None
    attempts: int = 0
    text: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A playbook at work. ``facts``: those of all steps so far, merged; later steps read them.

    ``ending``: how it will end when no step is left; ``ended``: when it did. ``digest``: of the playbook that it began with.
    """

    id: str
    incident: str
    cluster: str
    playbook: str
    digest: str
    part: PartId
    domain: tuple[HostId, ...]
    gang: GangId | None
    tenant: str
    started: datetime
    deadline: datetime
    steps: tuple[Step, ...]
    on_failure: tuple[Step, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    ending: Ending = Ending.HEALED
    why: str = ""
    ended: datetime | None = None

    @property
    def open(self) -> bool:
        """Whether steps are left."""
        return self.ended is None

    @property
    def harms(self) -> bool:
        """Whether it takes capacity or disturbs a gang; one that only looks and hands over uses no budget."""
        return any(step.harm or step.irreversible or step.inverse for step in self.steps)

    @property
    def moving(self) -> bool:
        """Whether its gang, and the hosts promised to it, may still be touched: not once only repair and proof are left."""
        return any(
            step.state not in FINISHED and (step.purpose is not Purpose.FORWARD or step.phase != "repairing")
            for step in self.steps
        )

    @property
    def machines(self) -> Mapping[str, tuple[str, str]]:
        """Instance and boot id of each host of the domain when the run began (fact ``machines``), by host name."""
        return {name: (str(ids[0]), str(ids[1])) for name, ids in self.facts.get("machines", {}).items()}

    @property
    def at(self) -> int:
        """Index of the present step; the number of steps where none is left."""
        for index, step in enumerate(self.steps):
            if step.state not in FINISHED:
                return index
        return len(self.steps)

    @property
    def current(self) -> Step | None:
        """The step under way or next."""
        at = self.at
        return self.steps[at] if at < len(self.steps) else None

    def overdue(self, now: datetime) -> bool:
        """Whether the present step's time is up."""
        step = self.current
        return step is not None and step.started is not None and now >= step.started + step.timeout

    @property
    def operation(self) -> str:
        """Id of the present step's operation: the same over retries and restarts, different for each step."""
        return f"{self.id}.{self.at}"

    @property
    def committed(self) -> bool:
        """Whether an irreversible step was begun: from there on what was begun is finished."""
        return any(s.irreversible and s.state is not StepState.SKIPPED and s.attempts > 0 for s in self.steps)

    @property
    def promised(self) -> tuple[HostId, ...]:
        """Hosts that this run promised to its gang (fact ``planned_hosts`` of the plan: host names)."""
        return tuple(HostId(self.cluster, str(name)) for name in self.facts.get("planned_hosts", ()))


@dataclass(frozen=True, slots=True)
class Call:
    """The action to call now. ``operation`` goes into the intent and the action's target."""

    step: Step
    index: int
    operation: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing to call before ``until``."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """No step is left."""

    ending: Ending
    why: str


Due = Call | Sleep | Ended
