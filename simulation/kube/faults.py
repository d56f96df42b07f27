"""Faults on command, in one place in front of all routes: which request is hit, and how.

A fault hits the ``nth`` request (and the ``times - 1`` after it) whose verb and path match, counted from when it was added.
The cruel one is `After`: the write happened, the caller saw an error.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Before:
    """Refuse without any effect; ``retry_after`` in seconds goes with 429 and 503."""

    code: int
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class After:
    """Do as asked, then answer an error."""

    code: int = 500


@dataclass(frozen=True, slots=True)
class Stall:
    """Wait before doing anything."""

    duration: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection in the middle of a line: after ``lines`` whole lines of a watch, or half way through an answer."""

    lines: int = 0


@dataclass(frozen=True, slots=True)
class WithholdBookmarks:
    """Send a watch no bookmark."""


@dataclass(frozen=True, slots=True)
class DuplicateEvents:
    """Send each event of a watch twice."""


@dataclass(frozen=True, slots=True)
class RaiseFloor:
    """Forget all history before the request is served, so that a watch from an older version is answered 410."""


Effect = Before | After | Stall | Cut | WithholdBookmarks | DuplicateEvents | RaiseFloor


@dataclass(slots=True, eq=False)
class Fault:
    """One effect on some requests.

    ``verb``: get, list, watch, create, update, patch, delete, deletecollection or ``*``. ``path``: a pattern of the URL path, such
    as ``/api/v1/nodes/*``.
    """

    effect: Effect
    verb: str = "*"
    path: str = "*"
    nth: int = 1
    times: int = 1
    seen: int = 0

    def hits(self, verb: str, path: str) -> bool:
        """Count a request; say whether it is hit."""
        if self.verb not in {"*", verb} or not fnmatch.fnmatchcase(path, self.path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


@dataclass(slots=True)
class Faults:
    """All faults in force, and the requests that were hit as (verb, path, effect)."""

    active: list[Fault] = field(default_factory=list)
    struck: list[tuple[str, str, Effect]] = field(default_factory=list)

    def add(self, effect: Effect, verb: str = "*", path: str = "*", *, nth: int = 1, times: int = 1) -> Fault:
        """Put a fault in force."""
        fault = Fault(effect, verb, path, nth, times)
        self.active.append(fault)
        return fault

    def clear(self) -> None:
        """End all faults."""
        self.active.clear()

    def take(self, verb: str, path: str) -> list[Effect]:
        """Give the effects on this request."""
        effects = [fault.effect for fault in self.active if fault.hits(verb, path)]
        self.struck += [(verb, path, effect) for effect in effects]
        return effects
