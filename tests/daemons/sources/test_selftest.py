from __future__ import annotations

from pathlib import Path

from sliceward.daemons.sources.selftest import SelfTest, free_percent


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


def test_a_folder_that_is_not_there_has_no_share() -> None:
    assert free_percent(Path("/not/there")) is None
