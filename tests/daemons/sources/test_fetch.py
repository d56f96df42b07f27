"""What a server may do to the one who asks it: each ends as `Retry` in time, and the next question is asked."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import ssl
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.sources.fetch import Fetched, Fetcher
from sliceward.topology.errors import Misconfigured, Retry
from tests.daemons.sources.builders import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def a_server(says: bytes, *, hangs: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer each who asks with these bytes; gives the address, and a list of what was asked."""
    asked, stop = list[bytes](), threading.Event()

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                lines = list(iter(lambda: self.rfile.readline().removesuffix(b"\r\n"), b""))  # to the empty line, or the end
                if not lines:
                    return  # it came, and went without a word
                asked.append(b"\r\n".join([*lines, b"", b""]))
                self.wfile.write(says)
                if hangs:
                    stop.wait()

    # Threads, all of which have ended when the block has: a connection that came in last is closed like the others.
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            stop.set()
            server.shutdown()
            serving.join()


async def test_path_query_and_headers_are_asked_as_told() -> None:
    async with a_server(OK + b"Content-Length: 2\r\n\r\nhi") as (url, asked):
        told = await Fetcher(20.0, 100).get(f"{url}/a/b?c=d%3De", headers={"Authorization": "Bearer x"})
    assert told == Fetched(200, b"hi")
    assert asked[0].startswith(b"GET /a/b?c=d%3De HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer x\r\n" in asked[0]


async def test_a_body_in_chunks_is_put_together() -> None:
    async with a_server(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n4\r\n you\r\n0\r\n\r\n") as (url, _):
        assert (await Fetcher(20.0, 100).get(url)).body == b"hi you"


async def test_of_a_refusal_only_the_status_is_read() -> None:
    async with a_server(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 9999999\r\n\r\n", hangs=True
    ) as (url, _):
        assert await Fetcher(20.0, 100).get(url) == Fetched(302, b"")


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (OK + b"Content-Length: 101\r\n\r\n" + b"#" * 101, "more than 100 bytes"),
        (OK + b"\r\n" + b"#" * 101, "more than 100 bytes"),
        (OK + b"Content-Length: 100\r\n\r\nhalf", "does not answer: IncompleteRead"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not answer"),
        (OK + b"a: b\r\n" * 1000 + b"\r\n", "does not answer"),
        (b"", "does not answer"),
    ],
    ids=["too large", "too large without a length", "cut off", "not HTTP", "headers without end", "hung up"],
)
async def test_an_answer_that_is_none_is_told(says: bytes, why: str) -> None:
    async with a_server(says) as (url, _):
        with pytest.raises(Retry, match=why):
            await Fetcher(20.0, 100).get(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[", "ftp://127.0.0.1/", "http://127.0.0.1:99999999/", "/metrics", "http://a b/"]
)
async def test_an_address_that_leads_nowhere_is_told(url: str) -> None:
    with pytest.raises(Retry, match="does not answer"):
        await Fetcher(20.0, 100).get(url)


async def test_a_header_that_would_make_two_is_refused() -> None:
    async with a_server(OK + b"\r\n") as (url, asked):
        with pytest.raises(Retry, match="Invalid header value"):
            await Fetcher(20.0, 100).get(url, headers={"Authorization": "x\r\nHost: y"})
    assert asked == []


async def test_a_server_that_hangs_costs_its_patience_and_the_next_question_is_asked() -> None:
    fetcher = Fetcher(0.05, 100)
    async with asyncio.timeout(60), a_server(OK + b"Content-Length: 10\r\n\r\nhalf", hangs=True) as (url, asked):
        while len(asked) < 3:
            with pytest.raises(Retry, match=r"does not answer|has hung"):
                await fetcher.get(url)
            await asyncio.sleep(0.002)  # the thread's turn


async def test_who_waits_no_longer_keeps_no_thread_waiting() -> None:
    fetcher = Fetcher(60.0, 100)
    async with a_server(b"", hangs=True) as (url, asked), a_server(OK + b"Content-Length: 2\r\n\r\nup") as (other, _):
        task = asyncio.create_task(fetcher.get(url))
        await eventually(lambda: asked)
        task.cancel()
        await asyncio.wait([task])
        async with asyncio.timeout(20):  # a third of the patience: the thread did not wait for its end
            while True:
                with suppress(Retry):  # "the read before has hung": the thread's turn has not come
                    assert await fetcher.get(other) == Fetched(200, b"up")
                    break
                await asyncio.sleep(0.002)


async def test_what_cannot_be_checked_is_not_asked() -> None:
    def without_ca() -> ssl.SSLContext:
        raise Misconfigured("CA file", "cannot be used", "Mount it")

    with pytest.raises(Misconfigured):
        await Fetcher(20.0, 100).get("https://127.0.0.1:1/", tls=without_ca)


async def test_who_waits_no_longer_before_there_is_a_connection_makes_none() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow_to_begin() -> ssl.SSLContext:
        begun.set()
        go.wait(20)
        return ssl.create_default_context()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        fetcher = Fetcher(60.0, 100)
        task = asyncio.create_task(fetcher.get(f"https://127.0.0.1:{server.getsockname()[1]}/", tls=slow_to_begin))
        await eventually(begun.is_set)
        task.cancel()
        await asyncio.wait([task])
        go.set()
        await eventually(lambda: fetcher._thread._began is None)  # noqa: SLF001 (the thread is free)
        with pytest.raises(BlockingIOError):
            server.accept()
