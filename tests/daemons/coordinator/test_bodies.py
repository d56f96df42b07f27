"""Bodies of requests: bounded in size and in time, and who sends half of one hears of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from sliceward.daemons.coordinator.bodies import Patience, body_of
from sliceward.daemons.coordinator.web import told_as_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SHORT = Patience(piece=0.05, whole=0.2)


@asynccontextmanager
async def a_server(patience: Patience) -> AsyncIterator[BaseTestServer]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"bytes": len(await body_of(request, most=100, patience=patience))})

    app = web.Application(middlewares=[told_as_json], handler_args={"auto_decompress": False})
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        yield server


async def answer_to(pieces: list[bytes], *, head: str, patience: Patience = SHORT) -> str:
    async with a_server(patience) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        found = await reader.read(4096)
        writer.close()
        return found.decode()


@pytest.mark.parametrize(
    ("head", "pieces", "status", "why"),
    [
        ("Content-Length: 3", [b"abc"], 200, '"bytes": 3'),
        ("Content-Length: 100", [b"x" * 100], 200, '"bytes": 100'),
        ("Content-Length: 101", [b"x" * 101], 413, "more than 100 bytes"),
        ("Transfer-Encoding: chunked", [b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"], 413, "more than 100 bytes"),
        ("Transfer-Encoding: chunked", [b"3\r\nabc\r\n0\r\n\r\n"], 200, '"bytes": 3'),
        ("Content-Length: 9", [b"abc"], 408, "3 bytes of the body came, and no more"),
        ("Content-Length: 3\r\nContent-Encoding: gzip", [b"abc"], 415, "packed (gzip)"),
    ],
    ids=["small", "at the limit", "beyond it", "beyond it, unannounced", "chunked", "half", "packed"],
)
async def test_a_body_is_given_or_refused_with_why(head: str, pieces: list[bytes], status: int, why: str) -> None:
    patience = SHORT if status == 408 else Patience()
    found = await answer_to(pieces, head=head, patience=patience)
    assert found.startswith(f"HTTP/1.1 {status} ")
    assert why in found


async def test_a_body_that_drips_for_ever_is_given_up() -> None:
    async with a_server(SHORT) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(30):
            found = await reader.read(4096)
        dripping.cancel()
        assert b" 408 " in found
        writer.close()
