"""The store's promises, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.engine import Engine

from sliceward.daemons.coordinator.settings import LeaderSettings
from sliceward.daemons.store import Alert, Store, open_store
from sliceward.daemons.store.connect import Unstorable, database
from sliceward.daemons.store.tables import FENCE
from sliceward.detectors.finding import Kind
from sliceward.playbooks.incident import Entry, EntryKind, How, Incident, Needs, Phase
from sliceward.playbooks.run import Call, Ending, Run, Step, StepState
from sliceward.playbooks.turn import Answered, Turn
from sliceward.remediations.page import Page, PageEvent
from sliceward.topology.errors import Misconfigured, Refused, Retry
from sliceward.topology.health import Severity
from sliceward.topology.ids import GangId, HostId
from tests.builders import NOW
from tests.playbooks.stage import a_finding, seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = HostId("c1", "h-1")
ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {"PYTHONPATH": os.pathsep.join([str(ROOT / ".types"), str(ROOT)])}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        await opened.lead("one", now=NOW)
        yield opened


def an_incident(name: str = "inc-1", **more: Any) -> Incident:  # noqa: ANN401 (fields)
    whole = Incident(
        id=name,
        cluster="c1",
        opened=NOW,
        settles=NOW + seconds(10),
        findings=(a_finding(Kind.HOST_LOST, HOST),),
        gang=GangId("c1", "ml", "JobSet", "llm"),
        domain=(HOST,),
        needs=Needs.APPROVAL,
        tried=("a", "b"),
    )
    return replace(whole, **more)


def a_run(incident: str = "inc-1", number: int = 1, **more: Any) -> Run:  # noqa: ANN401 (fields)
    step = Step(
        "suspend", "gang.suspend", seconds(60), {"a": 1}, irreversible=True, harm=True, inverse="gang.resume", started=NOW
    )
    whole = Run(
        id=f"{incident}-r{number}",
        incident=incident,
        cluster="c1",
        playbook="host-or-chip-lost",
        digest="d",
        part=HOST,
        domain=(HOST,),
        gang=GangId("c1", "ml", "JobSet", "llm"),
        tenant="ml",
        started=NOW,
        deadline=NOW + seconds(3600),
        steps=(step, replace(step, name="b", state=StepState.DONE, ended=NOW, attempts=3, facts={"x": [1, "y", None]})),
        facts={"planned_hosts": ["h-2"]},
    )
    return replace(whole, **more)


def a_page(incident: str = "inc-1", event: PageEvent = PageEvent.TRIGGER) -> Page:
    name = f"{incident}-{event}"
    return Page(
        name, incident, event, Severity.ERROR, "broken", "sliceward/c1", str(HOST), "HostLost", NOW, {"a": "b"}, {"c": "d"}
    )


def entries(incident: str, number: int, *, first: int = 0) -> tuple[Entry, ...]:
    return tuple(Entry(NOW, incident, EntryKind.SEEN, f"line {n}", {"n": n}) for n in range(first, first + number))


def an_alert(fingerprint: str = "f1", status: str = "firing", **more: Any) -> Alert:  # noqa: ANN401 (fields)
    return replace(Alert("am", fingerprint, status, NOW, None, {"labels": {"alertname": "X"}}, "c1"), **more)


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


DYING = """
import asyncio, os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tests.contracts.test_store import NOW, Turn, an_incident, a_run, entries, open_store

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


async def test_an_intent_stands_before_its_result_and_keeps_its_first_time(store: Store) -> None:
    run = a_run()
    call = Call(run.steps[0], 0, run.operation)
    await store.save(Turn(an_incident(), run, call=call), now=NOW)
    await store.save(Turn(an_incident(), run, call=call), now=NOW + seconds(9))
    (intent,) = await store.history.intents("inc-1")
    assert (intent.operation, intent.irreversible, intent.result, intent.at) == ("inc-1-r1.0", True, None, NOW)
    assert intent.epoch == store.epoch
    await store.save(Turn(an_incident(), run, answered=Answered(run.operation, "done: gone")), now=NOW + seconds(10))
    (intent,) = await store.history.intents("inc-1")
    assert (intent.result, intent.result_at) == ("done: gone", NOW + seconds(10))


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


