"""A broker and wires in memory. They pass the same contract tests as the real ones (tests/contracts/test_wire.py)."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.daemons.topics import matches
from sliceward.daemons.wire import Inbox, Message, WireOptions
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(eq=False)
class MemoryBroker:
    """What MQTT brokers do, without a socket. ``clumsy``: doubles retained messages, as amqtt does."""

    clumsy: bool = False
    up: asyncio.Event = field(default_factory=asyncio.Event)
    retained: dict[str, Message] = field(default_factory=dict)
    wires: list[MemoryWire] = field(default_factory=list)
    published: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.up.set()

    def wire(self, client_id: str, *, subscribe: tuple[str, ...] = (), will: Message | None = None) -> MemoryWire:
        """Make a wire to this broker."""
        return MemoryWire(self, client_id, subscribe, will)

    def publish(self, message: Message) -> None:
        """Route one message and keep it if it is to be retained; an empty one clears."""
        self.published.append(message)
        if message.retain and message.payload:
            self.retained[message.topic] = message
        elif message.retain:
            self.retained.pop(message.topic, None)
        for wire in list(self.wires):
            wire.put(replace(message, retain=False))

    def attach(self, wire: MemoryWire) -> None:
        """Take in a wire that subscribes now."""
        self.wires.append(wire)
        for message in list(self.retained.values()) * (2 if self.clumsy else 1):
            wire.put(message)

    def cut(self, client_id: str) -> None:
        """Break a connection without a word: its last will is told."""
        for wire in [wire for wire in self.wires if wire.client_id == client_id]:
            self.wires.remove(wire)
            wire.lose()
            if wire.will is not None:
                self.publish(wire.will)

    def stop(self) -> None:
        """Go away and forget everything, as a broker without persistence does."""
        self.up.clear()
        for wire in self.wires:
            wire.lose()
        self.wires.clear()
        self.retained.clear()

    def start(self) -> None:
        """Come back, empty."""
        self.up.set()


class MemoryWire:
    """One connection to a `MemoryBroker`; see `sliceward.daemons.wire.Bus`. It comes back as soon as its turn comes."""

    def __init__(
        self,
        broker: MemoryBroker,
        client_id: str,
        subscribe: tuple[str, ...] = (),
        will: Message | None = None,
        options: WireOptions | None = None,
    ) -> None:
        self.client_id, self.will = client_id, will
        self.counts: Counter[str] = Counter()
        self._broker, self._filters = broker, subscribe
        self._options = options or WireOptions()
        self._inbox = Inbox(self._options, self.counts)
        self._lost = asyncio.Event()
        self._ever = False

    @property
    def connected(self) -> bool:
        return self in self._broker.wires

    @property
    def age(self) -> float:
        if self.connected:
            return 0.0
        return 1.0 if self._ever else math.inf

    def put(self, message: Message) -> None:
        if any(matches(pattern, message.topic) for pattern in self._filters):
            self._inbox.put_nowait(message)

    def lose(self) -> None:
        self._lost.set()

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        if len(payload) > self._options.max_payload:
            raise Refused(f"message of {len(payload)} bytes for {topic}")
        if not self.connected:
            raise Retry("no connection to the broker")
        if "+" in topic or "#" in topic:
            raise Refused(f"{topic!r} cannot be published")
        self._broker.publish(Message(topic, payload, retain=retain, qos=qos))
        await asyncio.sleep(0)

    async def run(
        self,
        on_message: Callable[[Message], Awaitable[None] | None],
        on_connect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        try:
            while True:
                await self._broker.up.wait()
                self._lost, self._inbox = asyncio.Event(), Inbox(self._options, self.counts)
                self._broker.attach(self)
                self._ever = True
                self.counts["connected"] += 1
                async with asyncio.TaskGroup() as tasks:
                    work = [tasks.create_task(self._take_in(on_message))]
                    if on_connect is not None:
                        work.append(tasks.create_task(self._greet(on_connect)))
                    await self._lost.wait()
                    for task in work:
                        task.cancel()
        finally:
            if self in self._broker.wires:
                self._broker.wires.remove(self)

    async def _greet(self, on_connect: Callable[[], Awaitable[None]]) -> None:
        try:
            await on_connect()
        except Retry:
            pass
        except Exception:  # noqa: BLE001 (as the real wire: counted, not passed on)
            self.counts["handler_failed"] += 1

    async def _take_in(self, on_message: Callable[[Message], Awaitable[None] | None]) -> None:
        while True:
            message = await self._inbox.get()
            if len(message.payload) > self._options.max_payload:
                self.counts["dropped_large"] += 1
                continue
            self.counts["received"] += 1
            try:
                handled = on_message(message)
                if handled is not None:
                    await handled
            except Exception:  # noqa: BLE001 (as the real wire: counted, not passed on)
                self.counts["handler_failed"] += 1
