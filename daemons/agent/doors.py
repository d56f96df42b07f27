"""The agent's three paths, `/healthz`, `/readyz` and `/metrics`, over asyncio's own streams.

A server that can more takes more memory than all sources together, and this one runs on every host. It reads one request of a
kubelet, a scraper or a person, answers, and hangs up; it keeps at most 16 who ask, each for five seconds.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.health import PATHS, Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sliceward.daemons.health import Health

log = structlog.get_logger(__name__)

_MOST_BYTES = 16_384
_MOST_ASKING = 16
_PATIENCE = 5.0


@asynccontextmanager
async def open_doors(health: Health, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve while inside; gives the port that was bound (a free one for 0)."""
    asking: set[asyncio.Task[None]] = set()

    def come_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(asking) >= _MOST_ASKING:
            writer.close()
            return
        task = asyncio.create_task(_serve(health, reader, writer))
        asking.add(task)
        task.add_done_callback(asking.discard)

    server = await asyncio.start_server(come_in, host, port, limit=_MOST_BYTES)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def _serve(health: Health, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            answer = _answer(health, await reader.readuntil(b"\r\n\r\n"))
            writer.write(_head(answer) + answer.body)
            await writer.drain()
    except asyncio.LimitOverrunError:
        writer.write(_head(Answer(431, "text/plain", b"")))
    except (asyncio.IncompleteReadError, TimeoutError, OSError):
        pass  # whoever asked is gone, or never said what he wants
    except Exception:
        # What nobody foresaw must not end the agent, nor leave the one who asks without a word.
        log.exception("request failed")
        writer.write(_head(Answer(500, "text/plain", b"")))
    finally:
        writer.close()


def _answer(health: Health, request: bytes) -> Answer:
    words = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 (method, target, version: RFC 9112 section 3)
        return _refused(400, "this is no request of HTTP/1")
    found = PATHS.get(words[1].partition("?")[0])
    if found is None:
        return _refused(404, f"there are {', '.join(PATHS)}")
    if words[0] != "GET":
        return _refused(405, "ask by GET")
    return found(health)


def _refused(status: int, why: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", f"{why}\n".encode())


def _head(answer: Answer) -> bytes:
    allow = "Allow: GET\r\n" if answer.status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    return (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n{allow}Connection: close\r\n\r\n"
    ).encode()
