"""Events that wait for the broker, on disk so that a restart loses none; bounded, and what did not fit is counted.

One small JSON file, written anew beside itself and moved into place. If the disk is full or dead the events stay in memory
and the failure is counted: an agent on a host with a sick disk is exactly the one that must still speak.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import structlog

from sliceward.daemons.sources.threads import OneAtATime
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)

_PATIENCE = 5.0
Event = dict[str, Any]


class EventQueue:
    """First in, first out. ``most``: events kept; the oldest goes first."""

    def __init__(self, file: Path, *, most: int) -> None:
        """Nothing is read before `load`."""
        self._file, self._events = file, deque[Event](maxlen=most)
        self._thread, self._is_dirty = OneAtATime(), False
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """Count the waiting events."""
        return len(self._events)

    def load(self) -> None:
        """Take up what an earlier agent left. A file that cannot be read is set aside, not trusted and not deleted."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            if not isinstance(found, list) or not all(isinstance(event, dict) for event in found):
                raise ValueError("not a list of events")  # noqa: TRY301 (one way out for whatever the file holds)
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            self.counts["unreadable"] += 1
            log.warning("waiting events lost", file=str(self._file), why=str(error)[:200])
            try:
                self._file.replace(self._file.with_suffix(".unreadable"))
            except OSError:
                self.counts["not_saved"] += 1
            return
        waiting = list(self._events)
        self._events.clear()
        for event in [*found, *waiting]:
            self.put(event)

    def put(self, event: Event) -> None:
        """Add an event, at the cost of the oldest if there is no room."""
        if len(self._events) == self._events.maxlen:
            self.counts["dropped"] += 1
        self._events.append(event)
        self._is_dirty = True

    def first(self) -> Event | None:
        """Give the oldest event, None where nothing waits."""
        return self._events[0] if self._events else None

    def sent(self, event: Event) -> None:
        """Take out an event that the broker has confirmed (others may have pushed it out meanwhile)."""
        if self._events and self._events[0] is event:
            self._events.popleft()
            self._is_dirty = True

    async def save(self) -> None:
        """Bring the file up to date, if anything changed; failure is counted and tried again next time."""
        if not self._is_dirty:
            return
        self._is_dirty = False
        text = json.dumps(list(self._events))
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._thread.run(lambda: self._write(text))
        except (OSError, TimeoutError, Retry) as error:
            self._is_dirty = True
            self.counts["not_saved"] += 1
            log.warning("waiting events not saved", file=str(self._file), why=str(error) or "the disk hangs")

    def _write(self, text: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(self._file)
