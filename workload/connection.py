"""The thread behind a reporter: keeps a connection to the agent, sends a state each period, hands over what the agent asks.

Everything that can wait waits here, in a daemon thread that the job never joins.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sliceward.workload.messages import MAX_LINE, SOCKET, line, read

if TYPE_CHECKING:
    import threading
    from collections import deque
    from collections.abc import Callable, Mapping

_FIRST_WAIT, _LONGEST_WAIT, _PATIENCE = 0.5, 30.0, 2.0


@dataclass(frozen=True, slots=True)
class Side:
    """The reporter's side of the talk: ``state`` is sent each ``period`` seconds, then what is ``waiting``.

    ``incoming`` takes what the agent says.
    """

    hello: Mapping[str, Any]
    state: Callable[[], dict[str, Any]]
    waiting: deque[dict[str, Any]]
    incoming: Callable[[dict[str, Any]], None]
    period: float


class Connection:
    """Talks to the agent until told to stop. ``address`` is ``host:port``, ``unix:/path`` or a path."""

    def __init__(self, address: str, side: Side) -> None:
        """Nothing is connected before `run`."""
        self._address, self._side = address, side
        self._socket: socket.socket | None = None

    def run(self, stop: threading.Event) -> None:
        """Connect and talk, again and again, until ``stop``; nothing is raised."""
        wait = _FIRST_WAIT
        while not stop.is_set():
            began = time.monotonic()
            try:
                with contextlib.closing(_connect(self._address)) as self._socket:
                    self._talk(self._socket, stop)
            except Exception:  # noqa: BLE001, S110 (the agent is away, or speaks nonsense: come back later, whatever it was)
                pass
            self._socket = None
            wait = _FIRST_WAIT if time.monotonic() - began > _LONGEST_WAIT else min(wait * 2, _LONGEST_WAIT)
            # Spread the hosts of a gang whose agents were all upgraded at once.
            stop.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311 (spreads calls over time, keeps no secret)

    def forget(self) -> None:
        """Drop the socket without a word to the agent: in a forked child it belongs to the parent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _talk(self, agent: socket.socket, stop: threading.Event) -> None:
        agent.sendall(line({"say": "hello", **self._side.hello}))
        pending, due = b"", time.monotonic()
        while not stop.is_set():
            if (left := due - time.monotonic()) <= 0:
                agent.sendall(line(self._side.state()))
                self._send_waiting(agent)
                due = time.monotonic() + self._side.period
                continue
            if not select.select([agent], [], [], left)[0]:
                continue
            got = agent.recv(MAX_LINE)
            if not got:
                return
            *lines, pending = (pending + got).split(b"\n")
            if len(pending) > MAX_LINE:
                return
            for raw in lines:
                self._side.incoming(read(raw))
            due = min(due, time.monotonic() + 0.05)  # an answer should not wait a whole period

    def _send_waiting(self, agent: socket.socket) -> None:
        waiting = self._side.waiting
        while waiting:
            message = waiting[0]
            agent.sendall(line(message))
            # Taken out only once it is sent; the job may have pushed it out of the full queue meanwhile.
            if waiting and waiting[0] is message:
                waiting.popleft()


def _connect(address: str) -> socket.socket:
    """Give a connected socket that waits at most `_PATIENCE` seconds for anything."""
    if address.startswith(("/", "unix:")):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_PATIENCE)
            connection.connect(address.removeprefix("unix:"))
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE)


def address_from(environ: Mapping[str, str]) -> str:
    """Give where the agent listens: ``SLICEWARD_AGENT_ADDRESS``, else the socket on the host path."""
    return environ.get("SLICEWARD_AGENT_ADDRESS") or SOCKET
