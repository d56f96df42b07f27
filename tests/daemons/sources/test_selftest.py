from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from sliceward.daemons.sources.selftest import SelfTest, free_percent, write_and_read


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
