"""The store's promises, the same on SQLite and on PostgreSQL: what is written is read back, whole, once and in order."""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import create_async_engine

from sliceward.daemons.store import Store, Unseated, open_store
from sliceward.daemons.store.connect import Database, Unstorable, database
from sliceward.playbooks.incident import Entry, EntryKind, How, Phase
from sliceward.playbooks.run import Call, Ending, Step
from sliceward.playbooks.turn import Answered, Turn
from sliceward.topology.errors import Misconfigured, Refused, Retry
from tests.builders import NOW
from tests.contracts.stored import HOST, a_page, a_run, an_alert, an_incident, entries, spoil
from tests.playbooks.stage import seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


async def test_what_was_saved_is_read_back_as_it_was_after_a_restart(url: str) -> None:
    incident, run = an_incident(), a_run()
    async with open_store(url) as store:
        await store.lead("one", now=NOW)
        await store.save(Turn(incident, run, entries("inc-1", 2)), now=NOW)
    async with open_store(url) as again:
        loaded = await again.load_open("c1")
        assert [(case.incident, case.run) for case in loaded.cases] == [(incident, run)]
        assert loaded.set_aside == {}
        assert (await again.load_open("c2")).cases == ()
        one = await again.load("inc-1")
        assert one is not None
        assert one.run == run
        assert await again.load("inc-2") is None


async def test_an_incident_is_loaded_with_its_last_run(store: Store) -> None:
    old, new = a_run(number=1, ended=NOW), a_run(number=2, started=NOW + seconds(60), ending=Ending.HANDED_OVER)
    await store.save(Turn(an_incident(), old), Turn(an_incident(), new), now=NOW)
    (case,) = (await store.load_open()).cases
    assert case.run == new


async def test_a_turn_without_a_run_leaves_the_stored_run_as_it_is(store: Store) -> None:
    await store.save(Turn(an_incident(), a_run()), now=NOW)
    await store.save(Turn(an_incident(phase=Phase.HELD), None), now=NOW)
    (case,) = (await store.load_open()).cases
    assert (case.incident.phase, case.run) == (Phase.HELD, a_run())


async def test_a_closed_incident_is_history(store: Store) -> None:
    await store.save(Turn(an_incident(), None), now=NOW)
    await store.save(Turn(an_incident(closed=NOW, how=How.HEALED, phase=Phase.CLOSED), None), now=NOW)
    assert (await store.load_open()).cases == ()
    (row,) = (await store.history.incidents({"state": "closed", "how": "healed"})).items
    assert (row["id"], row["state"], row["domain"]) == ("inc-1", "closed", ["h-1"])
    assert (await store.history.incidents({"state": "open"})).items == ()


async def test_a_save_that_breaks_in_the_middle_leaves_nothing(store: Store) -> None:
    bad = Entry(NOW, "inc-1", EntryKind.SEEN, "no JSON", {"x": object()})
    turn = Turn(an_incident(), a_run(), (*entries("inc-1", 2), bad), pages=(a_page(),))
    with pytest.raises(TypeError):
        await store.save(turn, now=NOW, pagers=("web",))
    assert (await store.load_open()).cases == ()
    assert (await store.history.entries()).items == ()
    assert await store.outbox.due(NOW) == ((), {})


