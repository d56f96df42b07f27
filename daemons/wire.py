"""The wire: MQTT in and out, for ever. The only home of aiomqtt.

In: messages on the topics asked for, one by one, to a handler. Out: `Wire.publish`, which waits for the broker's word.
The connection is made again with jittered back-off whenever it is lost, subscriptions with it; what the broker kept
(retained) then comes again, so handlers must be idempotent: brokers may deliver twice, and amqtt also delivers retained
messages that no filter asked for (those are dropped here).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote, urlsplit

import aiomqtt
import structlog

from sliceward.daemons import tls
from sliceward.daemons.cancelling import Cancelling
from sliceward.daemons.complaints import Complaints
from sliceward.daemons.topics import matches
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sliceward.daemons.settings import BrokerSettings

log = structlog.get_logger(__name__)

LONGEST_TURN = 0.01
"""Seconds for which messages are handled before others have their turn."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``retain``: on the way in, the broker kept it from before we asked; on the way out, it shall keep it."""

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1


class Bus(Protocol):
    """What daemons need of a wire: `Wire`, and the one in memory that tests use."""

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        ...

    @property
    def age(self) -> float:
        """Seconds since there was a connection: 0 while there is one, infinite before the first."""
        ...

    @property
    def counts(self) -> Counter[str]:
        """What happened since the start, by name: messages taken in, dropped and why, connections, failed publishes."""
        ...

    async def run(
        self,
        on_message: Callable[[Message], Awaitable[None] | None],
        on_connect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Connect, subscribe, take in; for ever. ``on_connect`` runs beside the messages after each (re)connection."""
        ...

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Send one message. Raises `Retry` when not connected or not confirmed in time, `Refused` when it cannot be sent."""
        ...


@dataclass(frozen=True, slots=True)
class WireOptions:
    """How a wire behaves. Times in seconds, sizes in bytes; ``inbox`` in messages, ``inbox_bytes`` in bytes of them all.

    ``username`` and ``password`` win over those in the URL; the password never appears in a repr or a log line. One that is called
    is asked at each connection, and so are the files of ``cert_file`` and ``key_file`` read: they may come later than the wire, and
    change under it.
    ``keepalive``: the broker tells a client's last will after 1.5 times this silence (MQTT 3.1.1 section 3.1.2.10).
    """

    username: str | None = None
    password: Callable[[], str] | str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    inbox: int = 65_536
    inbox_bytes: int = 128 << 20
    max_payload: int = 1 << 20
    publish_timeout: float = 10.0
    connect_timeout: float = 10.0
    keepalive: int = 15
    first_wait: float = 0.2
    longest_wait: float = 30.0

    @classmethod
    def of(cls, broker: BrokerSettings) -> WireOptions:
        """Give those that a daemon's configuration says; no secret is read yet."""
        return cls(
            username=broker.username or None,
            password=broker.password.reveal if broker.password else None,
            ca_file=broker.ca_file,
            cert_file=broker.cert_file,
            key_file=broker.key_file,
        )

    def tls_context(self) -> ssl.SSLContext:
        """Give whom we trust and what we show, as the files say now. Raises `Misconfigured`."""
        context = tls.trusting(self.ca_file)
        if self.cert_file is not None:
            tls.showing(context, self.cert_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens, from its URL."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Read ``mqtt://[user[:password]@]host[:1883]`` or ``mqtts://…[:8883]``.

        Raises:
            Misconfigured: another scheme, no host, or a port that is none. The URL is not repeated: it may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Its words hold what it took for the port: of a password with a slash in it, a part of that.
            raise Misconfigured(
                "MQTT URL", "cannot be read", "Write mqtt://host:1883, and user and password apart from it (broker.password)"
            ) from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise Misconfigured("MQTT URL", "is not mqtt://host:port or mqtts://host:port", "Write mqtt://host:1883")
        tls = parts.scheme == "mqtts"
        user = unquote(parts.username) if parts.username else None
        secret = unquote(parts.password) if parts.password else None
        return cls(parts.hostname, port or (8883 if tls else 1883), tls, user, secret)

    def __str__(self) -> str:
        """Print without user and password."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"


class Inbox(asyncio.Queue[Any]):
    """What has come and is not handled yet, bounded in messages and in bytes. When full the oldest goes, counted.

    ``missed``: whether more than a frame went. What is larger than any message of ours is never kept at all.
    """

    def __init__(self, options: WireOptions, counts: Counter[str]) -> None:
        """Begin empty; ``counts`` gets ``dropped_full`` and ``dropped_large``."""
        super().__init__(maxsize=options.inbox)
        self._options, self._counts, self.missed = options, counts, False
        self._bytes, self._complaints = 0, Complaints(log)

    def put_nowait(self, item: Any) -> None:  # noqa: ANN401 (aiomqtt's message type in one wire, ours in the other)
        """Take in ``item``, at the cost of the oldest if there is no room."""
        size, most = _size(item), self._options.max_payload
        if size > most:
            self._counts["dropped_large"] += 1
            self._complaints.tell(
                "message dropped",
                where=f"topic {item.topic}",
                why=f"has {size} bytes, more than {most}",
                what_to_do="Find who publishes there; bound it at the broker too (message_size_limit)",
            )
            return
        while self.full() or (self._bytes + size > self._options.inbox_bytes and not self.empty()):
            self._counts["dropped_full"] += 1
            self.missed = bool(self.get_nowait().qos) or self.missed
        super().put_nowait(item)

    async def lying_there(self) -> AsyncIterator[Any]:
        """Give as many as lie there now, one by one; after each `LONGEST_TURN` the socket and the other loops have theirs."""
        began = time.monotonic()
        for _ in range(self.qsize()):
            if time.monotonic() - began > LONGEST_TURN:
                await asyncio.sleep(0)
                began = time.monotonic()
            if self.empty():
                return  # a large one that came meanwhile pushed out many small ones
            yield self.get_nowait()

    # The two doors that asyncio.Queue leaves to its subclasses.

    def _put(self, item: Any) -> None:  # noqa: ANN401 (as above)
        self._bytes += _size(item)
        super()._put(item)

    def _get(self) -> Any:  # noqa: ANN401 (as above)
        item = super()._get()
        self._bytes -= _size(item)
        return item


def _size(item: Any) -> int:  # noqa: ANN401 (as above)
    return len(item.payload) if isinstance(item.payload, bytes | bytearray) else 0


def _of_its_own(client_id: str, password: str | None) -> str:
    """Give the id under which a client connects, one that nobody finds out who has not its password.

    A broker throws out whoever is connected under an id when another comes under it, whatever user that is, and sends his last will. An
    agent's id is the same in its next life, so that the broker is done with the one before (and his will) before it takes the new one in.
    """
    if not password:
        return client_id
    return f"{client_id}-{hashlib.blake2b(client_id.encode(), key=hashlib.sha256(password.encode()).digest(), digest_size=8).hexdigest()}"


class Wire:
    """One connection to a broker; see `Bus`."""

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        subscribe: tuple[str, ...] = (),
        will: Message | None = None,
        options: WireOptions | None = None,
    ) -> None:
        """Nothing is connected before `run`. ``will`` is what the broker says for us when we die without a word."""
        self.address = BrokerAddress.parse(url)
        self.counts: Counter[str] = Counter()
        self.error = "not connected yet"
        self._client_id, self._filters, self._will = client_id, subscribe, will
        self._options = options or WireOptions()
        self._client: aiomqtt.Client | None = None
        self._last_connected = -math.inf
        self._cancelling: Cancelling

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._client is not None

    @property
    def age(self) -> float:
        """Seconds since there was a connection: 0 while there is one, infinite before the first."""
        return 0.0 if self.connected else time.monotonic() - self._last_connected

    def secrets(self) -> tuple[str | None, ssl.SSLContext | None]:
        """Read password and certificate as they are now: at each connection, and once before by who wants to hear of a mistake then.

        Raises:
            Misconfigured: one cannot be read.
        """
        given = self._options.password
        password = given() if callable(given) else given or self.address.password
        return password, self._options.tls_context() if self.address.tls else None

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Send one message and wait for the broker's word (QoS 0: until it is written).

        Raises:
            Retry: not connected, or no confirmation in time (then it may or may not have arrived).
            Refused: too large, or a topic that none may publish to.
        """
        if len(payload) > self._options.max_payload:
            raise Refused(f"message of {len(payload)} bytes for {topic}: at most {self._options.max_payload} may be sent")
        client = self._client
        if client is None:
            raise Retry(f"no connection to the broker {self.address}: {self.error}")
        patience = self._options.publish_timeout
        try:
            async with asyncio.timeout(patience):
                # Without a limit of its own: aiomqtt's would be one of wait_for, which may lose a cancellation.
                await client.publish(topic, payload, qos, retain, timeout=math.inf)
        except (aiomqtt.MqttError, OSError) as error:  # TimeoutError is an OSError
            self.counts["publish_failed"] += 1
            why = str(error) or f"no word within {patience:g} s"
            raise Retry(f"{topic} was not confirmed by the broker {self.address}: {why}") from error
        except ValueError as error:
            raise Refused(f"{topic!r} cannot be published: {error}") from error

    async def run(
        self,
        on_message: Callable[[Message], Awaitable[None] | None],
        on_connect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Connect, subscribe, take in; for ever. ``on_connect`` runs beside the messages after each (re)connection."""
        self._cancelling = Cancelling()
        if self.address.tls:
            tls.trusting(self._options.ca_file)  # a mistake in it will not mend itself; certificate and password may come later
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._session(on_message, on_connect)
            except* (aiomqtt.MqttError, OSError, TimeoutError) as errors:
                self.error = "; ".join(str(error) for error in errors.exceptions)
            finally:
                if self._client is not None:
                    self._client, self._last_connected = None, time.monotonic()
            self._cancelling.look()
            failures = 0 if time.monotonic() - began > self._options.longest_wait else failures + 1
            wait = min(self._options.longest_wait, self._options.first_wait * 2.0 ** min(failures, 16))
            wait *= random.uniform(0.5, 1.0)  # noqa: S311 (spreads a fleet's reconnections, keeps no secret)
            log.info("broker lost", broker=str(self.address), why=self.error, retry_in=round(wait, 2))
            await asyncio.sleep(wait)

    async def _session(
        self,
        on_message: Callable[[Message], Awaitable[None] | None],
        on_connect: Callable[[], Awaitable[None]] | None,
    ) -> None:
        inbox = Inbox(self._options, self.counts)
        async with self._new_client(inbox) as client, asyncio.TaskGroup() as tasks:
            await self._subscribe(client)
            self._cancelling.look()
            self._client, self.error = client, ""
            self.counts["connected"] += 1
            log.info("broker connected", broker=str(self.address), client=self._client_id)
            if on_connect is not None:
                tasks.create_task(self._greet(on_connect))
            await self._take_in(client, inbox, on_message)

    def _new_client(self, inbox: Inbox) -> aiomqtt.Client:
        logger = logging.getLogger("sliceward.aiomqtt")
        # It warns of each ten publishes that wait, and tells as an error that an answer came for which nobody waits any more.
        logger.setLevel(logging.CRITICAL)
        will = self._will
        try:
            password, context = self.secrets()
        except Misconfigured as error:
            # A Secret that is not mounted yet, or just being changed: as good as a broker that is away.
            raise aiomqtt.MqttError(str(error)) from error
        return aiomqtt.Client(
            self.address.host,
            self.address.port,
            identifier=_of_its_own(self._client_id, password),
            username=self._options.username or self.address.username,
            password=password,
            keepalive=self._options.keepalive,
            timeout=self._options.connect_timeout,
            tls_context=context,
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, will.qos, will.retain),
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", lambda maxsize: inbox),  # noqa: ARG005 (ours is bounded)
            logger=logger,
        )

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        if not self._filters:
            return
        granted = await client.subscribe([(pattern, 1) for pattern in self._filters])
        refused = [pattern for pattern, code in zip(self._filters, granted, strict=False) if _is_failure(code)]
        if refused:
            raise aiomqtt.MqttError(f"the broker refused to let {self._client_id} subscribe to {', '.join(refused)}")

    async def _greet(self, on_connect: Callable[[], Awaitable[None]]) -> None:
        try:
            await on_connect()
        except Retry as error:
            log.info("interrupted after connecting", why=str(error))
        except Exception:
            self.counts["handler_failed"] += 1
            log.exception("what follows a connection failed")

    async def _take_in(
        self, client: aiomqtt.Client, inbox: Inbox, on_message: Callable[[Message], Awaitable[None] | None]
    ) -> None:
        asked_again = time.monotonic()
        async for first in client.messages:
            await self._hand_over(first, on_message)
            # aiomqtt makes two tasks for each message that it is asked for: what lies there already is taken without.
            async for message in inbox.lying_there():
                await self._hand_over(message, on_message)
            if inbox.missed and time.monotonic() - asked_again > self._options.longest_wait:
                # A message that mattered was dropped: subscribing again makes the broker tell its retained ones again.
                inbox.missed, asked_again = False, time.monotonic()
                await self._subscribe(client)
                self._cancelling.look()

    async def _hand_over(self, message: aiomqtt.Message, on_message: Callable[[Message], Awaitable[None] | None]) -> None:
        topic, payload = message.topic.value, message.payload
        if not any(matches(pattern, topic) for pattern in self._filters):
            self.counts["dropped_unasked"] += 1
            return
        if not isinstance(payload, bytes):
            self.counts["dropped_odd"] += 1
            return
        self.counts["received"] += 1
        try:
            handled = on_message(Message(topic, payload, retain=message.retain, qos=message.qos))
            if handled is not None:
                await handled
        except Exception:
            # One poisoned message must not end the wire for all others.
            self.counts["handler_failed"] += 1
            log.exception("message could not be handled", topic=topic)


def _is_failure(code: object) -> bool:
    value = getattr(code, "value", code)
    return isinstance(value, int) and value >= 128  # noqa: PLR2004 (MQTT 3.1.1 section 3.9.3: 0x80 is failure)
