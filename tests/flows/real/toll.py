"""A gate on every way by which a coordinator acts. There it is killed: right before an effect, and right after the next of its kind.

The coordinator is the real one, in a process of its own; only the addresses in its configuration lead through here: to API server,
broker, provider and receiver. After an effect means: the far end did it, and the answer never came. Each blow falls once, on whichever
replica is about to bring the effect about; then that replica starts again.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import aiohttp
from aiohttp import web

from sliceward.simulation.serving import served
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from tests.daemons.manifests.deployed import Broker
    from tests.flows.real.daemons import Daemon, Doors

HOP = frozenset({"connection", "host", "keep-alive", "transfer-encoding", "content-length"})
When = Literal["before", "after"]
PUBLISH = 3
"""Type of an MQTT packet (MQTT 3.1.1, 2.2.1)."""


@dataclass(frozen=True)
class Effect:
    """Something that changes the world. ``kind`` tells one sort from another, ``of`` which one it is of its sort."""

    kind: str
    of: str


@dataclass(frozen=True)
class Blow:
    """A death: before an effect, or after it. ``at``: when it was due."""

    when: When
    effect: Effect
    at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)


@dataclass(eq=False)
class Gate:
    """``blows``: the deaths, in order; ``passed``: every effect that a far end brought about.

    ``buries``: whether the Lease of the dead is given back, so that two dozen deaths do not each wait for it to run out.
    """

    buries: ClassVar[bool] = True
    blows: list[Blow] = field(default_factory=list)
    passed: list[Effect] = field(default_factory=list)

    @property
    def struck(self) -> set[tuple[str, When]]:
        """Give the kinds of effects at which somebody died, and when."""
        return {(blow.effect.kind, blow.when) for blow in self.blows}

    def blow(self, effect: Effect) -> Blow | None:
        """Give the blow that is due at this effect."""
        due: tuple[When, ...] = ("before", "after")
        return next((Blow(when, effect) for when in due if (effect.kind, when) not in self.struck), None)

    async def hold(self, tolls: Tolls, effect: Effect) -> None:
        """Keep an effect of a replica waiting: there is nothing to wait for here."""


@dataclass(eq=False)
class Tolls:
    """The ways of one replica through the gate. ``victim`` is set once it is known.

    ``bury`` is called with the number of a process that is dead. ``life``: which of the victim's lives this is; ``doomed``: it ends now,
    and nothing reaches it any more. ``lease``: whether it gets an answer about the Lease; ``asking``: how many it waits for; ``asked``: when
    it last got one.
    """

    gate: Gate
    bury: Callable[[int], Awaitable[None]]
    kubernetes: str = ""
    provider: str = ""
    receiver: str = ""
    broker: str = ""
    victim: Daemon | None = None
    life: int = 0
    doomed: bool = False
    lease: asyncio.Event = field(default_factory=asyncio.Event)
    asking: int = 0
    asked: float = 0.0
    deaths: list[asyncio.Task[None]] = field(default_factory=list)

    async def at(self, effect: Effect | None, act: Callable[[], Awaitable[bool]], *, life: int) -> None:
        """Do ``act``, which tells whether the far end did as it was asked, and kill who asked for it where its hour has come.

        Raises:
            ConnectionResetError: the other end is dead.
        """
        if effect is not None:
            await self.gate.hold(self, effect)
        # What goes out at once with the effect that kills, or was under way in an earlier life, is no effect to die at.
        alive = not self.doomed and life == self.life
        blow = self.gate.blow(effect) if effect is not None and alive else None
        if blow is None:
            await self._passed(effect, act)
            return
        self.doomed = True
        try:
            falls = blow.when == "before" or await self._passed(effect, act)
        except BaseException:
            self.doomed = False
            raise
        if falls:
            self.gate.blows.append(blow)
            await self._strike()
        self.doomed = False

    async def _passed(self, effect: Effect | None, act: Callable[[], Awaitable[bool]]) -> bool:
        done = await act()
        if effect is not None and done:
            self.gate.passed.append(effect)
        return done

    async def _strike(self) -> None:
        # The death of the one who asked cancels what is done for it; its successor must come up all the same.
        self.deaths.append(asyncio.create_task(self._die_and_return()))
        await asyncio.shield(self.deaths[-1])
        raise ConnectionResetError

    async def _die_and_return(self) -> None:
        assert self.victim is not None
        assert self.victim.process is not None
        await self.victim.kill()
        if self.gate.buries:
            await self.bury(self.victim.process.pid)
        self.life, self.doomed = self.life + 1, False
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
        if "/leases" not in request.path:
            return await answered(request)
        tolls.asking += 1
        try:
            await tolls.lease.wait()
            return await answered(request)
        finally:
            tolls.asking, tolls.asked = tolls.asking - 1, time.monotonic()

    async def answered(request: web.Request) -> web.StreamResponse:
        life, body = tolls.life, await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        kept: list[web.StreamResponse] = []

        async def act() -> bool:
            async with session.request(
                request.method, upstream + request.path_qs, headers=headers, data=body, ssl=False
            ) as found:
                answer = web.StreamResponse(
                    status=found.status, headers={name: value for name, value in found.headers.items() if name.lower() not in HOP}
                )
                if effect is not None:
                    kept.append(web.Response(status=found.status, headers=answer.headers, body=await found.read()))
                    return found.ok
                kept.append(answer)
                await answer.prepare(request)
                async for piece in found.content.iter_any():
                    if tolls.doomed:
                        break
                    await answer.write(piece)
                await answer.write_eof()
                return True

        effect = effect_of(request, body)
        try:
            await tolls.at(effect, act, life=life)
        except (aiohttp.ClientError, ConnectionResetError):
            # Whoever asks sees a broken connection, and no answer.
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
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
        life, back = tolls.life, asyncio.create_task(_copy(from_broker, writer, tolls))
        try:
            while True:
                packet = await _packet(reader)

                async def act(packet: bytes = packet) -> bool:
                    to_broker.write(packet)
                    await to_broker.drain()
                    return True

                await tolls.at(_of_packet(packet), act, life=life)
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


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tolls: Tolls) -> None:
    while (piece := await reader.read(1 << 16)) and not tolls.doomed:
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
    """Tell what is asked of an agent: the body is the only JSON that a coordinator publishes, and the end of its packet."""
    if packet[0] >> 4 != PUBLISH or (begin := packet.find(b"{")) < 0:
        return None
    said = json.loads(packet[begin:])
    return Effect(f"request {said['request']}", said["id"])


@asynccontextmanager
async def tolls_of(gate: Gate, bury: Callable[[int], Awaitable[None]], doors: Doors) -> AsyncIterator[Tolls]:
    """Give the ways of one replica to where these doors lead."""
    tolls = Tolls(gate, bury)
    tolls.lease.set()
    async with AsyncExitStack() as stack:
        tolls.kubernetes = await stack.enter_async_context(_http(tolls, doors.api, _of_kubernetes))
        tolls.provider = await stack.enter_async_context(_http(tolls, doors.provider, _of_provider))
        # The receiver's address has a path of its own.
        base, _, path = doors.receiver.rpartition("/")
        tolls.receiver = f"{await stack.enter_async_context(_http(tolls, base, _of_receiver))}/{path}"
        tolls.broker = await stack.enter_async_context(_mqtt(tolls, doors.broker))
        try:
            yield tolls
        finally:
            await asyncio.gather(*tolls.deaths, return_exceptions=True)
