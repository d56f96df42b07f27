"""Who was frozen knows the world as it was before, whoever leads: it hears first what came meanwhile, and looks anew before it calls.

A stopped process finds what happened in its sockets when it wakes. What it had looked at and decided by then may be over: the fault gone,
the host in the hands of people. So between a look and the calls that follow from it lies no more than `LOOK_LASTS`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LOOK_LASTS = 10.0
"""Seconds; a look at 25,000 hosts that are all new takes some five."""
SLICE = LOOK_LASTS / 2
"""Longest rest without a look at the time: whoever rests for longer would not know how much of that it was frozen."""
HEARING = 1.0
"""Seconds in which what waits in the sockets is taken in."""
TRIES = 3


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Attention:
    """``seconds``: monotonic. ``rest``: lets others go on for so many."""

    seconds: Callable[[], float] = _now
    rest: Callable[[float], Awaitable[object]] = asyncio.sleep

    def is_over(self, looked: float) -> bool:
        """Whether a look at that time is too long ago to call anything by it."""
        return self.seconds() - looked > LOOK_LASTS

    async def hear(self, since: float) -> None:
        """Take in what came meanwhile, where that is too long ago: a look, or the beginning of a slice of a rest."""
        if self.is_over(since):
            await self.rest(HEARING)

    async def looked(self, since: float, look: Callable[[], Awaitable[object]]) -> float:
        """Look anew, without being frozen in the middle; gives when that began. ``since``: when what is to be called was looked at.

        Raises:
            Retry: it takes too long each time.
        """
        for _ in range(TRIES):
            await self.hear(since)
            since = self.seconds()
            await look()
            if not self.is_over(since):
                return since
        raise Retry(f"a look before a call takes longer than {LOOK_LASTS:g} s: nothing is called")
