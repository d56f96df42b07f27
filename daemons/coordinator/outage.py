"""Looks that come to nothing, one after the other: told of once, and each followed by a longer pause.

While the store is away changes go on; looked at for each of them, every look would cost a connection and a line of the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    import random

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0


@dataclass(eq=False)
class Outage:
    """``pause``: seconds to wait before the next look, 0 where the last one was whole."""

    dice: random.Random
    pause: float = 0.0
    _looks: int = 0
    _told: frozenset[type] = frozenset()

    @property
    def lasts(self) -> bool:
        """Whether the last look came to nothing."""
        return self._looks > 0

    def note(self, error: Exception) -> None:
        """Note that a look came to nothing; of a kind of error that was not told of since the last whole one, tell."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._looks, 16))
        self.pause = longest * self.dice.uniform(0.5, 1.0)
        self._looks += 1
        if type(error) in self._told:
            return
        self._told |= {type(error)}
        if isinstance(error, Retry | Refused):
            log.warning("round interrupted", why=str(error))
        else:
            log.error("round failed", exc_info=error)

    def end(self) -> None:
        """Note that a look was whole."""
        if self.lasts:
            log.info("rounds go on", interrupted=self._looks)
        self.pause, self._looks, self._told = 0.0, 0, frozenset()
