"""The agent tests its own host each minute: whether disk is left, whether it takes what is written, whether the container runtime answers."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.daemons.sources.source import Held, Reading
from sliceward.daemons.sources.threads import OneAtATime
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of gRPC says first, and empty settings (RFC 9113, sections 3.4 and 6.5); the server's settings are its answer."""
_FRAME, _TYPE, _SETTINGS = 9, 3, 4


@dataclass(slots=True)
class SelfTest(Held):
    """The source. ``watched``: folders whose file systems count; ``folder``: where a file is written and read back.

    ``runtime``: socket of the container runtime, None where it is not asked. ``patience``: seconds that the whole test may take; ``write`` writes a text into a folder and gives "" or why it cannot.
    """

    watched: tuple[Path, ...]
    folder: Path
    runtime: Path | None = None
    floor: float = 60.0
    patience: float = 10.0
    timeout: float = 15.0
    name: str = "selftest"
    age_metric: str = "host_source_age_selftest_seconds"
    write: Callable[[Path, str], str] = field(default_factory=lambda: write_and_read)
    _thread: OneAtATime = field(default_factory=OneAtATime)
    _at: Path | None = None

    async def read(self, now: float) -> Reading:
        """Measure and write, on a thread: a dying disk hangs, and that is what the test then tells."""
        work = asyncio.ensure_future(self._thread.run(lambda: self._read(now)))
        try:
            # Two waits: a stall of our own ends one of them early, a disk that hangs outlasts both.
            for _ in range(2):
                await asyncio.wait({work}, timeout=self.patience / 2)
            why = f"no answer in {self.patience:g} s"
            try:
                if work.done():
                    return work.result()
            except Retry as error:
                why = str(error)
            return Reading({"host_disk_writable": [0.0]}, {"selftest": f"{self._at}: {why}"})
        finally:
            work.cancel()

    def _read(self, now: float) -> Reading:
        columns, notes, free = dict[str, list[float]](), dict[str, str](), list[float]()
        for folder in self.watched:
            self._at = folder
            if (share := free_percent(folder)) is not None:
                free.append(share)
        if free:
            columns["host_disk_free_percent"] = [min(free)]
        if self.runtime is not None:
            why = runtime_answers(self.runtime, within=self.patience / 3)
            columns["host_runtime_answers"] = [0.0 if why else 1.0]
            notes |= {"selftest/runtime": why} if why else {}
        self._at = self.folder
        why = self.write(self.folder, f"{now}")
        columns["host_disk_writable"] = [0.0 if why else 1.0]
        if why:
            notes["selftest"] = why
        return Reading(columns, notes)


def free_percent(folder: Path) -> float | None:
    """Give the free share of the file system that holds ``folder``, for whoever is not root; None where it is not there."""
    try:
        told = os.statvfs(folder)
    except OSError:
        return None
    return 100.0 * told.f_bavail / told.f_blocks if told.f_blocks else None


def runtime_answers(place: Path, *, within: float) -> str:
    """Greet what listens at a socket as a client of gRPC does; give "" or why it is no answer. Nothing is asked for."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(within)
            door.connect(str(place))
            door.sendall(_GREETING)
            answer = door.recv(_FRAME)
    except TimeoutError:
        return f"{place}: no answer in {within:g} s"
    except OSError as error:
        return f"{place}: {error.strerror or error}"
    return "" if len(answer) == _FRAME and answer[_TYPE] == _SETTINGS else f"{place}: no answer of a container runtime"


def write_and_read(folder: Path, text: str) -> str:
    """Write a file durably and read it back; give "" or why it does not work."""
    file = folder / "selftest"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("w+", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
            handle.seek(0)
            same = handle.read() == text
        file.unlink()
    except OSError as error:
        return f"{file}: {error.strerror or error}"
    return "" if same else f"{file}: reads back as something else"
