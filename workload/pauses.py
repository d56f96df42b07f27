"""Time that a training process spends on something else than steps: what it says itself, and the garbage collector's.

A stall of a job looks like sick hardware from outside. Said from inside it is the job: it compiles, saves, waits for its input.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACTIVITIES = ("compile", "checkpoint", "input")
COLLECTING = "gc"


class Pauses:
    """Seconds since the process began, by what they went to; what is still going on counts up to now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing. The garbage collector is listened to until this is gone."""
        self._clock, self._lock = clock, threading.Lock()
        self._totals = dict.fromkeys(ACTIVITIES, 0.0)
        self._open: dict[str, tuple[float, int]] = {}  # since when, and by how many threads
        self._collected, self._collecting = 0.0, 0.0
        _listen(self)

    @contextmanager
    def doing(self, activity: str) -> Iterator[None]:
        """Count the time of the block; one that is not known counts nothing. In two threads at once it counts once."""
        known = activity in self._totals
        if known:
            with self._lock:
                since, threads = self._open.get(activity, (self._clock(), 0))
                self._open[activity] = (since, threads + 1)
        try:
            yield
        finally:
            if known:
                with self._lock:
                    since, threads = self._open.pop(activity)
                    if threads > 1:
                        self._open[activity] = (since, threads - 1)
                    else:
                        self._totals[activity] += self._clock() - since

    def collected(self, phase: str) -> None:
        """Hear of the garbage collector: it tells when it begins and when it ends, and never takes the lock (it may run within it)."""
        if phase == "start":
            self._collecting = self._clock()
        elif self._collecting:
            self._collected += self._clock() - self._collecting
            self._collecting = 0.0

    def seconds(self) -> dict[str, float]:
        """Give the seconds by activity; what never was is left out."""
        with self._lock:
            now, found = self._clock(), dict(self._totals)
            for activity, (since, _) in self._open.items():
                found[activity] += now - since
        found[COLLECTING] = self._collected
        return {activity: round(total, 3) for activity, total in found.items() if total > 0}


def _listen(pauses: Pauses) -> None:
    """Have the garbage collector tell ``pauses``, for as long as somebody holds it."""
    held = weakref.ref(pauses)

    def told(phase: str, _info: dict[str, int]) -> None:
        if (one := held()) is not None:
            one.collected(phase)

    gc.callbacks.append(told)
    weakref.finalize(pauses, gc.callbacks.remove, told).atexit = False
