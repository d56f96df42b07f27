"""Rounds over the sources: all at once, each with its time-out, none able to delay or end the others.

A source that cannot be opened is opened again in later rounds; until then it is its age like one that cannot be read.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.sources.source import Reading
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sliceward.daemons.sources.source import Layout, Source

log = structlog.get_logger(__name__)

_LONGEST = 300  # characters of an error: what it quotes was written by others
_STILL_TRUE = 3.0  # a reading counts for this many floors or periods, then its values are missing rather than old


@dataclass(eq=False, slots=True)
class Slot:
    """One source and how it does. Times in seconds of the monotonic clock."""

    source: Source
    good: float
    is_open: bool = False
    ever: bool = False
    began: float = -math.inf
    reading: Reading = field(default_factory=Reading)
    error: str = ""
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What all sources say now, merged. ``columns`` hold every metric of which any value is known."""

    columns: dict[str, list[float]]
    notes: dict[str, str]


class Rounds:
    """Reads sources again and again. ``clock`` is monotonic, ``wall`` gives unix seconds."""

    def __init__(
        self,
        sources: Iterable[Source],
        layout: Layout,
        *,
        period: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begin with nothing read."""
        self._layout, self._period, self._clock, self._wall = layout, period, clock, wall
        self.slots = [Slot(source, clock()) for source in sources]
        self.counts: Counter[str] = Counter()

    async def read(self) -> Round:
        """Begin a read of each source that is due, wait for them at most most of a period, and merge what is known."""
        now = self._clock()
        for slot in self.slots:
            # A tenth of tolerance, so that a floor equal to the period does not skip every second round.
            if slot.task is None and now - slot.began >= slot.source.floor - 0.1 * self._period:
                slot.began = now
                slot.task = asyncio.create_task(self._read(slot), name=f"read {slot.source.name}")
        running = [slot.task for slot in self.slots if slot.task is not None]
        if running:
            await asyncio.wait(running, timeout=0.8 * self._period)
        return self._merged(self._clock())

    async def open(self) -> None:
        """Open all sources before the first round, so that who waits at a door need not wait for a round."""
        await asyncio.gather(*(self._guarded(slot, self._opened(slot)) for slot in self.slots))

    async def close(self) -> None:
        """Give up what still runs, and close what was opened."""
        running = [slot.task for slot in self.slots if slot.task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=1.0)
        for slot in reversed(self.slots):
            if slot.is_open:
                slot.is_open = False
                await self._guarded(slot, slot.source.__aexit__(None, None, None))

    def age(self, slot: Slot) -> float:
        """Give the seconds since a source's last good reading, or since the start."""
        return max(0.0, self._clock() - slot.good)

    async def _read(self, slot: Slot) -> None:
        try:
            await self._guarded(slot, self._once(slot))
        finally:
            slot.task = None

    async def _once(self, slot: Slot) -> None:
        await self._opened(slot)
        slot.reading = await slot.source.read(self._wall())
        slot.good, slot.ever, slot.error = self._clock(), True, ""

    async def _opened(self, slot: Slot) -> None:
        if not slot.is_open:
            await slot.source.__aenter__()
            slot.is_open = True

    async def _guarded(self, slot: Slot, work: Awaitable[object]) -> None:
        """Let a source work within its time-out; whatever it meets becomes its error."""
        try:
            async with asyncio.timeout(slot.source.timeout):
                await work
        except TimeoutError:
            self._failed(slot, f"no reading within {slot.source.timeout:g} s")
        except Retry as error:
            self._failed(slot, str(error))
        except Exception as error:
            # Whatever a source meets on a sick host is a reading of its own (its age), never the end of the agent.
            told = f"{type(error).__name__}: {error}"[:_LONGEST]
            if slot.error != told:
                log.exception("source failed", source=slot.source.name)
            self._failed(slot, told)

    def _failed(self, slot: Slot, error: str) -> None:
        self.counts[slot.source.name] += 1
        error = error[:_LONGEST]
        if slot.error != error:
            log.info("source not read", source=slot.source.name, why=error)
        slot.error = error

    def _merged(self, now: float) -> Round:
        columns: dict[str, list[float]] = {}
        notes: dict[str, str] = {}
        for slot in self.slots:
            age = now - slot.good
            limit = _STILL_TRUE * max(self._period, slot.source.floor) + slot.source.timeout
            if slot.ever and age <= limit:
                for metric, values in slot.reading.columns.items():
                    _fill(columns.setdefault(metric, self._layout.column(metric)), values)
                notes |= slot.reading.notes
            if slot.source.age_metric:
                columns.setdefault(slot.source.age_metric, [max(0.0, age)])
        return Round(columns, notes)


def _fill(column: list[float], values: Iterable[float]) -> None:
    """Put ``values`` where the column has none yet."""
    for place, value in enumerate(values):
        if place < len(column) and math.isnan(column[place]):
            column[place] = float(value)
