"""The loops beside the deciding one: a round again and again, whatever comes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from sliceward.daemons.cancelling import Cancelling
from sliceward.daemons.store import Unseated
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import timedelta

    from sliceward.daemons.loops import Loop

log = structlog.get_logger(__name__)


async def every(
    pause: timedelta, round_: Callable[[], Coroutine[Any, Any, object]], loop: Loop, woken: asyncio.Event | None = None
) -> None:
    """Run a round again and again, on a wake at once, whatever comes of it."""
    wake, cancelling = woken or asyncio.Event(), Cancelling()
    while True:
        cancelling.look()
        wake.clear()
        try:
            # In a task of its own: a TaskGroup whose last child fails while it ends leaves behind that it asked its task to end.
            await asyncio.create_task(round_())
        except Exception as raised:  # noqa: BLE001 (the guard of this loop)
            _note(loop, raised)
        try:
            async with asyncio.timeout(pause.total_seconds()):
                await wake.wait()
        except TimeoutError:
            pass


def _note(loop: Loop, raised: Exception) -> None:
    """Show what a round raised; the deadline passes unless something was only away."""
    match _plain(raised):
        case Retry() as error:
            loop.retried(str(error))
        case Unseated() as error:  # whoever must end for it was told by the store
            loop.failed(f"{type(error).__name__}: {error}")
        case error:
            loop.failed(f"{type(error).__name__}: {error}")
            log.error("round failed", loop=loop.name, exc_info=raised)


def _plain(raised: Exception) -> Exception:
    """Give the error that counts: of those that tasks of one round raised together, one that nobody expected before others."""
    if not isinstance(raised, ExceptionGroup):
        return raised
    inside = [_plain(one) for one in raised.exceptions]
    return next((one for one in inside if not isinstance(one, Retry | Refused)), inside[0])
