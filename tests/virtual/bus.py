"""A broker in virtual time, and each coordinator's wire to it: messages arrive one by one, late, twice, and after an outage anew.

Each message that is taken in is a callback of its coordinator's loop, so that it may come between any two steps, and so that a crash may
fall between two messages.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.daemons.topics import matches
from sliceward.daemons.wire import Message
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sliceward.simulation.virtual.loop import VirtualLoop
    from sliceward.simulation.virtual.way import Way

DELAY = 0.1
APART = 0.3
"""Share of messages that do not come right after the one before them."""
TWICE = 0.05
BACK_OFF = 2.0
"""Longest pause before a wire tries to connect again."""


@dataclass(eq=False, slots=True)
class VirtualBroker:
    """``ears``: who is told of each message that is published, beside the wires."""

    retained: dict[str, Message] = field(default_factory=dict)
    wires: list[VirtualBus] = field(default_factory=list)
    ears: list[Callable[[Message], None]] = field(default_factory=list)

    def publish(self, message: Message) -> None:
        """Route one message, and keep it if it is to be retained."""
        if message.retain and message.payload:
            self.retained[message.topic] = message
        elif message.retain:
            self.retained.pop(message.topic, None)
        for ear in self.ears:
            ear(message)
        for wire in list(self.wires):
            wire.put(replace(message, retain=False))

    def restart(self) -> None:
        """Come back empty, and lose every connection."""
        self.retained.clear()
        for wire in list(self.wires):
            wire.lose()


@dataclass(eq=False)
class VirtualBus:
    """One wire; see `sliceward.daemons.wire.Bus`. ``taken``: told of each message right before the coordinator is."""

    broker: VirtualBroker
    way: Way
    loop: VirtualLoop
    filters: tuple[str, ...]
    taken: Callable[[Message], None] = lambda _message: None
    counts: Counter[str] = field(default_factory=Counter)
    _waiting: deque[Message] = field(default_factory=deque)
    _coming: bool = False
    _lost: asyncio.Event = field(default_factory=asyncio.Event)
    _since: float = -math.inf
    _on_message: Callable[[Message], Awaitable[None] | None] = lambda _message: None

    @property
    def connected(self) -> bool:
        return self in self.broker.wires

    @property
    def age(self) -> float:
        return 0.0 if self.connected else self.way.agenda.clock.seconds - self._since

    def put(self, message: Message) -> None:
        """Let a message be on its way here."""
        if any(matches(pattern, message.topic) for pattern in self.filters):
            self._waiting.extend([message] * (2 if self.way.dice.random() < TWICE else 1))
            self._next()

    def _next(self) -> None:
        if self._waiting and not self._coming:
            self._coming = True
            delay = DELAY * self.way.dice.random() if self.way.dice.random() < APART else 0.0
            self.loop.call_later(delay, self._take)

    def _take(self) -> None:
        self._coming = False
        if self._waiting and self.way.life.alive:
            message = self._waiting.popleft()
            self.counts["received"] += 1
            self.taken(message)
            self._on_message(message)
        self._next()

    def lose(self) -> None:
        """Break the connection: what was on its way is lost."""
        if self.connected:
            self.broker.wires.remove(self)
            self._since = self.way.agenda.clock.seconds
            self._waiting.clear()
            self._lost.set()

    async def run(
        self,
        on_message: Callable[[Message], Awaitable[None] | None],
        on_connect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._on_message = on_message
        while True:
            while self.way.is_away:  # noqa: ASYNC110 (weather tells nobody when it is over)
                await asyncio.sleep(BACK_OFF * self.way.dice.random())
            self._lost = asyncio.Event()
            self.counts["connected"] += 1
            self.broker.wires.append(self)
            for message in list(self.broker.retained.values()):
                self.put(message)
            if on_connect is not None:
                await on_connect()
            await self._lost.wait()
            await asyncio.sleep(BACK_OFF * self.way.dice.random())

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        if not self.connected:
            raise Retry("no connection to the broker")
        await self.way.call(lambda: self.broker.publish(Message(topic, payload, retain=retain, qos=qos)))
