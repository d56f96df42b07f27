"""Files that may hang (a dying disk, a stuck driver) are read on threads that nobody has to wait for.

An executor's threads are joined when the program ends, so one hung read would keep a stopped agent alive; daemon threads
are not, and a second read is not begun while the first still hangs. A thread that came back is used again, by whoever reads
next: starting one makes the loop wait until it runs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class OneAtATime:
    """Runs blocking functions, never two at once."""

    def __init__(self) -> None:
        """Begin idle."""
        self._began: float | None = None

    async def run(self, work: Callable[[], Result]) -> Result:
        """Give what ``work`` returns, or raise what it raises.

        Raises:
            Retry: the work of an earlier call has not come back yet.
        """
        if self._began is not None:
            raise Retry(f"the read before has hung for {time.monotonic() - self._began:.0f} s")
        self._began = time.monotonic()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        try:
            hand = _IDLE.pop()
        except IndexError:
            hand = _Hand()
        hand.work.put(lambda: self._work(hand, work, loop, done))
        return await done

    def _work(self, hand: _Hand, work: Callable[[], Any], loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any]) -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # noqa: BLE001 (handed to whoever waits)
            error = raised
        self._began = None
        _IDLE.append(hand)
        try:
            loop.call_soon_threadsafe(_settle, done, result, error)
        except RuntimeError:
            return  # the loop has ended meanwhile; nobody waits any more


class _Hand:
    """A daemon thread that does one piece of work after the other."""

    def __init__(self) -> None:
        """Start it; it waits."""
        self.work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name="sliceward-read", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.work.get()()


_IDLE: list[_Hand] = []
"""Threads of this process that wait for work."""


def _settle(done: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
