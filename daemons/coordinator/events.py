"""Server-sent events: each line of the story with its number as id, and a word when the fleet changed.

A client that is slow or comes back reads on from the journal at its own pace: nothing is queued for anybody.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from sliceward.daemons.coordinator import stories
from sliceward.daemons.coordinator.web import Problem, is_number
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.daemons.store import Store

MOST_LISTENERS = 64
ROWS = 200


@dataclass(eq=False)
class Bell:
    """Rings when the story or the fleet has something new. ``fleet`` counts changes of the fleet."""

    fleet: int = 0
    closing: bool = False
    _waiting: set[asyncio.Event] = field(default_factory=set)

    def entry(self, _seq: int = 0) -> None:
        """Say that the story went on."""
        self._ring()

    def changed(self) -> None:
        """Say that the fleet changed."""
        self.fleet += 1
        self._ring()

    def close(self) -> None:
        """Say that the daemon ends."""
        self.closing = True
        self._ring()

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._waiting)

    def listen(self) -> asyncio.Event:
        """Give an event that is set at each ring; give it back with `leave`."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def leave(self, event: asyncio.Event) -> None:
        """Listen no more."""
        self._waiting.discard(event)

    def _ring(self) -> None:
        for event in self._waiting:
            event.set()


@dataclass(frozen=True, slots=True)
class Events:
    """Answers ``GET /api/v1/events``. Times in seconds; ``clock`` is monotonic."""

    store: Store
    bell: Bell
    clock: Callable[[], float]
    heartbeat: float = 15.0
    fleet_every: float = 1.0

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Tell a client all that happens until it leaves."""
        if self.bell.listeners >= MOST_LISTENERS:
            raise Problem(503, "TooMany", f"{MOST_LISTENERS} clients listen already", "Try again later")
        seq = await self._begin(request)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        heard = self.bell.listen()
        try:
            await response.prepare(request)
            await response.write(b": hello\n\n")
            await self._tell(response, heard, seq)
        except ConnectionError:
            pass
        finally:
            self.bell.leave(heard)
        return response

    async def _begin(self, request: web.Request) -> int:
        after = request.query.get("after") or request.headers.get("Last-Event-ID") or ""
        if after and not is_number(after):
            raise Problem(400, "BadRequest", f"after {after[:40]!r} is no number", "Give the id of the last event that you saw")
        return int(after) if after else await self.store.history.last_seq()

    async def _tell(self, response: web.StreamResponse, heard: asyncio.Event, seq: int) -> None:
        fleet, told_at = self.bell.fleet, float("-inf")
        while not self.bell.closing:
            heard.clear()
            try:
                while rows := (await self.store.history.entries(after=seq, limit=ROWS)).items:
                    seq = int(rows[-1]["seq"])
                    for row in rows:
                        text = json.dumps(stories.entry_row(row))
                        await response.write(f"event: entry\nid: {row['seq']}\ndata: {text}\n\n".encode())
            except Retry:
                await response.write(b": the store is away\n\n")
            pause = self.heartbeat
            if self.bell.fleet != fleet:
                pause = told_at + self.fleet_every - self.clock()
                if pause <= 0:
                    fleet, told_at, pause = self.bell.fleet, self.clock(), self.heartbeat
                    await response.write(b"event: fleet\ndata: {}\n\n")
            try:
                async with asyncio.timeout(pause):
                    await heard.wait()
            except TimeoutError:
                if pause == self.heartbeat:
                    await response.write(b": still here\n\n")
