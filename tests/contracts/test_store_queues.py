"""Alerts that come in and pages that go out: none lost, none twice, in order."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy.pool import AsyncAdaptedQueuePool

from sliceward.playbooks.turn import Turn
from sliceward.remediations.page import PageEvent
from tests.builders import NOW
from tests.contracts.stored import a_page, an_alert, an_incident
from tests.playbooks.stage import seconds

if TYPE_CHECKING:
    from sliceward.daemons.store import Alert, Store


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
    present = [one async for one in store.inbox.present(since=NOW)]
    assert {one.alert.fingerprint: one.alert.status for one in present} == {"f1": "resolved", "f2": "firing"}
    assert [one.alert.fingerprint async for one in store.inbox.present(since=NOW + seconds(60))] == ["f2"]


async def test_who_reads_no_further_gives_the_connection_back_at_once(store: Store) -> None:
    await store.inbox.put([an_alert("f1"), an_alert("f2"), an_alert("f3")], now=NOW)
    taken, _ = await store.inbox.take()
    await store.inbox.done([one.seq for one in taken[1:]], now=NOW, why="unmapped")
    connections = store._database.reader.pool  # noqa: SLF001 (the pool tells how many are out)
    assert isinstance(connections, AsyncAdaptedQueuePool)
    for words in (store.inbox.present(since=NOW), store.inbox.idle()):
        async with aclosing(words) as read:
            assert (await anext(read)).alert.fingerprint in ("f1", "f2")
            assert connections.checkedout() == 1
        assert connections.checkedout() == 0


async def test_an_alert_that_fires_long_after_it_was_resolved_fires_anew_whatever_its_begin(store: Store) -> None:
    firing = an_alert("f1")
    resolved = [an_alert("f1", "resolved", ends_at=NOW + seconds(5 + number)) for number in range(2)]
    times = iter(NOW + timedelta(minutes=minutes) for minutes in (0, 1, 2, 7, 8, 9, 20))

    async def said(alert: Alert) -> str:
        now = next(times)
        put = await store.inbox.put([alert], now=now)
        (present,) = [one async for one in store.inbox.present(since=NOW)]
        assert present.at == now or not put.accepted
        return f"{'new' if put.accepted else 'known'} {present.alert.status}"

    assert await said(firing) == "new firing"
    assert await said(resolved[0]) == "new resolved"
    assert await said(firing) == "known resolved", "a word that was late"
    assert await said(firing) == "new firing", "Alertmanager gives a word up within five minutes"
    assert await said(firing) == "known firing"
    assert [one.at async for one in store.inbox.present(since=NOW)] == [NOW + timedelta(minutes=8)]
    assert await said(resolved[1]) == "new resolved"
    assert await said(firing) == "new firing"


async def test_from_what_nothing_follows_is_not_present_until_something_follows_after_all(store: Store) -> None:
    await store.inbox.put([an_alert("f1"), an_alert("f2"), an_alert("f3")], now=NOW)
    alerts, _ = await store.inbox.take()
    await store.inbox.done([alerts[0].seq], now=NOW)
    await store.inbox.done([one.seq for one in alerts[1:]], now=NOW, why="no rule knows it")
    await store.inbox.put([an_alert("f3", "resolved", ends_at=NOW + seconds(5))], now=NOW + seconds(6))
    assert [one.alert.fingerprint async for one in store.inbox.present(since=NOW)] == ["f1", "f3"]
    ((resolved,), _) = await store.inbox.take()
    await store.inbox.done([resolved.seq], now=NOW, why="no rule knows it")
    assert [one.alert.fingerprint async for one in store.inbox.idle()] == ["f2"]
    await store.inbox.done([one.seq async for one in store.inbox.idle()], now=NOW + seconds(9))
    assert [one.alert.fingerprint async for one in store.inbox.present(since=NOW)] == ["f1", "f2"]


async def test_what_fires_is_kept_for_as_long_as_something_follows_from_it_or_it_is_sent(store: Store) -> None:
    names = ("meant", "unknown", "sent again")
    await store.inbox.put([an_alert(name) for name in names], now=NOW)
    alerts, _ = await store.inbox.take()
    await store.inbox.done([alerts[0].seq], now=NOW)
    await store.inbox.done([one.seq for one in alerts[1:]], now=NOW, why="no rule knows it")
    await store.inbox.put([an_alert("sent again")], now=NOW + timedelta(days=20))
    await store.forget(older_than=timedelta(days=30), now=NOW + timedelta(days=31))
    assert [row["fingerprint"] for row in (await store.history.alerts()).items] == ["meant", "sent again"]


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


async def test_pages_that_are_held_say_why_are_still_due_and_were_not_tried(store: Store) -> None:
    await store.save(Turn(an_incident(), None, pages=(a_page(),)), now=NOW, pagers=("web", "desk"))
    await store.outbox.sent("inc-1-trigger:desk", now=NOW)
    await store.outbox.held(["inc-1-trigger:web", "inc-1-trigger:desk"], why="nobody says who leads")
    (due,) = (await store.outbox.due(NOW))[0]
    assert (due.id, due.attempts, due.why) == ("inc-1-trigger:web", 0, "nobody says who leads")
    assert sorted(row["why"] for row in (await store.history.pages()).items) == ["", "nobody says who leads"]


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


async def test_an_alert_that_is_sent_again_is_as_fresh_as_its_last_sending(store: Store) -> None:
    firing, over = an_alert("f1"), an_alert("f2", status="resolved", ends_at=NOW)
    await store.inbox.put([firing, over], now=NOW)
    await store.inbox.put([firing, over], now=NOW + timedelta(hours=4))
    present = [one async for one in store.inbox.present(since=NOW)]
    assert {one.alert.fingerprint: one.at - NOW for one in present} == {"f1": timedelta(hours=4), "f2": timedelta(0)}
