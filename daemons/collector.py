"""Short pauses of an event loop in a process that holds a large fleet: for the garbage collector, and for threads beside the loop.

A full collection looks at every container there is: over 10,000 nodes and 40,000 pods it stops the process for a second. What
has come to stay is therefore frozen while it is still little: a collection before that costs milliseconds, for it looks only at
what came since. Frozen objects are freed as ever when the last reference to them goes; only a cycle among them would stay, and
mirrors and snapshots have none.

A thread that computes holds the interpreter for 5 ms before it lets another run, and each call of a socket gives it away: a turn of
the loop with twenty such calls would take 100 ms. So threads give way sooner.
"""

from __future__ import annotations

import asyncio
import gc
import sys

EVERY = 0.25
"""Seconds between two looks: lists come in at some 20,000 containers in that time."""
MANY = 30_000
"""Containers that have come to stay and are not frozen yet; to look at them takes 5 ms or so."""
GIVES_WAY = 0.0005
"""Seconds after which a thread lets another run that waits; a switch costs some millionths."""
_OLDEST = 2


def _how_many() -> int:
    """Count the containers that have come to stay and are not frozen, in one step of the interpreter.

    Among them may be a tuple that another thread is just making of a generator: while somebody holds it, to make it longer is a
    SystemError over there (CPython issue 15108). Between two steps another thread may have its turn; here there are none.
    """
    return next(map(len, map(gc.get_objects, (_OLDEST,))))


def freeze_if_many() -> bool:
    """Freeze what has come to stay, if it is much; gives whether it was."""
    if _how_many() < MANY:
        return False
    gc.collect()  # what is garbage by now must not be kept
    gc.freeze()
    return True


async def keep_short() -> None:
    """Keep pauses short until cancelled."""
    sys.setswitchinterval(GIVES_WAY)
    gc.collect()
    gc.freeze()
    while True:
        await asyncio.sleep(EVERY)
        freeze_if_many()
