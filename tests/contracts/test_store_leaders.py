"""Who may write to the store: one leader at a time, by its epoch, whatever dies, freezes or comes late."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import text, update

from sliceward.daemons.coordinator.settings import LeaderSettings
from sliceward.daemons.store import Store, open_store
from sliceward.daemons.store.connect import database
from sliceward.daemons.store.tables import FENCE
from sliceward.playbooks.incident import Phase
from sliceward.playbooks.turn import Turn
from sliceward.topology.errors import Refused, Retry
from tests.builders import NOW
from tests.contracts.stored import a_page, a_run, an_alert, an_incident, entries

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {"PYTHONPATH": os.pathsep.join([str(ROOT / ".types"), str(ROOT)])}
DYING = """
import asyncio, os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sliceward.daemons.store import open_store
from sliceward.playbooks.turn import Turn
from tests.builders import NOW
from tests.contracts.stored import a_run, an_incident, entries

def die(_connection, _cursor, statement, _parameters, _context, _many):
    if "INTO journal" in statement:
        os._exit(9)

async def main():
    async with open_store(sys.argv[1]) as store:
        await store.lead("two", now=NOW)
        await store.save(Turn(an_incident("inc-whole"), None, entries("inc-whole", 3)), now=NOW)
        event.listen(Engine, "before_cursor_execute", die)
        await store.save(Turn(an_incident("inc-half"), a_run("inc-half"), entries("inc-half", 3)), now=NOW)

asyncio.run(main())
"""


async def test_a_process_that_dies_between_two_statements_leaves_whole_turns_only(store: Store, url: str) -> None:
    dying = await asyncio.create_subprocess_exec(sys.executable, "-c", DYING, url, env=ENVIRON)
    assert await dying.wait() == 9
    assert [case.incident.id for case in (await store.load_open()).cases] == ["inc-whole"]
    assert len((await store.history.entries()).items) == 3
    await store.lead("one", now=NOW)
    await store.save(Turn(an_incident("inc-after"), None), now=NOW)


async def test_nobody_writes_before_leading(url: str) -> None:
    async with open_store(url) as store:
        with pytest.raises(Refused, match="nobody leads"):
            await store.save(Turn(an_incident(), None), now=NOW)


async def test_a_late_write_of_an_earlier_leader_is_refused_and_changes_nothing(store: Store, url: str) -> None:
    await store.save(Turn(an_incident(), None, pages=(a_page(),)), now=NOW, pagers=("web",))
    async with open_store(url) as other:
        assert await other.lead("two", now=NOW) == store.epoch + 1
        for write in (
            lambda: store.save(Turn(an_incident(phase=Phase.ACTING), a_run()), now=NOW),
            lambda: store.append("c1", *entries("inc-1", 1)),
            lambda: store.outbox.sent("inc-1-trigger:web", now=NOW),
            lambda: store.set_setting("paused", "no", who="x", now=NOW),
        ):
            with pytest.raises(Refused, match="two leads"):
                await write()
        (case,) = (await other.load_open()).cases
        assert (case.incident.phase, case.run) == (Phase.OBSERVING, None)
        await other.save(Turn(an_incident(phase=Phase.ACTING), a_run()), now=NOW)


async def test_two_who_lead_at_once_get_different_epochs_and_one_of_them_writes(url: str) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(url)) for _ in range(4)]
        epochs = await asyncio.gather(*(one.lead(f"n{n}", now=NOW) for n, one in enumerate(stores)))
        assert len(set(epochs)) == 4
        saves = (one.save(Turn(an_incident(f"inc-{n}"), None), now=NOW) for n, one in enumerate(stores))
        answers = await asyncio.gather(*saves, return_exceptions=True)
        assert [isinstance(answer, Refused) for answer in answers].count(False) == 1


async def test_writers_at_once_wait_for_each_other_and_numbers_follow_commits(store: Store) -> None:
    turns = [Turn(an_incident(f"inc-{n}"), a_run(f"inc-{n}"), entries(f"inc-{n}", 5)) for n in range(20)]
    numbers = await asyncio.gather(*(store.save(turn, now=NOW) for turn in turns))
    assert sorted(number for some in numbers for number in some) == list(range(1, 101))
    assert all(list(some) == list(range(some[0], some[0] + 5)) for some in numbers)
    assert len((await store.load_open()).cases) == 20


async def test_two_can_open_a_new_store_at_once(url: str) -> None:
    async def one(name: str) -> int:
        async with open_store(url) as store:
            return await store.lead(name, now=NOW)

    assert sorted(await asyncio.gather(*(one(f"n{n}") for n in range(3)))) == [1, 2, 3]


async def test_who_does_not_lead_any_more_when_the_fence_is_his_begins_no_epoch(store: Store, url: str) -> None:
    async with open_store(url) as late:
        with pytest.raises(Retry, match="ran out"):
            await late.lead("late", now=NOW, leads=lambda: False)
        assert late.epoch == 0
        with pytest.raises(Refused):
            await late.set_setting("paused", "x", who="late", now=NOW)
    await store.set_setting("paused", "x", who="one", now=NOW)
    assert store.epoch == 1


async def test_all_that_a_former_leader_writes_is_refused_and_an_alert_is_taken_in_by_anybody(store: Store, url: str) -> None:
    await store.inbox.put([an_alert()], now=NOW)
    async with open_store(url) as other:
        await other.lead("two", now=NOW)
        ((received,), _) = await store.inbox.take()
        with pytest.raises(Refused, match="two leads"):
            await store.inbox.done([received.seq], now=NOW)
        with pytest.raises(Refused, match="two leads"):
            await store.audit(who="ada", what="pause", about="fleet", reason="storm", now=NOW)
        assert len((await other.inbox.take())[0]) == 1
        assert (await other.history.audit()).items == ()
        assert (await store.inbox.put([an_alert("again")], now=NOW)).accepted == 1


async def test_a_leader_that_freezes_in_the_middle_of_a_write_does_not_keep_the_next_from_leading(postgres: str) -> None:
    async with open_store(postgres) as store, database(postgres) as frozen:
        with pytest.raises(Retry):  # noqa: PT012 (a transaction with a pause in it)
            async with frozen.writing() as connection:
                await connection.execute(update(FENCE).values(holder="frozen"))
                assert await store.lead("next", now=NOW) == 1
                # It wakes up.
                await connection.execute(update(FENCE).values(holder="frozen"))
        await store.set_setting("paused", "x", who="next", now=NOW)
        async with frozen.reading() as connection:
            shown = (await connection.execute(text("SHOW idle_in_transaction_session_timeout"))).scalar_one()
    assert int(str(shown).removesuffix("s")) < LeaderSettings(lease="x").duration.total_seconds()
