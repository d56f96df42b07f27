"""The runs that harm and were begun or ended of late, on which rates and rests are counted.

Read from the store when this replica takes the lead, and again after a save whose answer was lost; else only our own saves
change them, and each is noted. Read anew in each round, a day of runs would cost more than all deciding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.playbooks.world import Started

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sliceward.playbooks.run import Run


@dataclass(eq=False)
class Starts:
    """Starts by incident and time."""

    _known: dict[tuple[str, datetime], Started] = field(default_factory=dict)

    def read(self, stored: Iterable[Started]) -> None:
        """Forget all, and take what the store has."""
        self._known = {(one.incident, one.at): one for one in stored}

    def note(self, run: Run) -> None:
        """Note a run as it was just saved."""
        if run.harms:
            self._known[run.incident, run.started] = Started.of(run)

    def since(self, edge: datetime) -> tuple[Started, ...]:
        """Give those that were begun or ended since then; the others never matter again."""
        self._known = {key: one for key, one in self._known.items() if max(one.at, one.ended or one.at) >= edge}
        return tuple(self._known.values())
