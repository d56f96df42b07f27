"""A decision and its whole record: what was seen, which rule, each condition's value, each budget's numbers, what follows.

Made by `sliceward.playbooks.decide`; stored and shown as it is (invariant 9: explained from its record alone).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.playbooks.incident import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.playbooks.incident import Entry, How
    from sliceward.playbooks.run import Call, Run


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A named condition with what it came to. ``value`` is True, False or ``error: …``; an error is never False."""

    name: str
    expression: str
    value: bool | str
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spent:
    """A budget's numbers: ``used`` by others, ``asked`` for now, ``limit``. ``until``: when it can be better, if known."""

    name: str
    limit: float
    used: float
    asked: float
    ok: bool
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """A safety check that no playbook can switch off.

    Where it is not ok, ``needs`` says who must do something, and ``until`` when it passes by itself, if that is known.
    """

    name: str
    ok: bool
    why: str
    needs: Needs = Needs.NOTHING
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One playbook that was looked at. ``why_not`` is empty for the one that was chosen."""

    playbook: str
    matched: bool
    why_not: str
    conditions: tuple[Evaluated, ...] = ()


@dataclass(frozen=True, slots=True)
class RunStep:
    """Call this action now (``Run(step)`` in DESIGN.md). The run is `Decision.run`."""

    call: Call


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing now: decide again at ``until``, or when something changes.

    ``between``: only the pause between two tries of a step, or the settle time; nothing holds us back.
    """

    until: datetime
    why: str
    needs: Needs = Needs.NOTHING
    between: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """The story ends."""

    how: How
    why: str


Verdict = RunStep | Hold | Close


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows for one incident now, and why.

    ``run`` is the run as it stands after the decision (new, steered on, or None). ``entries`` are lines for the story
    that came from steering the run (a time-out, an abort, a cause that is gone). ``silenced``: which silence keeps the incident
    from opening a page, "" where none does.
    """

    incident: str
    at: datetime
    verdict: Verdict
    playbook: str = ""
    mode: str = ""
    run: Run | None = None
    candidates: tuple[Candidate, ...] = ()
    guards: tuple[Guard, ...] = ()
    budgets: tuple[Spent, ...] = ()
    entries: tuple[Entry, ...] = ()
    runbook: str = ""
    silenced: str = ""

    @property
    def conditions(self) -> tuple[Evaluated, ...]:
        """Those of the playbook that was chosen or came closest."""
        for candidate in self.candidates:
            if candidate.playbook == self.playbook:
                return candidate.conditions
        return ()
