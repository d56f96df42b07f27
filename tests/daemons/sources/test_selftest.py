from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.sources.selftest import SelfTest, free_percent, runtime_answers, write_and_read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_a_good_disk_is_writable_and_has_room(tmp_path: Path) -> None:
    reading = await SelfTest((tmp_path,), tmp_path / "state").read(0.0)
    assert reading.columns["host_disk_writable"] == [1.0]
    assert 0 <= reading.columns["host_disk_free_percent"][0] <= 100
    assert not list((tmp_path / "state").iterdir())


async def test_a_full_disk_is_said_and_why() -> None:
    """`/dev/full` refuses every write as a full disk does."""
    reading = await SelfTest((), Path("/dev/full")).read(0.0)
    assert reading.columns["host_disk_writable"] == [0.0]
    assert reading.notes["selftest"]


async def test_a_disk_that_hangs_takes_no_writes_and_is_asked_again_once_it_answers(tmp_path: Path) -> None:
    hangs = threading.Event()

    def write(folder: Path, text: str) -> str:
        return write_and_read(folder, text) if hangs.wait(30) else "never"

    source = SelfTest((tmp_path,), tmp_path / "state", patience=0.02, write=write)
    reading = await source.read(0.0)
    assert reading.columns == {"host_disk_writable": [0.0]}
    assert reading.notes["selftest"] == f"{tmp_path / 'state'}: no answer in 0.02 s"
    reading = await source.read(60.0)
    assert reading.columns == {"host_disk_writable": [0.0]}
    assert "has hung for" in reading.notes["selftest"]
    hangs.set()
    source.patience = 30.0
    async with asyncio.timeout(30):
        while not (await source.read(120.0)).columns["host_disk_writable"][0]:  # noqa: ASYNC110 (the thread that hung comes back when it likes)
            await asyncio.sleep(0)


def test_a_folder_that_is_not_there_has_no_share() -> None:
    assert free_percent(Path("/not/there")) is None


# ── the container runtime ─────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def a_runtime(place: Path, answer: bytes | None) -> AsyncIterator[None]:
    """Listen as a container runtime does; ``answer`` None: it hangs."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24 + 9)
        if answer is not None:
            writer.write(answer)
            await writer.drain()
        else:
            await reader.read()  # until the client has had enough
        writer.close()

    async with await asyncio.start_unix_server(greet, place):
        yield


async def answers(tmp_path: Path, answer: bytes | None, patience: float = 30.0) -> tuple[list[float], str]:
    place = tmp_path / "containerd.sock"
    async with a_runtime(place, answer):
        reading = await SelfTest((), tmp_path / "state", place, patience=patience).read(0.0)
    return list(reading.columns["host_runtime_answers"]), reading.notes.get("selftest/runtime", "")


async def test_a_runtime_that_greets_back_answers(tmp_path: Path) -> None:
    assert await answers(tmp_path, bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))) == ([1.0], "")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n"])
async def test_what_is_no_runtime_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    told, why = await answers(tmp_path, answer)
    assert told == [0.0]
    assert why.endswith("no answer of a container runtime")


async def test_a_runtime_that_hangs_is_told_while_the_disk_is_well(tmp_path: Path) -> None:
    assert runtime_answers(tmp_path / "none.sock", within=1.0).endswith("No such file or directory")
    told, why = await answers(tmp_path, None, patience=0.3)
    assert told == [0.0]
    assert why.endswith("no answer in 0.1 s")


async def test_a_runtime_that_nobody_named_is_not_asked(tmp_path: Path) -> None:
    assert "host_runtime_answers" not in (await SelfTest((), tmp_path).read(0.0)).columns
