"""The runs that harm and were begun or ended of late, on which rates and rests are counted.

Read from the store when this replica takes the lead, again after a save whose answer was lost, and where they cannot be trusted to
be whole or have become many; else only our own saves change them, and each is noted. Read anew in each round, a day of runs would
cost more than all deciding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.playbooks.world import Started

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sliceward.playbooks.run import Run


MANY = 1_000


@dataclass(eq=False)
class Starts:
    """Starts by incident and time."""

    _known: dict[tuple[str, datetime], Started] = field(default_factory=dict)
    _edge: datetime | None = None
    _many: int = MANY

    def read(self, stored: Iterable[Started], edge: datetime) -> None:
        """Forget all, and take what the store has since then."""
        self._known = {(one.incident, one.at): one for one in stored}
        self._edge, self._many = edge, 2 * len(self._known) + MANY

    def are_stale(self, edge: datetime) -> bool:
        """Whether the store must be read again: the clock was set back behind what was read, or much of what is kept is old."""
        return self._edge is None or edge < self._edge or len(self._known) > self._many

    def note(self, run: Run) -> None:
        """Note a run as it was just saved."""
        if run.harms:
            self._known[run.incident, run.started] = Started.of(run)

    def since(self, edge: datetime) -> tuple[Started, ...]:
        """Give those that were begun or ended since then. The others are kept: a clock that was ahead for a moment makes nothing old."""
        return tuple(one for one in self._known.values() if max(one.at, one.ended or one.at) >= edge)
