"""Calls of actions under way: many at once, but never two that touch the same host or gang.

What a call came to waits here until it is taken in with the next look at its cluster; until then its incident is busy.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Iterable

    from sliceward.playbooks.run import Call, Run
    from sliceward.remediations.outcome import Outcome

MOST_CALLS = 64


@dataclass(frozen=True, slots=True)
class Begun:
    """A call whose intent is saved with this run, or about to be."""

    incident: str
    run: Run
    call: Call

    @property
    def touched(self) -> frozenset[Hashable]:
        """The hosts and the gang that nobody else may touch meanwhile."""
        run = self.run
        return frozenset((*run.domain, *run.promised, *((run.gang,) if run.gang else ())))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to."""

    call: Call
    outcome: Outcome


@dataclass(eq=False, repr=False)  # what is held here is a whole fleet: no line of a traceback
class Calls:
    """The calls by incident. ``stirred`` is called whenever one has ended, ``freed`` where others were told to wait meanwhile."""

    stirred: Callable[[], None]
    freed: Callable[[], None]
    answers: dict[str, Answer] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[Outcome | None]] = field(default_factory=dict)
    _touched: set[Hashable] = field(default_factory=set)
    _others_wait: bool = False

    def begin(self, begun: Begun, work: Coroutine[None, None, Outcome | None]) -> None:
        """Begin a call. What it gives is its answer; None: there is none, and the intent stands."""
        name = begun.incident
        task = asyncio.create_task(work, name=f"{name} {begun.call.step.name}")
        self._tasks[name] = task
        self._touched |= begun.touched
        task.add_done_callback(lambda done: self._ended(begun, done))

    def _ended(self, begun: Begun, task: asyncio.Task[Outcome | None]) -> None:
        del self._tasks[begun.incident]
        self._touched -= begun.touched
        outcome = None if task.cancelled() else task.result()
        if outcome is not None:
            self.answers[begun.incident] = Answer(begun.call, outcome)
        self.stirred()
        if self._others_wait:
            self._others_wait = False
            self.freed()

    def is_busy(self, incident: str) -> bool:
        """Whether a call is under way for it, or its answer waits."""
        return incident in self._tasks or incident in self.answers

    def are_free(self, begun: Begun, beside: Iterable[Begun]) -> bool:
        """Whether one more may begin ``beside`` others that are about to: not too many, and none on the same host or gang."""
        others = tuple(beside)
        taken = self._touched.union(*(other.touched for other in others))
        free = len(self._tasks) + len(others) < MOST_CALLS and begun.touched.isdisjoint(taken)
        self._others_wait |= not free
        return free

    @property
    def under_way(self) -> bool:
        """Whether any is."""
        return bool(self._tasks)

    async def next(self) -> None:
        """Wait until one has ended, if any is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)

    async def drop(self) -> None:
        """Cancel all: their intents stand, and the next leader asks the world."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
