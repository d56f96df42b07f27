"""Places for what was told past the store: a file beside the database, an annotation of the Lease, or none."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.leadership import LEASE
from sliceward.daemons.coordinator.memo import NOWHERE, InFile, Memo, OnLease
from sliceward.daemons.coordinator.run import memo_of
from sliceward.daemons.coordinator.settings import StoreSettings
from sliceward.topology.errors import Retry
from tests.daemons.coordinator.test_leadership import NAME, SPACE, a_candidate, kept
from tests.fakes.cluster import FakeCluster

if TYPE_CHECKING:
    from pathlib import Path


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def holds(memo: Memo) -> None:
    assert await memo.recall() == ""
    for text in ("one", "two: \u2713"):
        await memo.keep(text)
        assert await memo.recall() == text
    for _ in range(2):
        await memo.keep("")
        assert await memo.recall() == ""


async def test_a_file_holds_the_last_that_was_kept_and_is_gone_with_it(tmp_path: Path) -> None:
    await holds(InFile(tmp_path / "told"))
    assert files(tmp_path) == []


async def test_while_a_write_hangs_nothing_else_is_begun_and_nobody_waits_for_it(tmp_path: Path) -> None:
    memo, before = InFile(tmp_path / "told"), set(threading.enumerate())
    os.mkfifo(tmp_path / "told.new")
    first = asyncio.create_task(memo.keep("one"))
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            for call in (memo.keep("two"), memo.recall()):
                with pytest.raises(Retry):
                    await call
        assert all(thread.daemon for thread in set(threading.enumerate()) - before), "the end of the process does not wait"
    finally:
        reader = os.open(tmp_path / "told.new", os.O_RDONLY | os.O_NONBLOCK)
        await first
        assert os.read(reader, 9) == b"one"
        os.close(reader)
    await memo.keep("")
    assert files(tmp_path) == []


@pytest.mark.looptime
async def test_a_lease_holds_it_and_is_renewed_all_the_same_and_handed_on_with_it() -> None:
    cluster = FakeCluster()
    first, second = a_candidate(cluster, "a"), a_candidate(cluster, "b")
    async with kept(first) as keeping:
        await holds(OnLease(first))
        await OnLease(first).keep("store")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.shield(keeping)
        assert first.leads
    await second.acquire()
    assert await OnLease(second).recall() == "store"
    assert cluster.see(LEASE, NAME, SPACE)["spec"]["holderIdentity"] == "b"


async def test_without_a_lease_there_is_nothing_to_recall() -> None:
    assert await OnLease(a_candidate(FakeCluster(), "a")).recall() == ""
    await NOWHERE.keep("store")
    assert await NOWHERE.recall() == ""


async def test_the_place_follows_from_how_the_coordinator_is_set_up(tmp_path: Path) -> None:
    leader = a_candidate(FakeCluster(), "a")
    sqlite, postgres = StoreSettings(url=f"sqlite:///{tmp_path}/s.db"), StoreSettings(url="postgresql://u@h/n")
    assert memo_of(None, sqlite) == InFile(tmp_path / "s.db-told")
    assert memo_of(leader, postgres) == OnLease(leader)
    assert memo_of(None, postgres) is NOWHERE
