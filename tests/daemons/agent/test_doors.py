"""The agent's own small server: what a kubelet and a scraper get, and what strangers cannot do to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sliceward.daemons.agent import doors
from sliceward.daemons.health import Dependency, Health, new_registry
from sliceward.daemons.loops import Loops

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


def nobody() -> Sequence[Dependency]:
    return (Dependency("broker", ok=False, age=None, why="connection refused"),)


def broken() -> Sequence[Dependency]:
    raise ValueError("a bug")


@asynccontextmanager
async def served(health: Health | None = None) -> AsyncIterator[int]:
    loops = Loops(lambda: 100.0)
    loops.add("read", deadline=5.0)
    async with doors.open_doors(
        health or Health(loops, nobody, new_registry(loops, version="1"), "1"), host="127.0.0.1", port=0
    ) as port:
        yield port


async def said(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("path", "status", "kind", "text"),
    [
        ("/healthz", 200, "application/json", '"name": "read"'),
        ("/readyz", 503, "application/json", "connection refused"),
        ("/metrics", 200, "text/plain", 'sliceward_loop_deadline_seconds{loop="read"} 5.0'),
        ("/metrics?name[]=x", 200, "text/plain", "sliceward_build_info"),
        ("/", 404, "text/plain", "/healthz, /readyz, /metrics"),
    ],
)
async def test_the_three_paths_answer_any_client_of_http(path: str, status: int, kind: str, text: str) -> None:
    async with served() as port, aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        assert (answer.status, answer.content_type) == (status, kind)
        assert text in await answer.text()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /healthz HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /healthz\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nCookie: " + b"x" * 40_000 + b"\r\n\r\n", b"431"),
    ],
    ids=["not asked by GET", "no version", "TLS", "endless"],
)
async def test_what_is_no_question_of_ours_is_refused(request_: bytes, status: bytes) -> None:
    async with served() as port:
        answer = await said(port, request_)
        assert answer[9:12] in (status, b""), answer  # who still sends when we hang up may see only that
        assert (await said(port, b"GET /healthz HTTP/1.0\r\n\r\n"))[9:12] == b"200"


async def test_a_bug_behind_a_door_is_told_and_closes_no_other() -> None:
    loops = Loops(lambda: 100.0)
    async with served(Health(loops, broken, new_registry(loops), "1")) as port:
        assert (await said(port, b"GET /readyz HTTP/1.1\r\n\r\n"))[9:12] == b"500"
        assert (await said(port, b"GET /healthz HTTP/1.1\r\n\r\n"))[9:12] == b"200"


async def test_of_those_who_stand_there_and_say_nothing_only_so_many_are_kept() -> None:
    async with served() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        turned_away = [asyncio.create_task(reader.read()) for reader, _ in silent]
        done, waiting = await asyncio.wait(turned_away, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 4:
            done, waiting = await asyncio.wait(turned_away, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in done} == {b""}
        for task in waiting:
            task.cancel()
        for _, writer in silent:
            writer.close()