async def spoil(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(statement)
        connection.commit()
        connection.close()
        return
    import asyncpg  # noqa: PLC0415 (only where PostgreSQL is)

    other = await asyncpg.connect(url.replace("+asyncpg", ""))
    await other.execute(statement)
    await other.close()


async def test_alerts_are_stored_once_however_often_they_are_delivered(store: Store) -> None:
    many = [an_alert(f"f{n}") for n in range(450)]
    put = await store.inbox.put([*many, many[0]], now=NOW)
    assert (put.accepted, put.duplicate) == (450, 1)
    again = await store.inbox.put(many, now=NOW + seconds(60))
    assert (again.accepted, again.duplicate) == (0, 450)
    assert (await store.inbox.put([], now=NOW)).accepted == 0


async def test_alerts_are_taken_in_order_of_arrival_until_they_are_done(store: Store) -> None:
    await store.inbox.put([an_alert("f1"), an_alert("f2"), an_alert("f3")], now=NOW)
    alerts, _ = await store.inbox.take(limit=2)
    assert [one.alert for one in alerts] == [an_alert("f1"), an_alert("f2")]
    await store.inbox.done([one.seq for one in alerts], now=NOW, why="mapped")
    assert [one.alert.fingerprint for one in (await store.inbox.take())[0]] == ["f3"]
    assert [row["why"] for row in (await store.history.alerts({"receiver": "am"})).items] == ["mapped", "mapped", ""]


async def test_the_last_word_of_an_alert_is_its_present_state(store: Store) -> None:
    await store.inbox.put([an_alert("f1"), an_alert("f2")], now=NOW)
    resolved = an_alert("f1", "resolved", ends_at=NOW + seconds(5))
    await store.inbox.put([resolved], now=NOW + seconds(6))
    await store.inbox.put([an_alert("f1")], now=NOW + seconds(7))  # the first word, delivered late once more
    present, _ = await store.inbox.present(since=NOW)
    assert {one.alert.fingerprint: one.alert.status for one in present} == {"f1": "resolved", "f2": "firing"}
    assert [one.alert.fingerprint for one in (await store.inbox.present(since=NOW + seconds(60)))[0]] == ["f2"]


async def test_a_resolve_never_overtakes_its_trigger_at_the_same_pager(store: Store) -> None:
    turn = Turn(an_incident(), None, pages=(a_page(), a_page(event=PageEvent.RESOLVE)))
    await store.save(turn, now=NOW, pagers=("web", "desk"))
    due, _ = await store.outbox.due(NOW)
    assert [d.id for d in due] == ["inc-1-trigger:web", "inc-1-trigger:desk"]
    await store.outbox.again("inc-1-trigger:web", at=NOW + seconds(30), why="503")
    await store.outbox.sent("inc-1-trigger:desk", now=NOW)
    assert [d.id for d in (await store.outbox.due(NOW))[0]] == ["inc-1-resolve:desk"]
    await store.outbox.failed("inc-1-resolve:desk", why="410")
    (late,) = (await store.outbox.due(NOW + seconds(31)))[0]
    assert (late.id, late.attempts, late.why, late.page) == ("inc-1-trigger:web", 1, "503", a_page())
    rows = (await store.history.pages({"incident": "inc-1"})).items
    assert sorted(row["state"] for row in rows) == ["failed", "pending", "pending", "sent"]


async def test_many_pages_for_one_pager_hide_none_for_another(store: Store) -> None:
    for number in range(4):
        await store.save(Turn(an_incident(f"inc-{number}"), None, pages=(a_page(f"inc-{number}"),)), now=NOW, pagers=("away",))
    await store.save(Turn(an_incident("inc-9"), None, pages=(a_page("inc-9"),)), now=NOW, pagers=("away", "well"))
    due, _ = await store.outbox.due(NOW, limit=3)
    assert [(one.incident, one.pager) for one in due] == [
        ("inc-0", "away"), ("inc-1", "away"), ("inc-2", "away"), ("inc-9", "well"),
    ]  # fmt: skip


async def test_a_page_that_was_put_twice_goes_out_once(store: Store) -> None:
    for _ in range(2):
        await store.save(Turn(an_incident(), None, pages=(a_page(),)), now=NOW, pagers=("web",))
    assert len((await store.outbox.due(NOW))[0]) == 1


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
    present, _ = await store.inbox.present(since=NOW)
    assert [one.alert.fingerprint for one in present] == ["f1"], "an alert that fires is remembered"


async def test_an_alert_that_is_sent_again_is_as_fresh_as_its_last_sending(store: Store) -> None:
    firing, over = an_alert("f1"), an_alert("f2", status="resolved", ends_at=NOW)
    await store.inbox.put([firing, over], now=NOW)
    await store.inbox.put([firing, over], now=NOW + timedelta(hours=4))
    present, _ = await store.inbox.present(since=NOW)
    assert {one.alert.fingerprint: one.at - NOW for one in present} == {"f1": timedelta(hours=4), "f2": timedelta(0)}


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


async def test_two_can_open_a_new_store_at_once(url: str) -> None:
    async def one(name: str) -> int:
        async with open_store(url) as store:
            return await store.lead(name, now=NOW)

    assert sorted(await asyncio.gather(*(one(f"n{n}") for n in range(3)))) == [1, 2, 3]


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
