"""The reporter that a training script holds: steps and checkpoints in, requests for a checkpoint out.

A step costs a few assignments on the training thread; everything else happens on a daemon thread (`connection`). Nothing
raises into the job and nothing waits: with no agent, a full socket or a broken one, the job does not notice.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from sliceward.workload.chips import Chips, find_chips
from sliceward.workload.connection import Connection, Side, address_from
from sliceward.workload.identity import job_from
from sliceward.workload.messages import VERSION
from sliceward.workload.pauses import Pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

_MOST_WAITING = 64
_MOST_TEXT = 2000
_LEAST_WAIT, _MOST_WAIT = 0.05, 600.0
_NO_STEP = 2**63
_EACH = weakref.WeakSet["Reporter"]()


class Reporter:
    """Reports one training process. Make it with `report`."""

    def __init__(self, environ: Mapping[str, str], *, chips: Chips | None = None, start: bool = True) -> None:
        """``chips`` None: looked for in libtpu after the first step. ``start`` False: nothing is sent (for tests)."""
        self._chips, self._chips_floor = chips, _seconds(environ, "SLICEWARD_CHIP_SECONDS", 10.0)
        self._chips_read, self._chip_facts = float("-inf"), dict[str, Any]()
        self._step: tuple[int, float, int] | None = None  # step, when it ended, how many have ended
        self._sent: tuple[int, float, int] | None = None
        self._checkpoint: tuple[int, float] | None = None
        self._request: tuple[str, float, int] | None = None  # id, deadline in unix seconds, first step to save at
        self._callback: Callable[[], int | None] | None = None
        self._pauses = Pauses()
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._stop = threading.Event()
        side = Side(
            hello={"version": VERSION, "job": job_from(environ).as_json(), "pid": os.getpid()},
            state=lambda: self._state(time.monotonic()),
            waiting=self._waiting,
            incoming=self._incoming,
            period=_seconds(environ, "SLICEWARD_REPORT_SECONDS", 1.0),
        )
        self._connection = Connection(address_from(environ), side)
        _EACH.add(self)
        if start:
            threading.Thread(target=self._connection.run, args=(self._stop,), name="sliceward", daemon=True).start()

    def step(self, number: int) -> None:
        """Say that step ``number`` has ended. Runs the checkpoint callback here if a checkpoint was asked for."""
        done = self._step[2] if self._step is not None else 0
        self._step = (number, time.monotonic(), done + 1)
        if self._request is not None and self._callback is not None and self.checkpoint_requested():
            self._save(self._request, self._callback)

    def checkpointed(self, step: int) -> None:
        """Say that a checkpoint of ``step`` is complete and durable; answers a request that waits for one."""
        self._checkpoint = (step, time.monotonic())
        request, self._request = self._request, None
        if request is not None:
            self._waiting.append({"say": "answer", "id": request[0], "ok": True, "why": "", "checkpoint_step": _whole(step)})

    def checkpoint_requested(self) -> bool:
        """Whether the agent asks for a checkpoint now. In a job of many hosts, agree on it between them first."""
        request = self._request
        if request is None:
            return False
        if time.time() > request[1]:
            self._request = None
            return False
        step = None if self._step is None else _whole(self._step[0])
        return step is None or step >= request[2]

    def on_checkpoint(self, callback: Callable[[], int | None]) -> None:
        """Have ``callback`` called inside `step` when a checkpoint is asked for.

        It saves and returns the step that is safe, or None and calls `checkpointed` later (asynchronous checkpoints).
        """
        self._callback = callback

    def doing(self, activity: str) -> AbstractContextManager[None]:
        """Say what the block does instead of steps: ``compile``, ``checkpoint`` (one that steps wait for) or ``input``."""
        return self._pauses.doing(activity)

    def failing(self, why: str) -> None:
        """Say, before the process ends, why it fails; the first member of a gang to say so dates the fault."""
        self._waiting.append({"say": "event", "event": "fatal", "text": _text(why)})

    def close(self) -> None:
        """Stop reporting. Not needed: the thread ends with the process."""
        self._stop.set()

    def _save(self, request: tuple[str, float, int], callback: Callable[[], int | None]) -> None:
        try:
            saved = callback()
        except Exception as error:  # noqa: BLE001 (the job's own error belongs into the answer; the job goes on)
            self._request = None
            why = f"{type(error).__name__}: {_text(error)}"
            self._waiting.append({"say": "answer", "id": request[0], "ok": False, "why": why})
            return
        if saved is not None:
            self.checkpointed(saved)

    def _state(self, now: float) -> dict[str, Any]:
        """Give the state now. Runs on the reporter's thread."""
        state: dict[str, Any] = {"say": "state"}
        if (step := self._step) is not None:
            state["step"], state["step_age"] = _whole(step[0]), round(now - step[1], 6)
            before, self._sent = self._sent, step
            if before is not None and step[2] > before[2]:
                state["step_seconds"] = round((step[1] - before[1]) / (step[2] - before[2]), 9)
            self._read_chips(now)
        if (checkpoint := self._checkpoint) is not None:
            state["checkpoint_step"], state["checkpoint_age"] = _whole(checkpoint[0]), round(now - checkpoint[1], 6)
        if spent := self._pauses.seconds():
            state["spent"] = spent
        return {**state, **self._chip_facts}

    def _read_chips(self, now: float) -> None:
        """Read the chips, at most once per floor: frequent reads have crashed the host's own telemetry (v6e)."""
        if now - self._chips_read < self._chips_floor:
            return
        self._chips_read = now
        if self._chips is None:
            # Only now: before the first step the runtime may not be up, and libtpu's SDK would say nothing for ever.
            self._chips = find_chips()
        self._chip_facts = self._chips.read()

    def _incoming(self, message: dict[str, Any]) -> None:
        if message["say"] == "checkpoint":
            self._request = (str(message["id"]), float(message["deadline"]), int(message.get("at_step") or 0))

    def _forked(self) -> None:
        """In a child of the job (a data loader), which has no thread of ours: leave the connection to the parent."""
        self._connection.forget()
        self._waiting.clear()
        self._pauses = Pauses()  # a thread of the parent may have held its lock


def report(environ: Mapping[str, str] | None = None) -> Reporter:
    """Begin to report this process. Never raises; without an agent on the host it costs a reconnection now and then."""
    try:
        return Reporter(os.environ if environ is None else environ)
    except Exception:  # noqa: BLE001 (a process at its limit of threads, an environment of whatever: the job trains without us)
        return Reporter({}, start=False)


def _after_fork() -> None:
    for reporter in list(_EACH):
        reporter._forked()  # noqa: SLF001 (same module)


os.register_at_fork(after_in_child=_after_fork)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        told = float(environ.get(name, default))
    except ValueError:
        return default
    return min(max(_LEAST_WAIT, told), _MOST_WAIT) if math.isfinite(told) else default


def _text(why: object) -> str:
    """Give what an error says of itself; its type where it cannot say anything."""
    try:
        return str(why)[:_MOST_TEXT]
    except Exception:  # noqa: BLE001 (an exception of the job, whose ``__str__`` may be broken, and nothing may reach the job)
        return f"{type(why).__name__} that cannot be printed"[:_MOST_TEXT]


def _whole(number: object) -> int | None:
    """Give a step as an int, whatever the job calls a step (numpy, a JAX array); None where it is no number."""
    try:
        step = int(number)  # type: ignore[call-overload]  # asked of whatever the job gave us
    except Exception:  # noqa: BLE001 (a foreign type may raise anything, and nothing may reach the job)
        return None
    return step if abs(step) < _NO_STEP else None