async def test_a_save_that_is_cancelled_leaves_all_or_nothing(store: Store) -> None:
    for wait in range(6):
        name = f"inc-{wait}"
        task = asyncio.create_task(store.save(Turn(an_incident(name), None, entries(name, 50)), now=NOW))
        for _ in range(wait * 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        there = len((await store.history.entries({"incident": name})).items)
        assert there == (50 if await store.load(name) else 0)


async def test_an_intent_stands_before_its_result_and_has_none_again_while_it_is_called_again(store: Store) -> None:
    run = a_run()
    call = Call(run.steps[0], 0, run.operation)
    await store.save(Turn(an_incident(), run, call=call), now=NOW)
    (intent,) = await store.history.intents("inc-1")
    assert (intent.operation, intent.irreversible, intent.result, intent.at) == ("inc-1-r1.0", True, None, NOW)
    await store.save(Turn(an_incident(), run, answered=Answered(run.operation, "waiting: not yet")), now=NOW + seconds(9))
    (intent,) = await store.history.intents("inc-1")
    assert (intent.result, intent.result_at) == ("waiting: not yet", NOW + seconds(9))
    epoch = await store.lead("two", now=NOW)
    await store.save(Turn(an_incident(), run, call=call), now=NOW + seconds(10))
    (intent,) = await store.history.intents("inc-1")
    assert (intent.result, intent.result_at, intent.at, intent.epoch) == (None, None, NOW + seconds(10), epoch)
    answered, again = (
        Turn(an_incident(), run, answered=Answered(run.operation, "waiting: soon")),
        Turn(an_incident(), run, call=call),
    )
    await store.save(answered, again, now=NOW + seconds(20))
    (intent,) = await store.history.intents("inc-1")
    assert intent.result is None, "it is called again, and may be under way"
    await store.save(again, replace(answered, answered=Answered(run.operation, "done: gone")), now=NOW + seconds(30))
    (intent,) = await store.history.intents("inc-1")
    assert (intent.result, intent.result_at) == ("done: gone", NOW + seconds(30))


async def test_turns_of_one_incident_that_are_saved_together_stand_as_if_one_after_another(store: Store) -> None:
    before, after = a_run(), a_run(facts={"x": 2})
    first = Turn(an_incident(), before, entries("inc-1", 2), call=Call(before.steps[0], 0, "inc-1-r1.0"))
    then = Turn(an_incident(phase=Phase.ACTING), after, entries("inc-1", 2, first=2), answered=Answered("inc-1-r1.0", "done: x"))
    other = Turn(an_incident("inc-2"), None, entries("inc-2", 1))
    assert await store.save(first, other, then, now=NOW) == (1, 2, 3, 4, 5)
    cases = {case.incident.id: case for case in (await store.load_open()).cases}
    assert (cases["inc-1"].incident.phase, cases["inc-1"].run) == (Phase.ACTING, after)
    told = [(row["incident"], row["text"]) for row in (await store.history.entries()).items]
    assert told == [("inc-1", "line 0"), ("inc-1", "line 1"), ("inc-2", "line 0"), ("inc-1", "line 2"), ("inc-1", "line 3")]
    (intent,) = await store.history.intents("inc-1")
    assert intent.result == "done: x"


async def test_a_thousand_turns_are_saved_by_as_many_statements_as_ten(store: Store) -> None:
    async def statements(count: int) -> int:
        said: list[str] = []

        def listen(*about: Any) -> None:  # noqa: ANN401 (as SQLAlchemy tells it)
            said.append(about[2])

        event.listen(Engine, "before_cursor_execute", listen)
        turns = [Turn(an_incident(f"inc-{count}-{n}"), a_run(f"inc-{count}-{n}"), ()) for n in range(count)]
        await store.save(*turns, now=NOW)
        event.remove(Engine, "before_cursor_execute", listen)
        return len(said)

    assert await statements(10) == await statements(1_000) < 10
    assert len((await store.load_open()).cases) == 1_010


async def test_lists_are_paged_without_gaps_or_doubles_and_newest_first(store: Store) -> None:
    turns = [Turn(an_incident(f"inc-{n:02}", opened=NOW + seconds(n // 3)), None) for n in range(25)]
    await store.save(*turns, now=NOW)
    seen: list[str] = []
    after = ""
    while True:
        page = await store.history.incidents({"cluster": "c1"}, after=after, limit=7)
        seen += [row["id"] for row in page.items]
        if page.next is None:
            break
        after = page.next
    assert seen == [f"inc-{n:02}" for n in sorted(range(25), key=lambda n: (n // 3, n), reverse=True)]


async def test_the_story_is_read_on_from_a_number(store: Store) -> None:
    await store.save(Turn(an_incident(), None, entries("inc-1", 30)), now=NOW)
    await store.append("c1", Entry(NOW, "", EntryKind.PAUSED, "paused by ada"))
    first = await store.history.entries(limit=20)
    rest = await store.history.entries(after=int(first.next or 0), limit=20)
    assert [row["text"] for row in (*first.items, *rest.items)] == [f"line {n}" for n in range(30)] + ["paused by ada"]
    assert rest.next is None
    assert await store.history.last_seq() == rest.items[-1]["seq"]
    assert len((await store.history.entries({"incident": "inc-1"})).items) == 30


@pytest.mark.parametrize(
    ("filters", "limit"), [({"body": "x"}, 5), ({}, 0), ({}, 501)], ids=["unknown filter", "none", "too many"]
)
async def test_a_list_that_cannot_be_given_is_refused(store: Store, filters: dict[str, str], limit: int) -> None:
    with pytest.raises(Refused):
        await store.history.incidents(filters, limit=limit)
    with pytest.raises(Refused):
        await store.history.incidents({}, after="nonsense|x")


async def test_a_row_that_cannot_be_read_is_set_aside_by_name_and_the_rest_go_on(store: Store, url: str) -> None:
    await store.save(Turn(an_incident("inc-1"), None), Turn(an_incident("inc-2"), a_run("inc-2")), now=NOW)
    await store.save(Turn(an_incident("inc-3"), a_run("inc-3"), pages=(a_page("inc-3"),)), now=NOW, pagers=("a", "b"))
    await store.inbox.put([an_alert("f1"), an_alert("f2")], now=NOW)
    await spoil(url, "UPDATE incidents SET body = '{}' WHERE id = 'inc-1'")
    await spoil(url, "UPDATE runs SET body = 'no JSON' WHERE incident = 'inc-2'")
    await spoil(url, "UPDATE outbox SET body = '[]' WHERE pager = 'a'")
    await spoil(url, "UPDATE inbox SET body = '[]' WHERE fingerprint = 'f1'")
    loaded = await store.load_open()
    assert [case.incident.id for case in loaded.cases] == ["inc-3"]
    assert set(loaded.set_aside) == {"inc-1", "inc-2"}
    deliveries, aside = await store.outbox.due(NOW)
    assert ([d.pager for d in deliveries], set(aside)) == (["b"], {"page inc-3-trigger:a"})
    alerts, aside = await store.inbox.take()
    assert ([a.alert.fingerprint for a in alerts], set(aside)) == (["f2"], {"alert 1"})
    rows = {row["id"]: row for row in (await store.history.incidents()).items}
    assert rows["inc-1"]["set_aside"] is True
    assert len(await store.started(NOW - seconds(1))) == 2


async def test_settings_audit_and_age(store: Store) -> None:
    assert await store.setting("paused") is None
    await store.set_setting("paused", {"by": "ada", "why": "storm"}, who="ada", now=NOW)
    await store.set_setting("paused", "", who="bob", now=NOW)
    assert await store.setting("paused") == ""
    await store.audit(who="ada", what="pause", about="fleet", reason="storm", now=NOW)
    (row,) = (await store.history.audit({"who": "ada"})).items
    assert (row["what"], row["reason"]) == ("pause", "storm")
    await store.ping()
    assert 0 <= store.age < 60


async def test_what_is_old_is_forgotten_and_what_is_open_is_not(store: Store) -> None:
    closed = an_incident("inc-old", closed=NOW, how=How.HEALED, phase=Phase.CLOSED)
    await store.save(Turn(closed, a_run("inc-old", ended=NOW), entries("inc-old", 3)), Turn(an_incident(), None), now=NOW)
    await store.inbox.put([an_alert("f1"), an_alert("f2", "resolved", ends_at=NOW)], now=NOW)
    await store.inbox.done([1, 2], now=NOW)
    assert await store.forget(older_than=timedelta(days=30), now=NOW + timedelta(days=29)) == 0
    assert await store.forget(older_than=timedelta(days=30), now=NOW + timedelta(days=31)) == 1
    assert await store.load("inc-old") is None
    assert (await store.history.entries()).items == ()
    assert [case.incident.id for case in (await store.load_open()).cases] == ["inc-1"]
    present = [one async for one in store.inbox.present(since=NOW)]
    assert [one.alert.fingerprint for one in present] == ["f1"], "an alert that fires is remembered"


async def test_starts_are_those_that_harm(store: Store) -> None:
    looking = replace(a_run("inc-2"), steps=(Step("look", "evidence.keep", seconds(60)),))
    await store.save(Turn(an_incident(), a_run()), Turn(an_incident("inc-2"), looking), now=NOW)
    (start,) = await store.started(NOW - seconds(1))
    assert (start.incident, start.domain) == ("inc-1", frozenset({HOST}))
    assert await store.started(NOW + seconds(1)) == ()


async def test_a_run_that_began_long_ago_and_ended_lately_is_told_so_that_its_hosts_rest(store: Store) -> None:
    await store.save(Turn(an_incident(), a_run(ended=NOW + timedelta(days=3))), now=NOW)
    (start,) = await store.started(NOW + timedelta(days=2))
    assert start.ended == NOW + timedelta(days=3)


async def test_a_store_of_a_newer_sliceward_is_not_touched(url: str) -> None:
    async with open_store(url):
        pass
    await spoil(url, "UPDATE schema_version SET version_num = '9999'")
    with pytest.raises(Misconfigured, match="another sliceward"):
        async with open_store(url):
            pass


@pytest.mark.parametrize(
    "address", ["", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:////no/such/folder/x.db", "::::"]
)
async def test_an_address_that_is_no_store_is_refused_with_what_to_do(address: str) -> None:
    with pytest.raises(Misconfigured):
        async with open_store(address):
            pass


async def test_what_can_never_be_written_is_not_asked_again(store: Store) -> None:
    with pytest.raises(Unstorable):
        await store.audit(who="half a pair \ud800", what="pause", about="all", reason="why", now=NOW)
    await store.audit(who="bob", what="pause", about="all", reason="why", now=NOW)
    assert [row["who"] for row in (await store.history.audit()).items] == ["bob"]


async def test_what_can_never_be_asked_for_is_told_apart_from_silence(store: Store) -> None:
    with pytest.raises(Unstorable):
        await store.load("half a pair \ud800")
    assert await store.load("inc-1") is None


async def test_what_postgresql_alone_can_never_be_asked_for_is_told_apart_too(postgres: str) -> None:
    async with open_store(postgres) as store:
        for asked in (
            store.load("a\0b"),
            store.silences.one("a\0b"),
            store.history.incidents({"part": "a\0b"}),
            store.history.incidents(after=f"{NOW.isoformat()}|a\0b"),
            store.history.entries(after=10**20),
        ):
            with pytest.raises(Unstorable):
                await asked
        assert await store.load("inc-1") is None


async def test_a_pool_that_has_no_connection_left_is_a_store_that_does_not_answer(url: str) -> None:
    async with database(url) as opened:
        small = create_async_engine(opened.reader.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
        crowded = Database(small, small)
        async with crowded.reading():
            with pytest.raises(Retry, match="QueuePool"):
                async with crowded.reading():
                    pass
            with pytest.raises(Retry, match="QueuePool"):
                async with crowded.writing():
                    pass
        await small.dispose()


async def test_what_no_column_of_ours_can_turn_into_text_is_not_asked_again(store: Store) -> None:
    with pytest.raises(Unstorable):
        await store.audit(who="bob", what="pause", about="all", reason="why", now=cast("datetime", "noon"))


@pytest.mark.parametrize("who", ["a NUL \0", "long" * 100], ids=["NUL", "too long"])
async def test_what_postgresql_alone_can_never_take_is_not_asked_again_either(postgres: str, who: str) -> None:
    async with open_store(postgres) as store:
        await store.lead("one", now=NOW)
        with pytest.raises(Unstorable):
            await store.audit(who=who, what="pause", about="all", reason="why", now=NOW)


async def test_the_words_of_others_are_kept_in_the_story_without_what_no_store_takes(store: Store) -> None:
    said = Entry(NOW, "inc-1", EntryKind.SEEN, "device \0 check", {"note": "\0"})
    run = a_run()
    call = Call(run.steps[0], 0, run.operation)
    await store.save(Turn(an_incident(), run, (said,), call=call), now=NOW)
    await store.save(Turn(an_incident(), run, answered=Answered(call.operation, "done \0")), now=NOW)
    (entry,) = (await store.history.entries()).items
    assert (entry["text"], entry["facts"]) == ("device \ufffd check", {"note": "\0"})
    (intent,) = await store.history.intents("inc-1")
    assert intent.result == "done \ufffd"


async def test_a_database_that_is_not_there_is_asked_again_later() -> None:
    with pytest.raises(Retry):
        async with open_store("postgresql://nobody@127.0.0.1:1/none"):
            pass


async def test_only_a_write_of_the_leader_shows_that_it_leads(store: Store) -> None:
    await store.load_open()
    assert store.proof_age == math.inf, "nothing was written"
    await store.prove(now=NOW)
    assert store.proof_age < 60
    store._proven = -math.inf  # noqa: SLF001 (long ago)
    await store.ping()
    assert store.proof_age == math.inf
    await store.confirm()
    assert store.proof_age < 60
    store._proven = -math.inf  # noqa: SLF001 (as above)
    await store.save(Turn(an_incident("inc-1"), None), now=NOW)
    assert store.proof_age < 60


async def test_a_word_on_who_leads_counts_from_when_the_fence_was_held_and_not_from_its_begin_or_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Seconds()
    monkeypatch.setattr("sliceward.daemons.store.store.time", clock)

    def late(*_: object) -> None:
        clock.seconds += 100.0  # the fence is another's for so long

    engine = store._database.writer.sync_engine  # noqa: SLF001 (the database behind it)
    with heard(engine, "before_cursor_execute", late):
        await store.confirm()
    assert store.proof_age == 0.0
    async with store._fenced():  # noqa: SLF001 (a write whose end takes long)
        clock.seconds += 100.0
    assert store.proof_age == 100.0
    await store.save(Turn(an_incident("inc-1"), None), now=NOW)
    assert store.proof_age == 0.0


async def test_who_does_not_lead_any_more_is_told_so_where_it_asks(url: str, store: Store) -> None:
    async with open_store(url) as other:
        with pytest.raises(Unseated, match="epoch 0 is over"):
            await other.confirm()
        await other.lead("two", now=NOW)
        with pytest.raises(Unseated, match="two leads in epoch 2"):
            await store.confirm()
        await other.confirm()


WRITES: dict[str, Callable[[Store], Awaitable[object]]] = {
    "confirm": lambda store: store.confirm(),
    "prove": lambda store: store.prove(now=NOW),
    "save": lambda store: store.save(Turn(an_incident("inc-1"), None), now=NOW),
    "append": lambda store: store.append("c1", *entries("inc-1", 1)),
    "tell": lambda store: store.tell(a_page(), about="x", pagers=("web",), now=NOW),
    "set a setting": lambda store: store.set_setting("paused", "x", who="ann", now=NOW),
    "audit": lambda store: store.audit(who="ann", what="pause", about="fleet", reason="x", now=NOW),
    "forget": lambda store: store.forget(older_than=timedelta(days=1), now=NOW),
    "alerts": lambda store: store.inbox.done([1], now=NOW),
    "pages": lambda store: store.outbox.failed("none", why="x"),
}


@pytest.mark.parametrize("name", WRITES)
async def test_whoever_writes_as_a_leader_that_was_replaced_the_store_tells_of_it_and_not_before(
    url: str, store: Store, name: str
) -> None:
    told = list[str]()
    store.unseated = lambda error: told.append(str(error))
    async with open_store(url) as other:
        other.unseated = store.unseated
        with pytest.raises(Unseated):
            await WRITES[name](other)  # it never led
        await WRITES[name](store)
        assert told == []
        await other.lead("two", now=NOW)
        with pytest.raises(Unseated):
            await WRITES[name](store)
        await WRITES[name](other)
    assert told == ["epoch 1 is over: two leads in epoch 2"]


class Seconds:
    """Stands in for `time`."""

    seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds


@contextmanager
def heard(engine: Engine, what: str, by: Callable[..., None]) -> Iterator[None]:
    """Let somebody hear what the engine does."""
    event.listen(engine, what, by)
    try:
        yield
    finally:
        event.remove(engine, what, by)
