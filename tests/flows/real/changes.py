"""A gate at which the lead changes twice: its first holder is killed and its second frozen, each about to bring something about."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tests.flows.real.toll import Blow, Gate

if TYPE_CHECKING:
    from tests.flows.real.toll import Effect, Tolls


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
    _answered: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def blow(self, effect: Effect) -> Blow | None:
        """Give the one blow there is."""
        return Blow("before", effect) if effect.kind == self.kills and not self.blows else None

    async def hold(self, tolls: Tolls, effect: Effect) -> None:
        """Freeze the one, and keep what it had sent."""
        if self.frozen is None and effect.kind == self.freezes:
            assert tolls.victim is not None
            tolls.victim.send(signal.SIGSTOP)
            self.frozen = tolls
        if self.frozen is not tolls:
            return
        if self._open.is_set():
            self.more.append(effect)
            return
        self.late.append(effect)
        await self._open.wait()

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
