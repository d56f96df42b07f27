"""Blocking reads on threads: never two at once, none waited for at the end, and threads used again."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.sources.threads import OneAtATime
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Callable


def reading() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sliceward-read"]


async def test_what_comes_back_is_given_and_what_goes_wrong_is_raised() -> None:
    thread = OneAtATime()
    assert await thread.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 8) == 8


async def test_a_second_read_is_not_begun_while_the_first_hangs() -> None:
    thread, go, begun = OneAtATime(), threading.Event(), list[int]()
    first = asyncio.create_task(thread.run(go.wait))
    await asyncio.sleep(0)
    with pytest.raises(Retry, match="has hung"):
        await thread.run(lambda: begun.append(1))
    go.set()
    assert await first
    assert begun == []


async def test_a_thousand_reads_one_after_the_other_start_no_thousand_threads() -> None:
    readers = [OneAtATime() for _ in range(10)]
    seen = set[int]()
    work: Callable[[], None] = lambda: seen.add(threading.get_ident())  # noqa: E731 (what a thread runs)
    for _ in range(100):
        for reader in readers:
            await reader.run(work)
    assert len(seen) <= len(reading()) < 100


async def test_who_hangs_keeps_nobody_else_waiting_and_is_no_reason_to_stay() -> None:
    hung, other, go = OneAtATime(), OneAtATime(), threading.Event()
    first = asyncio.create_task(hung.run(go.wait))
    await asyncio.sleep(0)
    assert await other.run(lambda: 1) == 1
    assert all(thread.daemon for thread in reading())
    go.set()
    await first
