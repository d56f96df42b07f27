"""The three brokers of the wire's contract, each behind the same handles: make a wire, cut one, stop and start the broker."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast

from sliceward.daemons.broker import running_broker
from sliceward.daemons.wire import Bus, Message, Wire, WireOptions
from tests.fakes.wire import MemoryBroker, MemoryWire

if TYPE_CHECKING:
    from tests.services.fixtures import MosquittoRunner

EAGER = WireOptions(first_wait=0.01, longest_wait=0.05, publish_timeout=5, max_payload=1 << 18)


class Bench(Protocol):
    """A broker under test."""

    def wire(
        self, client_id: str, *, subscribe: tuple[str, ...] = (), will: Message | None = None, inbox: int = 65_536
    ) -> Bus: ...

    def cut(self, client_id: str) -> None: ...

    async def stop(self) -> None: ...

    async def start(self) -> None: ...


class MemoryBench:
    def __init__(self) -> None:
        self.broker = MemoryBroker(clumsy=True)

    def wire(self, client_id: str, *, subscribe: tuple[str, ...] = (), will: Message | None = None, inbox: int = 65_536) -> Bus:
        return MemoryWire(self.broker, client_id, subscribe, will, replace(EAGER, inbox=inbox))

    def cut(self, client_id: str) -> None:
        self.broker.cut(client_id)

    async def stop(self) -> None:
        self.broker.stop()

    async def start(self) -> None:
        self.broker.start()


class Proxy:
    """Stands between wires and broker, so that a connection can be cut without a word and the address outlives the broker."""

    def __init__(self) -> None:
        self.broker_port = 0
        self.url = ""
        self._pairs: dict[str, tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self, stack: AsyncExitStack) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        stack.push_async_callback(self._close, server)
        self.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def cut(self, client_id: str) -> None:
        for writer in self._pairs.pop(client_id):
            writer.transport.abort()

    def cut_all(self) -> None:
        for client_id in list(self._pairs):
            self.cut(client_id)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        self.cut_all()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await server.wait_closed()

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._serving.add(task)
        try:
            await self._join(near, back)
        finally:
            self._serving.discard(task)
            await _closed(back)

    async def _join(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        # amqtt never closes a connection that ends before its first packet: those must not reach it.
        if not (hello := await near.read(4096)):
            return
        try:
            far, forth = await asyncio.open_connection("127.0.0.1", self.broker_port)
        except OSError:
            return
        # CONNECT of MQTT 3.1.1 section 3.1: two bytes of header (ours are short), ten of it, then the client's id with its length.
        size = int.from_bytes(hello[12:14], "big")
        self._pairs[hello[14 : 14 + size].decode()] = (back, forth)
        forth.write(hello)
        try:
            await asyncio.gather(_pump(near, forth), _pump(far, back))
        finally:
            await _closed(forth)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(65_536):
            sink.write(chunk)
            await sink.drain()
    sink.close()


class RealBench:
    """Wires over TCP; who runs the broker says the subclass."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def wire(self, client_id: str, *, subscribe: tuple[str, ...] = (), will: Message | None = None, inbox: int = 65_536) -> Bus:
        options = replace(EAGER, inbox=inbox)
        return Wire(self._proxy.url, client_id=client_id, subscribe=subscribe, will=will, options=options)

    def cut(self, client_id: str) -> None:
        self._proxy.cut(client_id)


class AmqttBench(RealBench):
    def __init__(self, proxy: Proxy) -> None:
        super().__init__(proxy)
        self._running = AsyncExitStack()

    async def start(self) -> None:
        url = await self._running.enter_async_context(running_broker())
        self._proxy.broker_port = int(url.rpartition(":")[2])

    async def stop(self) -> None:
        await self._running.aclose()
        self._proxy.cut_all()


class MosquittoBench(RealBench):
    """Starting it blocks for a moment: nothing else runs then."""

    def __init__(self, proxy: Proxy, runner: MosquittoRunner) -> None:
        super().__init__(proxy)
        self._runner, self._running = runner, ExitStack()

    async def start(self) -> None:
        service = self._running.enter_context(self._runner(lines=["max_queued_messages 100000"]))
        self._proxy.broker_port = service.port

    async def stop(self) -> None:
        self._running.close()
