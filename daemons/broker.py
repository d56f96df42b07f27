"""An MQTT broker inside this process (amqtt), for the demo and the all-in-one daemon; in production use Mosquitto or EMQX.

What it does otherwise than a real broker (doubled and unfiltered retained messages) `sliceward.daemons.wire` allows for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from amqtt.broker import Broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_FAREWELL = 2.0
"""Seconds that connections get to end by themselves when the broker stops."""


class _TidyBroker(Broker):  # type: ignore[misc] # amqtt ships no types
    """Closes every connection, also those that amqtt leaves open: without a first packet, or when it stops."""

    def __init__(self, config: dict[str, object]) -> None:
        super().__init__(config)
        self._open: set[asyncio.Task[None]] = set()

    async def stream_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        try:
            await super().stream_connected(reader, writer, listener_name)
        finally:
            writer.close()
            # The task ends here either way, and asyncio 3.11 logs a connection whose task was cancelled as an error.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def farewell(self) -> None:
        await self.shutdown()
        if self._open:
            _, left = await asyncio.wait(self._open, timeout=_FAREWELL)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


@asynccontextmanager
async def running_broker(port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Run a broker for as long as the context lasts and give its URL; ``port`` 0 takes a free one.

    Everybody who reaches the address may speak: bind it to loopback only.
    """
    for name in ("amqtt", "transitions"):
        # amqtt logs every packet that it did not expect, and each disconnect as an error.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    broker = _TidyBroker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}", "max_connections": 0}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    try:
        yield f"mqtt://{host}:{port or _bound_port(broker)}"
    finally:
        await broker.farewell()


def _bound_port(broker: Broker) -> int:
    server = broker._servers["default"].instance  # noqa: SLF001 (amqtt tells the port that it got nowhere else)
    port: int = server.sockets[0].getsockname()[1]
    return port
