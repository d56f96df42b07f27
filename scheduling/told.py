"""What a gang tells of how it runs, as its reporter's last word: steps, their rate, its last checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import LONGEST
from sliceward.scheduling.harm import Seen
from sliceward.scheduling.prices import Figure, slower

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.harm import Effect, Part
    from sliceward.scheduling.snapshot import Running

FRESH = timedelta(minutes=1)
"""What a gang told longer ago says nothing about whether it makes steps now."""


SLOWEST = 1 / LONGEST
"""Steps a second: a rate below it is none."""


@dataclass(frozen=True, slots=True)
class Told:
    """``rate`` and ``rate_before`` in steps a second, ``checkpoint_age`` in seconds before ``at``; None: not told."""

    at: datetime
    rate: float | None = None
    rate_before: float | None = None
    checkpoint_age: float | None = None

    def is_fresh(self, now: datetime) -> bool:
        """Whether it says something about now."""
        return now - self.at <= FRESH

    def steps(self, now: datetime) -> bool:
        """Whether the gang makes steps now."""
        return self.is_fresh(now) and bool(self.rate)

    def paced(self, gang: Running) -> Running:
        """Give a gang with what it told of its steps and checkpoints; what cannot be is as if it were not told."""
        before = self.rate_before
        return replace(gang, checkpointed=self._saved(), step=1 / before if before is not None and before > SLOWEST else None)

    def seen(self, now: datetime, effects: Mapping[Part, Effect] | None = None) -> Seen:
        """Give what is seen of the gang by its own word. One that makes steps saves itself when asked."""
        return Seen(self._slower(now), at=min(self.at, now), saves=self.steps(now), effects=effects or {})

    def _saved(self) -> datetime | None:
        try:
            return None if self.checkpoint_age is None else self.at - timedelta(seconds=self.checkpoint_age)
        except OverflowError:
            return None

    def _slower(self, now: datetime) -> Figure | None:
        before = self.rate_before
        if not self.is_fresh(now) or self.rate is None or before is None or before <= SLOWEST:
            return None
        return slower(self.rate / before, "its step rate", max(0.0, (now - self.at).total_seconds()))
