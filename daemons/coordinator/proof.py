"""Whether this replica still leads where no Lease says so: asked of the store right before a call, unless it has just said so.

A process may be frozen between an intent and its call, and meanwhile another may begin on the same store. What the store said counts
for half of ``grace``, from the moment on at which it held the fence; who begins waits for the whole of it before its first call. So
nobody calls any more on an old answer once another does.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.daemons.store import Store

log = structlog.get_logger(__name__)

LEAST_GRACE = timedelta(seconds=1)
"""Less than that leaves a store no time to answer in (`PaceSettings.broker_grace`)."""
TRIES = 2
"""Questions of one look: the answer to the first may have waited while this process was frozen."""
LONGEST = 20.0
"""Seconds for all questions of one look: whoever waits for them is no later than that, and late loops are restarted."""
MOMENT = 1.0
"""Seconds for which one refusal holds for all: who asks by then takes it, and the store is left alone."""


@dataclass(eq=False)
class Proof:
    """``fence``: told why another leads, where that is so. ``monotonic``: seconds.

    ``begun``: when this replica's epoch began. ``took``: how old the store's last answer was when it came, in seconds from when the fence
    was held. ``why``: why nothing can be called now, "" while it can.
    """

    store: Store
    grace: timedelta
    monotonic: Callable[[], float]
    fence: Callable[[str], None]
    begun: float = -math.inf
    took: float = 0.0
    why: str = ""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refused: float = -math.inf  # when the store was last asked in vain

    @property
    def lasts(self) -> float:
        """Seconds for which an answer counts."""
        return self._quiet / 2

    @property
    def _quiet(self) -> float:
        return max(self.grace, LEAST_GRACE).total_seconds()

    def begin(self) -> None:
        """Say that an epoch of this replica has just begun."""
        self.begun = self.monotonic()

    async def look(self) -> None:
        """Answer once it is known that this replica leads, with nothing awaited since.

        Raises:
            Refused: another leads.
            Retry: the store does not say, or not in time.
        """
        left = self.begun + self._quiet - self.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        if not self._holds:
            async with self._asking:  # who waited here takes what was answered meanwhile, whichever it is
                if not self._holds:
                    await self._ask()
        self._tell("")

    @property
    def _holds(self) -> bool:
        return self.store.proof_age <= self.lasts

    async def _ask(self) -> None:
        """Ask until an answer counts, unless that was just in vain."""
        if self.why and 0 <= self.monotonic() - self._refused <= MOMENT:
            raise Retry(self.why)
        try:
            async with asyncio.timeout(LONGEST):
                why = await self._answered()
        except Refused as error:
            self.fence(str(error))
            raise
        except Retry as error:
            why = str(error)
        except TimeoutError:
            why = f"the store does not say in {LONGEST:g} s who leads: nothing is called"
        if why:
            self._refused = self.monotonic()
            self._tell(why)
            raise Retry(why)

    async def _answered(self) -> str:
        """Ask until an answer counts; gives why none does, "" where one does."""
        for _ in range(TRIES):
            await self.store.confirm()
            self.took = self.store.proof_age
            if self._holds:
                return ""
        return f"the store takes longer than {self.lasts:g} s to say who leads ({self.took:.1f} s): nothing is called"

    def _tell(self, why: str) -> None:
        """Say once that nothing can be called, and once that it can again."""
        if why and not self.why:
            log.warning("nothing is called", why=why)
        elif self.why and not why:
            log.info("calls go on")
        self.why = why
