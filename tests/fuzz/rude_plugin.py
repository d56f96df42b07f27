"""A device plugin that answers each scrape with the next of the pages it was given, and with a good one when there is none left."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = "".join(f'duty_cycle_node{{make="cloud-tpu",accelerator_id="77-{n}",model="tpu7x"}} {n + 40}\n' for n in range(4)).encode()
PATIENCE = 10.0


def whole(page: bytes, status: str = "200 OK") -> bytes:
    """Give the answer that carries a page."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n".encode() + page


@dataclass(repr=False)
class RudePlugin:
    """One at a time, as agents ask. ``answers``: raw ones, still to be given. ``good``: good ones that were given since."""

    answers: deque[bytes] = field(default_factory=deque)
    slowly: bool = False
    good: int = 0
    _door: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, name="rude plugin", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._door.getsockname()[1]}/metrics"

    def _serve(self) -> None:
        while True:
            try:
                asking, _ = self._door.accept()
            except OSError:
                return  # closed
            with asking, suppress(OSError):  # it may hang up before it has all
                self._answer(asking)

    def _answer(self, asking: socket.socket) -> None:
        asking.settimeout(PATIENCE)
        asking.recv(65_536)
        if not self.answers:
            asking.sendall(whole(GOOD))
            self.good += 1
            return
        self.good = 0
        try:
            for piece in self._pieces(self.answers[0]):
                asking.sendall(piece)
            asking.shutdown(socket.SHUT_WR)
            asking.recv(1)  # until it has hung up
        finally:
            self.answers.popleft()

    def _pieces(self, answer: bytes) -> Iterator[bytes]:
        if not self.slowly:
            yield answer
            return
        for byte in answer:
            time.sleep(0.05)
            yield bytes([byte])
