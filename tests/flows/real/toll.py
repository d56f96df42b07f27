"""A gate on every way by which a coordinator acts. There it is killed, right before or right after an effect.

The coordinator is the real one, in a process of its own; only the addresses in its configuration lead through here: to API server,
broker, provider and receiver. Each effect kills once, whichever replica is about to bring it about; then that replica starts again.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
from aiohttp import web

from sliceward.simulation.serving import served
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from tests.daemons.manifests.deployed import Broker
    from tests.flows.real.daemons import Daemon

HOP = frozenset({"connection", "host", "keep-alive", "transfer-encoding", "content-length"})
PUBLISH = 3
"""Type of an MQTT packet (MQTT 3.1.1, 2.2.1)."""


@dataclass(frozen=True)
class Effect:
    """Something that changes the world. ``kind`` tells one sort from another, ``of`` which one it is of its sort."""

    kind: str
    of: str


@dataclass(eq=False)
class Gate:
    """``struck``: kinds of effects at which a coordinator was killed, in order; ``passed``: every effect that got through."""

    when: Literal["before", "after"]
    struck: list[str] = field(default_factory=list)
    passed: list[Effect] = field(default_factory=list)

    def strikes(self, effect: Effect | None) -> bool:
        """Whether somebody dies at this effect."""
        if effect is None or effect.kind in self.struck:
            return False
        self.struck.append(effect.kind)
        return True


@dataclass(eq=False)
class Tolls:
    """The ways of one replica through the gate. ``victim`` is set once it is known."""

    gate: Gate
    kubernetes: str = ""
    provider: str = ""
    receiver: str = ""
    broker: str = ""
    victim: Daemon | None = None
    deaths: list[asyncio.Task[None]] = field(default_factory=list)

    async def at(self, effect: Effect | None, act: Callable[[], Awaitable[None]]) -> None:
        """Do ``act``, and kill who asked for it where its hour has come.

        Raises:
            ConnectionResetError: the other end is dead.
        """
        doomed = self.gate.strikes(effect)
        if doomed and self.gate.when == "before":
            await self._strike()
        await act()
        if effect is not None:
            self.gate.passed.append(effect)
        if doomed:
            await self._strike()

    async def _strike(self) -> None:
        # The death of the one who asked cancels what is done for it; its successor must come up all the same.
        self.deaths.append(asyncio.create_task(self._die_and_return()))
        await asyncio.shield(self.deaths[-1])
        raise ConnectionResetError

    async def _die_and_return(self) -> None:
        assert self.victim is not None
        await self.victim.kill()
        await self.victim.start()


def _of_kubernetes(request: web.Request, body: bytes) -> Effect | None:
    if request.method == "GET" or "/leases" in request.path:
        return None
    *_, plural, name = request.path.split("/") if request.method != "POST" else (*request.path.split("/"), "")
    said = json.loads(body or b"{}")
    return Effect(" ".join((request.method, plural, *_words(said))), name)


def _words(body: Mapping[str, Any]) -> list[str]:
    """Tell one write of the same kind of object from another by what it sets and takes away."""
    spec, labels = body.get("spec", {}), body.get("metadata", {}).get("labels") or {}
    words = sorted(spec)
    if "suspend" in spec:
        words.append(str(spec["suspend"]).lower())
    if "taints" in spec:
        words.append("mark" if any(one["key"] == NAMES.out_of_service for one in spec["taints"] or ()) else "give back")
    return [*words, *sorted(labels)]


def _of_provider(request: web.Request, body: bytes) -> Effect | None:
    if request.method == "GET":
        return None
    return Effect("repair", f"{json.loads(body)['host']} {request.headers['Idempotency-Key']}")


def _of_receiver(request: web.Request, body: bytes) -> Effect | None:
    return Effect(f"page {json.loads(body)['data']['event']}", request.headers["webhook-id"])


@asynccontextmanager
async def _http(tolls: Tolls, upstream: str, effect_of: Callable[[web.Request, bytes], Effect | None]) -> AsyncIterator[str]:
    """Pass requests on; gives the address at which to ask."""

    async def passed_on(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        kept: list[web.StreamResponse] = []

        async def act() -> None:
            async with session.request(
                request.method, upstream + request.path_qs, headers=headers, data=body, ssl=False
            ) as found:
                answer = web.StreamResponse(
                    status=found.status, headers={name: value for name, value in found.headers.items() if name.lower() not in HOP}
                )
                if effect is not None:
                    kept.append(web.Response(status=found.status, headers=answer.headers, body=await found.read()))
                    return
                kept.append(answer)
                await answer.prepare(request)
                async for piece in found.content.iter_any():
                    await answer.write(piece)
                await answer.write_eof()

        effect = effect_of(request, body)
        try:
            await tolls.at(effect, act)
        except aiohttp.ClientError as error:
            raise ConnectionResetError(str(error)) from None
        return kept[0]

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", passed_on)
    patience = aiohttp.ClientTimeout(total=None, sock_connect=5)
    # Whoever hangs up ends what is done for it: watches would go on for ever.
    async with aiohttp.ClientSession(auto_decompress=False, timeout=patience) as session, served(app, gone_ends=True) as url:
        yield url


@asynccontextmanager
async def _mqtt(tolls: Tolls, broker: Broker) -> AsyncIterator[str]:
    """Pass packets on, both ways; gives the address at which to connect. It has the broker's own certificate."""
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(broker.ca.parent / "tls.crt", broker.ca.parent / "tls.key")
    theirs = ssl.create_default_context(cafile=str(broker.ca))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", broker.port, ssl=theirs)
        back = asyncio.create_task(_copy(from_broker, writer))
        try:
            while True:
                packet = await _packet(reader)

                async def act(packet: bytes = packet) -> None:
                    to_broker.write(packet)
                    await to_broker.drain()

                await tolls.at(_of_packet(packet), act)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            for one in (to_broker, writer):
                one.close()

    talks = set[asyncio.Task[None]]()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(talk(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=ours)
    try:
        yield f"mqtts://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()
    writer.close()


async def _packet(reader: asyncio.StreamReader) -> bytes:
    """Read one packet whole (MQTT 3.1.1, 2.2: a byte, the length of the rest in groups of seven bits, the rest)."""
    head, length, shift = await reader.readexactly(1), 0, 0
    while True:
        (byte,) = more = await reader.readexactly(1)
        head += more
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return head + await reader.readexactly(length)


def _of_packet(packet: bytes) -> Effect | None:
    if packet[0] >> 4 != PUBLISH:
        return None
    _, _, text = packet.partition(b'"request": "')
    asked, _, _ = text.partition(b'"')
    return Effect(f"request {asked.decode()}", "") if asked else None


@asynccontextmanager
async def tolls_of(gate: Gate, *, kubernetes: str, provider: str, receiver: str, broker: Broker) -> AsyncIterator[Tolls]:
    """Give the ways of one replica to these."""
    tolls = Tolls(gate)
    async with AsyncExitStack() as stack:
        tolls.kubernetes = await stack.enter_async_context(_http(tolls, kubernetes, _of_kubernetes))
        tolls.provider = await stack.enter_async_context(_http(tolls, provider, _of_provider))
        # The receiver's address has a path of its own.
        base, _, path = receiver.rpartition("/")
        tolls.receiver = f"{await stack.enter_async_context(_http(tolls, base, _of_receiver))}/{path}"
        tolls.broker = await stack.enter_async_context(_mqtt(tolls, broker))
        try:
            yield tolls
        finally:
            await asyncio.gather(*tolls.deaths, return_exceptions=True)
