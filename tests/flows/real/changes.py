"""A gate at which the lead changes twice: its first holder is killed and its second frozen, each about to bring something about."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tests.flows.real.toll import Blow, Gate

if TYPE_CHECKING:
    from tests.flows.real.toll import Effect, Tolls


LOOK = 0.02
SINCE = (0.4, 1.2)
"""Seconds since the last answer about the Lease: it was heard, and the next is not due (every 2 s)."""


@dataclass(eq=False)
class Changes(Gate):
    """Who first asks for ``kills`` dies before it; who first asks for ``freezes`` is frozen, and what it had sent waits for `let_go`.

    ``frozen``: the ways of the one that was; ``late``: what it had sent; ``more``: what it asked for after it woke up.
    """

    buries: ClassVar[bool] = False
    kills: str = ""
    freezes: str = ""
    frozen: Tolls | None = None
    late: list[Effect] = field(default_factory=list)
    more: list[Effect] = field(default_factory=list)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def blow(self, effect: Effect) -> Blow | None:
        """Give the one blow there is."""
        return Blow("before", effect) if effect.kind == self.kills and not self.blows else None

    async def hold(self, tolls: Tolls, effect: Effect) -> None:
        """Freeze the one, and keep what it had sent."""
        if self.frozen not in (None, tolls) or (self.frozen is None and effect.kind != self.freezes):
            return
        if self._open.is_set():
            self.more.append(effect)
            return
        self.late.append(effect)
        if self.frozen is None:
            self.frozen = tolls
            await self._freeze(tolls)
        await self._open.wait()

    async def _freeze(self, tolls: Tolls) -> None:
        """Stop it, but not in the middle of a question about the Lease: it would wake up to give up the lead before anything else."""
        assert tolls.victim is not None
        while tolls.asking or not SINCE[0] < time.monotonic() - tolls.asked < SINCE[1]:  # noqa: ASYNC110 (time has to pass)
            await asyncio.sleep(LOOK)
        tolls.victim.send(signal.SIGSTOP)

    def let_go(self) -> None:
        """Pass on what was kept, and let the frozen one wake up; until `hears` it does not hear who holds the Lease."""
        assert self.frozen is not None
        assert self.frozen.victim is not None
        self.frozen.lease.clear()
        self._open.set()
        self.frozen.victim.send(signal.SIGCONT)

    def hears(self) -> None:
        """Let the one that woke up hear of the Lease."""
        assert self.frozen is not None
        self.frozen.lease.set()
