"""An event loop without sockets, threads and real time: seeded order of ready callbacks, and a crash between any two of them.

Who drives it (`sliceward.simulation.virtual.timeline`) calls `run`, for one callback at a time where several loops share the time. `drop` is a power cut: nothing that
was scheduled runs any more, and what clean-up code of the dropped tasks does reaches nobody (the ports ask whether their caller
lives). The order is the same for the same seed, also where asyncio goes through sets of tasks: tasks are numbered.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio.events import _set_running_loop
from asyncio.futures import _set_result_unless_cancelled  # type: ignore[attr-defined]  # in no stub: it ends `asyncio.sleep`
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Generator, Iterator
    from contextvars import Context

    from sliceward.simulation.virtual.agenda import Clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MOST = 5_000
"""Callbacks in one run at one instant of virtual time: more is a loop that never waits."""
_KEPT = 256
"""Tasks that are remembered before those that are over are forgotten."""
_LAST_WORDS = 8
"""How often a dropped coroutine may swallow its end; each ``async with`` of it may do so once."""


class NumberedTask(asyncio.Task[T]):
    """A task whose place in a set depends on when it was made, not on where it lies in memory."""

    number = 0
    _log_destroy_pending: bool  # in no stub

    def leave(self) -> None:
        """Be left pending on purpose: nobody is told when it is collected."""
        self._log_destroy_pending = False

    def __hash__(self) -> int:
        """Give its number; asyncio asks for it while the task is being made, when the class has it."""
        return self.number


_OF_ONE_LOOP = 24
"""Bits of a number that one loop gives: asyncio keeps the tasks of all loops in one set, and would compare those with equal numbers."""


class _Handle(asyncio.Handle):
    """A handle that is made without asking the loop whether it debugs: half of the time that making one takes."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], loop: VirtualLoop, context: Context | None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None

    def cancel(self) -> None:
        """Be passed over."""
        self._cancelled = True


class _TimerHandle(_Handle, asyncio.TimerHandle):
    """The same with a time."""

    __slots__ = ()

    def __init__(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], loop: VirtualLoop, context: Context | None
    ) -> None:
        super().__init__(callback, args, loop, context)
        self._when = when
        self._scheduled = True

    def wakes(self) -> bool:
        """End a sleep if that is all it does: then its sleeper is ready at once, and no callback comes in between."""
        if self._callback is not _set_result_unless_cancelled:
            return False
        self._callback(*self._args)
        return True


class VirtualLoop(asyncio.AbstractEventLoop):
    """One loop of one life. ``problems``: what nobody caught, in order."""

    def __init__(self, clock: Clock, dice: random.Random) -> None:
        """Begin with nothing to do, at the clock's present time."""
        self.problems: list[str] = []
        self._clock = clock
        self._random = dice.random
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, _TimerHandle]] = []
        self._tasks: list[NumberedTask[Any]] = []
        self._made = 0
        self._first = dice.getrandbits(32) << _OF_ONE_LOOP
        self._dropped = False

    # ── for who drives it ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def busy(self) -> bool:
        """Whether a callback is ready at this moment of virtual time."""
        self._collect()
        return bool(self._ready)

    @property
    def due(self) -> float:
        """When the next timer is due; infinite where there is none."""
        return self._timers[0][0] if self._timers else float("inf")

    def run(self, each: Callable[[VirtualLoop], bool] | None, *, one: bool) -> int:
        """Run ready callbacks, each drawn at random, until none is left, or only ``one``; give how many.

        ``each`` is asked before each of them; where it says no, this loop runs no more for now.
        """
        ready, timers, random, steps = self._ready, self._timers, self._random, 0
        _set_running_loop(self)
        try:
            while ready and steps < MOST:
                steps += 1
                if each is not None and not each(self):
                    break
                if len(ready) > 1:
                    place = int(random() * len(ready))
                    ready[place], ready[-1] = ready[-1], ready[place]
                handle = ready.pop()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 (what a loop is expected to do)
                if one:
                    break
                if timers and timers[0][0] <= self._clock.seconds:
                    self._collect()
        finally:
            _set_running_loop(None)
        return steps

    def _collect(self) -> None:
        """Make ready what is due. A sleep that is over makes its sleeper ready at once."""
        timers = self._timers
        if not timers:
            return
        now = self._clock.seconds
        while timers and (timers[0][0] <= now or timers[0][2].cancelled()):
            handle = heapq.heappop(timers)[2]
            if not handle.cancelled() and not handle.wakes():
                self._ready.append(handle)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let code outside of a step make tasks and futures of this loop."""
        _set_running_loop(self)
        try:
            yield
        finally:
            _set_running_loop(None)

    def drop(self) -> None:
        """Cut the power: nothing of this loop runs any more."""
        self._dropped = True
        self._ready.clear()
        self._timers.clear()
        with self.running():
            for task in reversed(self._tasks):
                task.leave()
                _end(task)
        self._tasks.clear()

    # ── for asyncio ───────────────────────────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        """Give virtual seconds."""
        return self._clock.seconds

    def get_debug(self) -> bool:
        """Be quick."""
        return False

    def is_running(self) -> bool:
        """Be alive until the power is cut."""
        return not self._dropped

    def is_closed(self) -> bool:
        """Be alive until the power is cut."""
        return self._dropped

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Make a task."""
        if len(self._tasks) > _KEPT:
            self._tasks = [task for task in self._tasks if not task.done()]
        self._made += 1
        NumberedTask.number = number = self._first + self._made
        task = NumberedTask(coro, loop=self, name=name, context=context)
        task.number = number
        self._tasks.append(task)
        return task

    def call_soon(self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        """Make a callback ready."""
        handle = _Handle(callback, args, self, context)
        if not self._dropped:
            self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Make a callback ready in so many virtual seconds."""
        return self.call_at(self._clock.seconds + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Make a callback ready at a virtual time."""
        handle = _TimerHandle(when, callback, args, self, context)
        if not self._dropped:
            self._made += 1
            heapq.heappush(self._timers, (when, self._made, handle))
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what nobody caught."""
        if not self._dropped:
            self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")


def _end(task: asyncio.Task[Any]) -> None:
    """Close a task's coroutine as a garbage collector would, but now."""
    coroutine = task.get_coro()
    if coroutine is None:
        return
    for _ in range(_LAST_WORDS):
        try:
            coroutine.close()
        except RuntimeError:
            continue  # it awaited something in its clean-up
        except BaseException:  # noqa: BLE001 (whatever it says now, nobody hears it)
            return
        return
