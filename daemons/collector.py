"""Short pauses of an event loop in a process that holds a large fleet: for the garbage collector, and for threads beside the loop.

A full collection looks at every container there is: over 10,000 nodes and 40,000 pods it stops the process for a second. What
has come to stay is therefore frozen while it is still little: a collection before that costs milliseconds, for it looks only at
what came since. What is gone again at the next look, such as the work of one reading, did not come to stay. Frozen objects are freed as ever when the last reference to them goes; only a cycle among them would stay, and
mirrors and snapshots have none. By itself the collector would make full collections besides, whenever a quarter more has come: each
holds up every thread, and most find what only passes by.

A thread that computes holds the interpreter for 5 ms before it lets another run, and each call of a socket gives it away: a turn of
the loop with twenty such calls would take 100 ms. So threads give way sooner.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import dataclass, field

EVERY = 0.25
"""Seconds between two looks: lists come in at some 20,000 containers in that time, so that one more look lets little wait."""
MANY = 100_000
"""Blocks of memory that were taken since all was frozen, three to a container or so; to look at those takes 5 ms or so."""
NEVER = 1_000_000
"""Collections of the middle generation after which there is a full one by itself; `Freezer` makes them in time."""
OFTEN = 20
"""Collections of the middle generation after which garbage is looked for: under hostile load some 1,000 objects, every second."""
GIVES_WAY = 0.0001
"""Seconds after which a thread lets another run that waits; a switch costs some millionths."""


@dataclass(slots=True)
class Freezer:
    """Freezes what has come to stay. ``_blocks``: the fewest that were in use since it last did; ``_seen``: at the last look.

    It counts blocks and not containers: who asks the collector for those holds them all for a moment, also the tuple that a thread
    is just making of what a generator gives, and that thread then fails (SystemError: bad argument to internal function).
    """

    _blocks: int = field(default_factory=sys.getallocatedblocks)
    _seen: int = 0

    def freeze_if_many(self) -> bool:
        """Freeze if much has come and was there at the last look already, and gives whether it was; else only take garbage away in time."""
        before, self._seen = self._seen, sys.getallocatedblocks()
        self._blocks = min(self._blocks, self._seen)
        if min(before, self._seen) - self._blocks < MANY:
            if gc.get_count()[2] >= OFTEN and self._seen - self._blocks < MANY:  # not while much has just come, to pass by
                gc.collect()  # garbage that gathers would make the next freezing long
            return False
        self.freeze()
        return True

    def freeze(self) -> None:
        """Freeze all there is."""
        gc.collect()  # what is garbage by now must not be kept
        gc.freeze()
        self._blocks = self._seen = sys.getallocatedblocks()


async def keep_short() -> None:
    """Keep pauses short until cancelled; what is frozen by then may be collected again, for who ends may begin anew in this process."""
    before = gc.get_threshold()
    sys.setswitchinterval(GIVES_WAY)
    gc.set_threshold(*before[:2], NEVER)
    freezer = Freezer()
    freezer.freeze()
    try:
        while True:
            await asyncio.sleep(EVERY)
            freezer.freeze_if_many()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
