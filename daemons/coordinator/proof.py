"""Whether this replica still leads where no Lease says so: asked of the store right before a write, unless it has just said so.

A process may be frozen between an intent and its call, and meanwhile another may begin on the same store. What the store said counts
from when it was asked, and for less than that other waits before its first call (`PaceSettings.broker_grace`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sliceward.daemons.store import Store

FRESH = 1.0
"""Seconds for which a write to the store, counted from its begin, shows that nobody else leads."""
TRIES = 3


@dataclass(eq=False)
class Proof:
    """``fence``: told why another leads, where that is so."""

    store: Store
    clock: Callable[[], datetime]
    fence: Callable[[str], None]
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self) -> None:
        """Answer once it is known that this replica leads, with nothing awaited since.

        Raises:
            Refused: another leads.
            Retry: the store does not say, or not in time.
        """
        for _ in range(TRIES):
            if self.store.proof_age <= FRESH:
                return
            async with self._asking:
                if self.store.proof_age > FRESH:
                    await self._ask()
        if self.store.proof_age > FRESH:
            raise Retry(f"the store takes longer than {FRESH:g} s to say who leads")

    async def _ask(self) -> None:
        try:
            await self.store.prove(now=self.clock())
        except Refused as error:
            self.fence(str(error))
            raise
