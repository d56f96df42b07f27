"""Files that may hang (a dying disk, a stuck driver) are read on threads that nobody has to wait for.

An executor's threads are joined when the program ends, so one hung read would keep a stopped agent alive; daemon threads
are not, and a second read is not begun while the first still hangs.
"""

from __future__ import annotations

import asyncio
import threading
import time
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
        threading.Thread(target=self._work, args=(work, loop, done), name="sliceward-read", daemon=True).start()
        return await done

    def _work(self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any]) -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # noqa: BLE001 (handed to whoever waits)
            error = raised
        self._began = None
        try:
            loop.call_soon_threadsafe(_settle, done, result, error)
        except RuntimeError:
            return  # the loop has ended meanwhile; nobody waits any more


def _settle(done: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
