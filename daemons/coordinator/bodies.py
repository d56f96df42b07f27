"""The body of a request, read within bounds of size and time: who sends half of one must not hold a place for ever."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from sliceward.daemons.coordinator.web import Problem
from sliceward.detectors.finding import storable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST_BODY = 64 * 1024
MOST_REASON = 1000
PART = 1 << 18
"""Bytes that a part has at least, but the last: who sends single bytes does not make a million parts."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a body may take: from one piece to the next, and from its begin to its end."""

    piece: float = 5.0
    whole: float = 30.0


async def reason_of(request: web.Request) -> str:
    """Give the ``reason`` that a change must carry."""
    return reason_in(await json_of(request))


async def json_of(request: web.Request) -> bytes:
    """Give the small JSON body of a change, unread."""
    refuse_other_types(request)
    return await body_of(request, most=MOST_BODY)


def refuse_other_types(request: web.Request) -> None:
    """Take JSON alone: what a form of a page elsewhere can send is none."""
    if request.content_type != "application/json":
        raise Problem(415, "WrongType", f"the body is {request.content_type[:80]}", "Send application/json")


def reason_in(body: bytes) -> str:
    """Give the reason in a body."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "BadRequest", "the body is no JSON", 'Send {"reason": "why"}') from None
    reason = found.get("reason") if isinstance(found, dict) else None
    if not isinstance(reason, str) or not reason.strip():
        raise Problem(400, "BadRequest", "a reason is needed", 'Send {"reason": "why"}; it stands in the record')
    return storable(reason.strip()[:MOST_REASON])


async def body_of(request: web.Request, *, most: int, patience: Patience | None = None) -> bytes:
    """Give the body, a small one; see `parts_of`."""
    return b"".join(await parts_of(request, most=most, patience=patience))


async def parts_of(request: web.Request, *, most: int, patience: Patience | None = None) -> list[bytes]:
    """Give the body in parts of `PART` bytes and some: to put a large one together, or only to make room for it, stops the event loop.

    Raises:
        Problem: more than ``most`` bytes (413), too slow or cut off (408), packed (415), or not what its own headers say (400).
    """
    limit = patience or Patience()
    if (packed := request.headers.get("Content-Encoding", "identity")) != "identity":
        raise Problem(415, "WrongType", f"the body is packed ({packed[:40]})", "Send it as it is, without Content-Encoding")
    if (request.content_length or 0) > most:
        raise _too_large(most)
    parts, part, size = list[bytes](), bytearray(), 0
    try:
        async with asyncio.timeout(limit.whole):
            async for piece in _pieces(request, limit.piece):
                part += piece
                size += len(piece)
                if size > most:
                    raise _too_large(most)
                if len(part) >= PART:
                    parts.append(bytes(part))
                    part.clear()
    except TimeoutError:
        why = f"{size} bytes of the body came, and no more within {limit.piece:g} s, or not all within {limit.whole:g} s"
        raise Problem(408, "TooSlow", why, "Send it again, whole") from None
    except ConnectionResetError:
        raise Problem(408, "TooSlow", f"the sender hung up after {size} bytes of the body", "Send it again, whole") from None
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Problem(400, "BadRequest", f"the body cannot be read: {str(error)[:200]}", "Send what the headers say") from None
    return [*parts, bytes(part)]


async def _pieces(request: web.Request, within: float) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(within):
            piece = await request.content.readany()
        if not piece:
            return
        yield piece


def _too_large(most: int) -> Problem:
    return Problem(413, "TooLarge", f"the body has more than {most} bytes", "Send less at once")
