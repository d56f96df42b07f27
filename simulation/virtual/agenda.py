"""Virtual time, and what is to be done at which of its moments: plain functions, called in the order of their times.

Everybody but the coordinators (controllers, hosts, people, the provider) acts by functions on the `Agenda`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN = datetime(2026, 11, 22, 12, tzinfo=UTC)
NEVER = float("inf")


@dataclass(slots=True)
class Clock:
    """Virtual time: monotonic ``seconds``, and wall time by calling it."""

    seconds: float = 0.0
    _told_at: float = 0.0
    _told: datetime = BEGIN

    def __call__(self) -> datetime:
        """Give the wall time; asked again and again at one instant."""
        if self._told_at != self.seconds:
            self._told_at, self._told = self.seconds, BEGIN + timedelta(seconds=self.seconds)
        return self._told


@dataclass(slots=True)
class Agenda:
    """Plain functions to call at their time, in the order of their times."""

    clock: Clock
    _entries: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _made: int = 0

    @property
    def due(self) -> float:
        """When the next is due; infinite where there is none."""
        return self._entries[0][0] if self._entries else NEVER

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Call it in so many seconds."""
        self._made += 1
        heapq.heappush(self._entries, (self.clock.seconds + seconds, self._made, call))

    def act(self) -> None:
        """Call the next one."""
        heapq.heappop(self._entries)[2]()
