"""The comparison with peers as a task of its own: whatever it does, or takes, the rules beside it go on.

In: what one round may look at (`Sight`). Out: findings, put by until the one who tells takes them. A comparison that fails is counted and begins
anew, and its error is logged once; while none comes to its end, what was told before is unknown.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from sliceward.detectors.finding import Kind, State
from sliceward.detectors.passes import told

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from datetime import datetime, timedelta

    from sliceward.daemons.watcher.sight import Sight
    from sliceward.daemons.watcher.statistics import Statistics
    from sliceward.detectors.finding import Finding

    Beside = Callable[[Callable[[], None]], Awaitable[None]]

log = structlog.get_logger(__name__)

STALE = 6
"""Periods without a comparison after which nobody knows any more what was found."""
OFF = "nobody compares parts with their peers any more: statistics are switched off"
LATE = "nobody compares parts with their peers at the moment"


@dataclass(eq=False)
class Comparing:
    """One cluster's comparison. ``statistics`` None: switched off. ``found``: by id, what nobody took yet; ``news``: there is something.

    ``done_at``: when a comparison last came to its end, by ``steady``, seconds that nobody sets.
    """

    statistics: Statistics | None
    beside: Beside
    counts: Counter[str]
    steady: Callable[[], float]
    period: float
    keep: timedelta
    news: asyncio.Event = field(default_factory=asyncio.Event)
    found: dict[str, Finding] = field(default_factory=dict)
    done_at: float = field(init=False)
    _failure: str = ""

    def __post_init__(self) -> None:
        """Begin the first patience."""
        self.done_at = self.steady()

    @property
    def age(self) -> float:
        """Seconds since a comparison came to its end."""
        return self.steady() - self.done_at

    async def round(self, look: Callable[[], Sight]) -> str:
        """Compare once, beside the loop; give what went wrong, "" where nothing did. Never raises."""
        if self.statistics is None:
            return ""
        statistics = self.statistics
        found: list[Finding] = []
        try:
            sight = look()
            await self.beside(lambda: found.extend(statistics.round(sight)))
        except Exception as error:  # noqa: BLE001 (rules go on whatever comes of this; it is logged once, and counted)
            return self._failed(statistics, error)
        self.done_at = self.steady()
        self.found |= {one.id: one for one in found}
        if found:
            self.news.set()
        return ""

    def _failed(self, statistics: Statistics, error: Exception) -> str:
        self.counts["statistics_failed"] += 1
        why = f"{type(error).__name__}: {error}"
        if (failure := re.sub(r"\d+", "#", why)) != self._failure:
            self._failure = failure
            log.error(
                "comparison with peers failed", exc_info=error, more="counted, not logged again until it is another",
                what_to_do="Tell us; baselines are learnt anew",
            )  # fmt: skip
        statistics.begin_anew(why)
        return why

    def with_found(self, findings: Iterable[Finding]) -> list[Finding]:
        """Give all findings as they are once what was found is taken."""
        return list(({one.id: one for one in findings} | self.found).values())

    def take(self, findings: Iterable[Finding], now: datetime) -> list[Finding]:
        """Give what was found since the last time; where nobody compares, give those of ``findings`` that nobody knows of any more."""
        found, self.found = list(self.found.values()), {}
        given = {one.id for one in found}
        ours = (one for one in findings if one.detector == told.DETECTOR and one.state is not State.RESOLVED)
        return [*found, *self._unwatched((one for one in ours if one.id not in given), now)]

    def _unwatched(self, ours: Iterable[Finding], now: datetime) -> Iterator[Finding]:
        for one in ours:
            if self.statistics is not None:
                if one.state is State.FIRING and self.age > STALE * self.period:
                    yield replace(one, state=State.UNKNOWN, text=LATE)
            elif one.kind is Kind.PART_SUSPECT or now - one.seen >= self.keep:
                yield told.resolved(one, now, OFF)
            elif one.text != OFF or one.state is State.FIRING:
                yield replace(one, state=State.UNKNOWN, text=OFF)
