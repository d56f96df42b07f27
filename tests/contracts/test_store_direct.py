"""SQLite alone: what is saved is written beside the event loop, whole or not at all, whoever stops waiting for it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from sliceward.daemons.store import open_store
from sliceward.daemons.store.connect import database
from sliceward.playbooks.turn import Turn
from sliceward.topology.errors import Retry
from tests.builders import NOW
from tests.contracts.stored import a_run, an_incident, entries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from sliceward.daemons.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{tmp_path}/store.db") as opened:
        await opened.lead("one", now=NOW)
        yield opened


@contextmanager
def before_each(statement: Callable[[str], None]) -> Iterator[None]:
    def said(*about: object) -> None:
        statement(str(about[2]))

    event.listen(Engine, "before_cursor_execute", said)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", said)


def a_turn(name: str) -> Turn:
    return Turn(an_incident(name), a_run(name), entries(name, 3))


async def test_no_statement_of_a_save_stops_the_event_loop(store: Store) -> None:
    threads = set[int]()
    with before_each(lambda _statement: threads.add(threading.get_ident())):
        await store.save(*(a_turn(f"inc-{number}") for number in range(50)), now=NOW)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("times", [1, 3])
async def test_a_save_that_nobody_waits_for_any_more_is_over_before_the_next_begins(store: Store, times: int) -> None:
    """Also where who waits is asked to end again and again, as by a loop that ends and then the process."""
    reached, on = threading.Event(), threading.Event()

    def pause(statement: str) -> None:
        if "INTO journal" in statement and not reached.is_set():
            reached.set()
            assert on.wait(60)

    with before_each(pause):
        first = asyncio.create_task(store.save(a_turn("inc-first"), now=NOW))
        assert await asyncio.to_thread(reached.wait, 60)
        for _ in range(times):
            first.cancel()
            await asyncio.sleep(0)
        second = asyncio.create_task(store.save(a_turn("inc-second"), now=NOW))
        setting = asyncio.create_task(store.set_setting("paused", "x", who="ann", now=NOW))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not first.done()
        on.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        await asyncio.gather(second, setting)
    kept = {case.incident.id for case in (await store.load_open()).cases}
    assert kept == {"inc-first", "inc-second"}
    assert len((await store.history.entries()).items) == 6


async def test_a_write_that_comes_to_nothing_keeps_no_lock(store: Store) -> None:
    class _Odd(Exception):
        """Nobody expected that."""

    async with database(str(store._database.writer.url).replace("+aiosqlite", "")) as other:  # noqa: SLF001 (the same file)

        def odd(_connection: object) -> None:
            raise _Odd

        with pytest.raises(_Odd):
            await other.write(odd)
        await store.save(a_turn("inc-1"), now=NOW)
        await other.write(lambda connection: connection.exec_driver_sql("UPDATE fence SET holder = 'other'"))


async def test_a_database_that_cannot_be_written_is_away_and_not_broken(store: Store) -> None:
    def fail(statement: str) -> None:
        if "INTO incidents" in statement:
            raise OSError("no space left on device")

    with before_each(fail), pytest.raises(Retry, match="no space left"):
        await store.save(a_turn("inc-1"), now=NOW)
    await store.save(a_turn("inc-2"), now=NOW)
    assert [case.incident.id for case in (await store.load_open()).cases] == ["inc-2"]
