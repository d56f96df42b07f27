"""One GET at a time, with http.client on a thread: all that the agent asks by HTTP.

Two small GETs, one a period and one a minute, are not worth the 11 MB that an HTTP client on the loop takes on every host;
http.client is there already, prometheus-client brings it. No redirect is followed and no proxy is asked.
"""

from __future__ import annotations

import asyncio
import http
import http.client
import socket
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sliceward.daemons.sources.threads import OneAtATime
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

_PART = 65_536


class Unfit(Retry):
    """There was an answer, but none to make use of: asking again helps when whoever answers there has changed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server answered: the status, and all of the body where that is 200."""

    status: int
    body: bytes


@dataclass(slots=True)
class Fetcher:
    """Asks one server. ``patience``: seconds for the whole answer; ``most``: bytes that a body may have."""

    patience: float
    most: int
    _thread: OneAtATime = field(default_factory=OneAtATime)

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, tls: Callable[[], ssl.SSLContext] | None = None
    ) -> Fetched:
        """Ask once. ``tls`` makes what the certificate of an ``https:`` server is checked with; it is called on the thread.

        Raises:
            Retry: no answer in time.
            Unfit: one that is not HTTP, or one that is too large.
        """
        ask = _Ask(url, dict(headers or {}), time.monotonic() + self.patience, self.patience, self.most)
        try:
            async with asyncio.timeout(self.patience):
                return await self._thread.run(lambda: ask.run(tls))
        except TimeoutError:
            raise Retry(f"{url} does not answer in {self.patience:g} s") from None
        except OSError as error:
            raise Retry(f"{url} does not answer: {error or type(error).__name__}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise Unfit(f"{url} does not answer: {error or type(error).__name__}") from error
        finally:
            ask.end()


@dataclass(slots=True)
class _Ask:
    """One question, from connecting to the last byte."""

    url: str
    headers: dict[str, str]
    deadline: float
    patience: float
    most: int
    _socket: socket.socket | None = None
    _ended: bool = False

    def run(self, tls: Callable[[], ssl.SSLContext] | None) -> Fetched:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is no address of a web server")
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.patience)
        if parts.scheme == "https":
            context = None if tls is None else tls()
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self.patience, context=context)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(connection):
            if not self._ended:
                connection.connect()
                self._socket = connection.sock
            if self._ended:
                raise TimeoutError
            connection.request("GET", target, headers=self.headers)
            with connection.getresponse() as answer:
                return Fetched(answer.status, self._body(answer) if answer.status == http.HTTPStatus.OK else b"")

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        body = bytearray()
        while part := answer.read1(_PART):
            body += part
            if len(body) > self.most:
                raise Unfit(f"{self.url} tells more than {self.most} bytes")
            if time.monotonic() > self.deadline:
                raise TimeoutError
        # A body that ends before its length is half of one: read() would say so, read1() does not.
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        return bytes(body)

    def end(self) -> None:
        """Let a thread that still waits for this server go on: it has nobody to answer to."""
        self._ended = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
