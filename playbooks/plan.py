"""What a playbook would do, in order, without doing it: what ``sliceward playbook plan`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from sliceward.playbooks.load import PlannedStep, Playbook


class Told(Protocol):
    """What planning needs to know of an action."""

    @property
    def about(self) -> str:
        """What it does, in a sentence."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """One step as it would be. ``applies``: True, False, or why that is not known yet. ``undo``: the action that takes it back."""

    number: int
    step: str
    action: str
    about: str
    applies: bool | str
    irreversible: bool
    harm: bool
    undo: str
    timeout: timedelta
    on_error: str
    on_failure_only: bool = False

    def __str__(self) -> str:
        """Print as one line."""
        marks = [name for name, there in (("irreversible", self.irreversible), ("harms", self.harm)) if there]
        marks += [f"undone by {self.undo}"] if self.undo else []
        skipped = "" if self.applies is True else "  [skipped]" if self.applies is False else f"  [if: {self.applies}]"
        return f"{self.number:>2}. {self.action:<18} {self.about}" + (f" ({', '.join(marks)})" if marks else "") + skipped


def plan(playbook: Playbook, catalog: Mapping[str, Told], inputs: Mapping[str, Any] | None = None) -> tuple[Change, ...]:
    """Give the changes in order, then what happens on failure.

    ``inputs`` (see `sliceward.playbooks.inputs`) decide each ``when``; without them the condition itself is shown.
    """
    steps = _changes(playbook.steps, catalog, inputs, first=1)
    return (*steps, *_changes(playbook.on_failure, catalog, inputs, first=len(steps) + 1, on_failure_only=True))


def _changes(
    steps: Sequence[PlannedStep],
    catalog: Mapping[str, Told],
    inputs: Mapping[str, Any] | None,
    *,
    first: int,
    on_failure_only: bool = False,
) -> tuple[Change, ...]:
    return tuple(
        Change(
            number=number,
            step=step.spec.name,
            action=step.spec.action,
            about=catalog[step.spec.action].about,
            applies=_applies(step, inputs),
            irreversible=step.irreversible,
            harm=step.harm,
            undo=step.inverse,
            timeout=step.spec.timeout,
            on_error=step.spec.on_error.value,
            on_failure_only=on_failure_only,
        )
        for number, step in enumerate(steps, start=first)
    )


def _applies(step: PlannedStep, inputs: Mapping[str, Any] | None) -> bool | str:
    if step.when is None:
        return True
    return step.when.expression if inputs is None else step.when.evaluate(inputs).value
