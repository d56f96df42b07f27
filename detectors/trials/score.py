"""Findings held against labels: which faults were named, how late, and how many findings were about nothing.

A finding is right for a label if it names the label's part (and kind, where the label tells one) and fired while the fault
lasted, or within the label's patience after it. Everything that fired counts, also what only asks to look.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 (pydantic reads it at run time)
from statistics import median
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sliceward.detectors.finding import Finding, Kind, State
from sliceward.detectors.rules.load import refusals
from sliceward.detectors.rules.units import Span, Time
from sliceward.topology import yaml_text
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Label(BaseModel):
    """A fault that was there: ``part`` as ids print, from when to when. ``after``: how long after its end it may still be named."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=True)

    part: str
    kind: Kind | None = None
    began: AwareDatetime = Field(alias="from")
    ended: AwareDatetime = Field(alias="to")
    after: Time = Span(seconds=60)

    @model_validator(mode="after")
    def _in_order(self) -> Label:
        try:
            parse(self.part)
        except Misconfigured as error:
            raise ValueError(f"{error.why}; write a part as ids print: c1/chip/HOST/0") from None
        if self.ended < self.began:
            raise ValueError(f"ends at {self.ended}, before it begins at {self.began}")
        return self

    def names(self, episode: Episode) -> bool:
        """Whether an episode is about this fault."""
        late = (episode.began - self.ended).total_seconds()
        over = episode.ended is not None and episode.ended < self.began
        kind = self.kind is None or self.kind is episode.kind
        return kind and episode.part == self.part and late <= self.after.seconds and not over


@dataclass(slots=True)
class Episode:
    """One stretch in which one finding fired. ``ended`` None: it fired to the end of the recording."""

    part: str
    kind: Kind
    detector: str
    began: datetime
    text: str
    ended: datetime | None = None


@dataclass
class Episodes:
    """Every episode, from the findings of round after round."""

    found: list[Episode] = field(default_factory=list)
    _open: dict[str, Episode] = field(default_factory=dict)

    def take(self, findings: Iterable[Finding], now: datetime) -> None:
        """Take in the findings of one round. One that is unknown goes on: nobody said that it is over."""
        for finding in findings:
            known = self._open.get(finding.id)
            if known is None and finding.state is State.FIRING:
                known = self._open[finding.id] = Episode(str(finding.part), finding.kind, finding.detector, now, finding.text)
                self.found.append(known)
            elif known is not None and finding.state is State.FIRING:
                known.text = finding.text
            elif known is not None and finding.state is State.RESOLVED:
                known.ended = now
                del self._open[finding.id]


@dataclass(frozen=True, slots=True)
class Score:
    """``precision`` and ``recall`` are None where there is nothing to divide by; delays in seconds over the faults that were named."""

    findings: int
    right: int
    faults: int
    named: int
    delay_median: float | None
    delay_p95: float | None
    missed: tuple[str, ...]

    @property
    def precision(self) -> float | None:
        """The share of findings that named a fault."""
        return self.right / self.findings if self.findings else None

    @property
    def recall(self) -> float | None:
        """The share of faults that were named."""
        return self.named / self.faults if self.faults else None


def score(episodes: Sequence[Episode], labels: Sequence[Label]) -> Score:
    """Hold episodes against labels."""
    delays: list[float] = []
    missed: list[str] = []
    for label in labels:
        seen = [episode.began for episode in episodes if label.names(episode)]
        if seen:
            delays.append(max(0.0, (min(seen) - label.began).total_seconds()))
        else:
            missed.append(f"{label.kind or 'a fault'} of {label.part} from {label.began.isoformat()}")
    right = sum(any(label.names(episode) for label in labels) for episode in episodes)
    delays.sort()
    late = delays[min(len(delays) - 1, int(0.95 * len(delays)))] if delays else None
    middle = median(delays) if delays else None
    return Score(len(episodes), right, len(labels), len(delays), middle, late, tuple(missed))


def read_labels(text: str, file: str) -> tuple[Label, ...]:
    """Give the labels of a YAML or JSON file: a list of part, kind (optional), from and to.

    Raises:
        Misconfigured: by file, line and column.
    """
    found = yaml_text.read(text, file)
    if not isinstance(found.value, list):
        raise Misconfigured(f"{file}:1:1", "is no list of labels", "Write entries with part, from and to")
    labels = []
    for number, body in enumerate(found.value):
        if not isinstance(body, dict):
            raise Misconfigured(found.place((number,)), "is not a label", "Write part, from and to")
        try:
            labels.append(Label.model_validate(body))
        except ValidationError as error:
            raise refusals(found, (number,), body, (Label, {}), error)[0] from None
    return tuple(labels)
