"""One HTTP call to an API server: bounded in time, raw bytes out, every failure one of our three errors.

A stalled server hangs the client library for ever unless a time-out goes with each call, and then raises the plain
``TimeoutError``; a cut connection raises aiohttp's errors. Both mean *unknown*: `Retry`.
"""

from __future__ import annotations

import ssl
from asyncio import IncompleteReadError, Semaphore
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import msgspec

from sliceward.remediations.kubernetes.slim import UNREADABLE
from sliceward.topology.errors import Conflict, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from kubernetes_asyncio.client import ApiClient

    from sliceward.remediations.ports import Kind

CALL_TIMEOUT = 15.0
"""Seconds for one small read or write, whole."""
WRITES_AT_ONCE = 16
"""More at once buys only latency (facts: 555 patches/s at 16, 593 at 32 with twice the wait)."""
_MESSAGE_LENGTH = 300
_MERGE_PATCH = "application/merge-patch+json"


class Cause(msgspec.Struct):
    """One cause in a Status."""

    reason: str = ""


class Details(msgspec.Struct, rename="camel"):
    """Details of a Status."""

    retry_after_seconds: float | None = None
    causes: list[Cause] = []


class Status(msgspec.Struct):
    """What the API server answers when it does not do as asked."""

    reason: str = ""
    message: str = ""
    code: int = 0
    details: Details | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer read to its end. ``date``: the server's clock, None where it did not say."""

    code: int
    body: bytes
    retry_after: float | None = None
    date: datetime | None = None

    @property
    def good(self) -> bool:
        """Whether the server did as asked."""
        return 200 <= self.code < 300  # noqa: PLR2004 (HTTP)

    @property
    def status(self) -> Status:
        """The Status in the body; an empty one where there is none (a proxy's page)."""
        try:
            return msgspec.json.decode(self.body, type=Status)
        except UNREADABLE:
            return Status(message=self.body[:_MESSAGE_LENGTH].decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls through one `ApiClient`. Never prints credentials: its errors hold the path and the server's own words."""

    client: ApiClient = field(repr=False)
    timeout: float = CALL_TIMEOUT
    _writes: Semaphore = field(default_factory=lambda: Semaphore(WRITES_AT_ONCE), repr=False)

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """GET ``path``."""
        return await self._call("GET", path, query=query)

    async def write(self, method: str, path: str, body: Any = None) -> Answer:  # noqa: ANN401 (any JSON)
        """Write, at most `WRITES_AT_ONCE` together; a PATCH is a merge patch, by name."""
        async with self._writes:
            return await self._call(method, path, body=body)

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str], *, idle: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the open answer of a GET that may last; silence beyond ``idle`` seconds ends it with `Retry`."""
        patience = aiohttp.ClientTimeout(connect=self.timeout, sock_connect=self.timeout, sock_read=idle)
        with _failures(f"GET {path}"):
            response = await self._send("GET", path, query=query, body=None, patience=patience)
            try:
                yield response
            finally:
                response.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,  # noqa: ANN401 (any JSON)
    ) -> Answer:
        with _failures(f"{method} {path}"):
            patience = aiohttp.ClientTimeout(total=self.timeout)
            response = await self._send(method, path, query=query, body=body, patience=patience)
            try:
                return await self.whole(response)
            finally:
                response.release()

    async def whole(self, response: aiohttp.ClientResponse) -> Answer:
        """Read the whole body; a no is told and kept, so our token is cut out of it: proxies repeat what they were sent."""
        headers, body = response.headers, await response.read()
        answer = Answer(response.status, body, _retry_after(headers.get("Retry-After")), _date(headers.get("Date")))
        return answer if answer.good else replace(answer, body=self._without_token(body))

    def _without_token(self, body: bytes) -> bytes:
        for shown in self.client.configuration.api_key.values():
            token = str(shown).rpartition(" ")[2].encode()
            body = body.replace(token, b"***") if token else body
        return body

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Any,  # noqa: ANN401 (any JSON)
        patience: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        kind = _MERGE_PATCH if method == "PATCH" else "application/json"
        response: aiohttp.ClientResponse = await self.client.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": kind},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=patience,
        )
        return response


def path_of(kind: Kind, namespace: str = "", name: str = "") -> str:
    """Give the path of a collection, or of one object."""
    root = f"/apis/{kind.api}" if "/" in kind.api else f"/api/{kind.api}"
    place = f"/namespaces/{quote(namespace, safe='')}" if kind.namespaced and namespace else ""
    return f"{root}{place}/{kind.plural}" + (f"/{quote(name, safe='')}" if name else "")


def error_of(answer: Answer, what: str) -> Retry | Refused:
    """Give the error that says what the caller should do about an answer that is not good."""
    status = answer.status
    after = answer.retry_after
    if after is None and status.details is not None:
        after = status.details.retry_after_seconds
    text = f"{what}: {answer.code} {status.reason} {status.message}".strip()[:_MESSAGE_LENGTH]
    match answer.code:
        case 409:
            return Conflict(text, after=after)
        case 401 | 408 | 410 | 429:
            # 401: a token that was rotated under our feet is read again by the next call.
            return Retry(text, after=after)
        case code if code >= 500:  # noqa: PLR2004 (HTTP); a webhook that is down answers 500 as well
            return Retry(text, after=after)
        case _:
            return Refused(text)


class _failures:  # noqa: N801 (reads as a function)
    """Turn time-outs and broken connections into `Retry`: the effect may have happened or not."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case TimeoutError():
                raise Retry(f"{self._what}: no answer in time") from error
            case aiohttp.ClientError() | ssl.SSLError() | OSError() | IncompleteReadError():
                raise Retry(f"{self._what}: {type(error).__name__}: {error}"[:_MESSAGE_LENGTH]) from error
            case _:
                return


def _retry_after(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdecimal() else None


def _date(header: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(header) if header else None
    except ValueError:
        return None
