"""Requests byte by byte, for tests that send what no client library would."""

from __future__ import annotations

import json
import select
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fuzz.ground import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST = 8 << 20
PIECE = 1 << 20
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Comes before an answer, and is none (RFC 9110, 15.2.1)."""


@dataclass(frozen=True)
class Answer:
    """What came back; ``status`` 0: nothing, the other end hung up."""

    status: int
    head: str
    body: bytes

    def problem(self) -> dict[str, Any]:
        """Give the error of an answer that says no, which must say why and what to do, and not at length."""
        assert len(self.body) < 4096, f"{len(self.body)} bytes"
        found: dict[str, Any] = json.loads(self.body)["error"]
        assert found["code"]
        assert found["why"].strip(), found
        assert found["what_to_do"].strip(), found
        return found


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def exchange(port: int, pieces: Iterable[bytes]) -> Answer:
    """Send all, read one answer."""
    with connect(port) as door:
        send(door, pieces)
        return read(door)


def speaks(door: socket.socket, *, within: float) -> bool:
    """Whether the other end says something, or hangs up, within seconds."""
    return bool(select.select([door], [], [], within)[0])


def send(door: socket.socket, pieces: Iterable[bytes]) -> None:
    try:
        for piece in pieces:
            door.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it said no before it had all


def read(door: socket.socket, *, bodyless: bool = False) -> Answer:
    """Read one answer, up to its end or to the end of the connection. ``bodyless``: its length is of what would have come."""
    raw, wanted = b"", None
    try:
        while (b"\r\n\r\n" not in raw or raw.startswith(GO_ON)) and (more := door.recv(PIECE)):
            raw = (raw + more).removeprefix(GO_ON)
        head, _, body = raw.partition(b"\r\n\r\n")
        wanted = 0 if bodyless else _length(head)
        while (wanted is None or len(body) < wanted) and len(body) < MOST and (more := door.recv(PIECE)):
            body += more
    except ConnectionResetError:
        head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return Answer(int(words[1]) if len(words) > 1 else 0, head.decode("latin-1"), body if wanted is None else body[:wanted])


def _length(head: bytes) -> int | None:
    if b"content-type: text/event-stream" in head.lower():
        return 0  # it never ends
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None


def pieces_of(body: bytes) -> Iterator[bytes]:
    for begin in range(0, len(body), PIECE):
        yield body[begin : begin + PIECE]


def post(port: int, path: str, body: bytes, *, content_type: str = "application/json", more: str = "") -> Answer:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return exchange(port, [head.encode("latin-1"), *pieces_of(body)])
