"""The form of a playbook file, as pydantic models: unknown keys are refused, durations are text like ``45s``, ``30m``, ``1h``.

The JSON Schema for editors comes from here (`json_schema`). Files are read by `sliceward.playbooks.load`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, WithJsonSchema

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.conditions import LONGEST, MOST
from sliceward.playbooks.run import OnError


class Mode(StrEnum):
    """How far a playbook may go: decide and tell; act after a person's yes; act."""

    OBSERVE = "Observe"
    APPROVE = "Approve"
    ENFORCE = "Enforce"


MODES = (Mode.OBSERVE, Mode.APPROVE, Mode.ENFORCE)

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: object) -> timedelta:
    """Read ``1h30m``. Raises `ValueError`."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not re.fullmatch(r"(\d{1,9}(\.\d{1,3})?(ms|s|m|h|d))+", text):
        raise ValueError("is no duration; write 45s, 30m, 1h30m or 2d")
    return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)))


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^(\d{1,9}(\.\d{1,3})?(ms|s|m|h|d))+$", "examples": ["45s"]})
Duration = Annotated[timedelta, BeforeValidator(duration), _DURATION_SCHEMA]
PatientDuration = Annotated[timedelta, BeforeValidator(duration), AfterValidator(_positive), _DURATION_SCHEMA]
Expression = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


# Strict mode refuses the text of an enum; numbers in these models are strict one by one.
_LENIENT = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=False)


class Metadata(_Strict):
    """Who this playbook is."""

    name: Name = Field(description="Unique among all playbooks.")
    labels: dict[str, str] = Field(default={}, description="For people and tools.")
    annotations: dict[str, str] = Field(default={}, description="sliceward.dev/runbook: address of the runbook, in every page.")


class FindingSelector(_Strict):
    """Findings that start this playbook. All that is given must hold."""

    model_config = _LENIENT
    kinds: list[Kind] = Field(min_length=1, description="What is wrong.")
    states: list[State] = Field(default=[State.FIRING], description="Firing by default; acting on resolved must be asked for.")
    parts: list[Literal["chip", "link", "host", "cube", "slice", "gang", "pod", "cluster"]] = Field(
        default=[], description="Kinds of part; empty: any."
    )
    labels: dict[str, str] = Field(default={}, description="Labels of the finding that must be equal.")


class Trigger(_Strict):
    """What starts it."""

    findings: list[FindingSelector] = Field(min_length=1, max_length=32)


class Match(_Strict):
    """Where it applies; empty: everywhere."""

    generations: list[str] = Field(default=[], description="TPU generations, e.g. tpu7x.")
    clusters: list[str] = Field(default=[], description="Names of clusters.")


class Correlate(_Strict):
    """How findings become one incident."""

    settle: Duration = Field(default=timedelta(seconds=10), description="No decision before this time after the first finding.")
    absorb: list[Kind] = Field(default=[], description="Kinds of the same gang that are told by this incident, not by their own.")

    model_config = _LENIENT


class Named(_Strict):
    """A name and a CEL expression."""

    name: str = Field(min_length=1, max_length=63)
    expression: Expression


class Bound(_Strict):
    """The smaller of an absolute number and a share; ``atLeast`` keeps a share of little from being nothing."""

    max: int = Field(ge=0, description="Never more than this.")
    percent: float | None = Field(default=None, ge=0, le=100, description="Never more than this share.")
    at_least: int = Field(default=0, ge=0, alias="atLeast", description="The share is rounded down, but not below this.")

    def limit(self, total: int) -> int:
        """Give the bound in numbers for ``total`` that exist."""
        if self.percent is None:
            return self.max
        return min(self.max, max(self.at_least, int(total * self.percent / 100 + 1e-9)))


def _bound(value: object) -> object:
    return {"max": value} if isinstance(value, int) and not isinstance(value, bool) else value


Limit = Annotated[Bound, BeforeValidator(_bound, json_schema_input_type=int | Bound)]


class Level(_Strict):
    """How much at once, per scope; a scope that is left out has no limit of its own."""

    fleet: Limit | None = None
    cluster: Limit | None = None
    pod: Limit | None = None
    cube: Limit | None = None
    tenant: Limit | None = None


class Rate(_Strict):
    """How many starts in a sliding window."""

    model_config = _LENIENT
    max: StrictInt = Field(ge=0)
    window: PatientDuration
    per: Literal["playbook", "cluster", "fleet"] = "cluster"


class BudgetSpec(_Strict):
    """Blast radius, checked before a run starts and again before each step that harms."""

    model_config = _LENIENT
    runs: Level = Field(default=Level(cluster=Bound(max=2)), description="Open runs, of all playbooks.")
    hosts: Level = Field(
        default=Level(cluster=Bound(max=64, percent=25, atLeast=16)), description="Hosts out of service by our doing."
    )
    actions: dict[str, StrictInt] = Field(default={}, description="Steps of this action under way at once in a cluster.")
    rate: Rate | None = Field(default=Rate(max=4, window=timedelta(hours=1)), description="Starts in a sliding window.")
    cooldown: Duration = Field(default=timedelta(minutes=30), description="Rest of a failure domain after a run.")


class StepSpec(_Strict):
    """One step."""

    model_config = _LENIENT
    name: Name
    action: str = Field(description="Name of an action, e.g. `domain.mark`; docs/actions has a page on each.")
    given: dict[str, Any] = Field(default={}, alias="with", description="Parameters of the action.")
    when: Expression | None = Field(default=None, description="CEL; read once, when the run starts. False: the step is skipped.")
    timeout: PatientDuration = timedelta(minutes=10)
    on_error: OnError = Field(default=OnError.STOP, alias="onError")
    phase: Literal["acting", "repairing"] = Field(default="acting", description="What the incident is said to be doing.")


class Approval(_Strict):
    """Ask a person even in mode Enforce."""

    model_config = _LENIENT
    when: Expression
    timeout: PatientDuration = Field(default=timedelta(hours=1), description="Then the incident is handed over.")


class Spec(_Strict):
    """What to do about what, and how carefully."""

    model_config = _LENIENT
    summary: str = Field(min_length=1, max_length=500)
    mode: Mode = Mode.OBSERVE
    priority: StrictInt = Field(default=100, ge=0, le=10_000, description="Smaller is looked at first; the first match wins.")
    trigger: Trigger
    match: Match = Match()
    correlate: Correlate = Correlate()
    variables: list[Named] = Field(default=[], max_length=MOST)
    conditions: list[Named] = Field(default=[], max_length=MOST, description="All must hold.")
    budget: BudgetSpec = BudgetSpec()
    approval: Approval | None = None
    timeout: PatientDuration = timedelta(hours=6)
    hand_over: str = Field(default="", alias="handOver", description="What a human must decide. Then steps may not harm.")
    steps: list[StepSpec] = Field(min_length=1, max_length=64)
    on_failure: list[StepSpec] = Field(default=[], max_length=16, alias="onFailure")


class Document(_Strict):
    """A playbook file."""

    model_config = _LENIENT
    api_version: Literal["sliceward.dev/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["Playbook"]
    metadata: Metadata
    spec: Spec


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema of a playbook file, for editors."""
    schema = Document.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "sliceward playbook"} | schema
