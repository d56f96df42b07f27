"""The store keeps silences: fenced, read back as they were, with what became of them; an older store gains the table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from sliceward.daemons.store import Store, open_store
from sliceward.daemons.store.tables import METADATA
from sliceward.playbooks.silences import Matches, Silence
from sliceward.playbooks.turn import Turn
from sliceward.topology.errors import Refused
from tests.builders import NOW
from tests.contracts.stored import an_incident, spoil

if TYPE_CHECKING:
    from sqlalchemy import Connection

HOUR = timedelta(hours=1)


def a_silence(name: str = "sil-1", **more: Any) -> Silence:  # noqa: ANN401 (fields)
    matches = Matches(hosts=("a", "b-*"), playbooks=("p",))
    return replace(Silence(name, matches, NOW, NOW + HOUR, "ada", "new optics", NOW), **more)


async def test_a_silence_is_read_back_as_it_was_by_the_next_leader(url: str) -> None:
    async with open_store(url) as store:
        await store.lead("one", now=NOW)
        await store.silences.add(a_silence())
    async with open_store(url) as again:
        assert await again.silences.present(NOW) == ((a_silence(),), {})
        assert await again.silences.one("sil-1") == a_silence()
        assert await again.silences.one("sil-2") is None
        assert await again.silences.present(NOW + HOUR) == ((), {})


async def test_what_was_ended_stays_with_who_and_why_and_is_ended_once(store: Store) -> None:
    ended = a_silence(ended=NOW + HOUR / 2, ended_by="bob", ended_why="done early")
    await store.silences.add(a_silence())
    await store.silences.end(ended)
    await store.silences.end(replace(ended, ended_by="eve"))
    assert (await store.silences.present(NOW))[0] == ()
    assert (await store.silences.page({}, now=NOW))[0] == (ended,)
    await store.forget(older_than=timedelta(days=1), now=NOW + timedelta(days=400))
    assert (await store.silences.page({}, now=NOW))[0] == (ended,)


async def test_a_late_write_of_an_earlier_leader_is_refused(url: str, store: Store) -> None:
    async with open_store(url) as other:
        await other.lead("two", now=NOW)
        await other.silences.add(a_silence())
        with pytest.raises(Refused, match="two leads"):
            await store.silences.add(a_silence("sil-2"))
        with pytest.raises(Refused, match="two leads"):
            await store.silences.end(a_silence(ended=NOW))
        assert (await other.silences.present(NOW))[0] == (a_silence(),)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["sil-1", "sil-2", "sil-3", "sil-4"]),
        ({"state": "active"}, ["sil-1"]),
        ({"state": "pending"}, ["sil-2"]),
        ({"state": "ended"}, ["sil-3", "sil-4"]),
        ({"by": "bob"}, ["sil-2"]),
        ({"id": "sil-3", "state": "ended"}, ["sil-3"]),
    ],
    ids=str,
)
async def test_they_are_listed_by_where_they_stand(store: Store, filters: dict[str, str], names: list[str]) -> None:
    for one in (
        a_silence(),
        a_silence("sil-2", begins=NOW + HOUR, ends=NOW + 2 * HOUR, by="bob"),
        a_silence("sil-3", begins=NOW - HOUR, ends=NOW),
        a_silence("sil-4", ended=NOW, ended_by="ada", ended_why="x"),
    ):
        await store.silences.add(one)
    found, following = await store.silences.page(filters, now=NOW)
    assert ([one.id for one in found], following) == (names, None)


async def test_they_are_listed_page_by_page(store: Store) -> None:
    for number in range(5):
        await store.silences.add(a_silence(f"sil-{number}"))
    seen, after = [], 0
    while True:
        found, following = await store.silences.page({}, now=NOW, after=after, limit=2)
        seen += [one.id for one in found]
        if following is None:
            break
        after = int(following)
    assert seen == [f"sil-{number}" for number in range(5)]


@pytest.mark.parametrize("filters", [{"state": "odd"}, {"why": "x"}])
async def test_a_filter_that_is_none_is_refused(store: Store, filters: dict[str, str]) -> None:
    with pytest.raises(Refused):
        await store.silences.page(filters, now=NOW)


@pytest.mark.parametrize("limit", [0, 501])
async def test_a_page_is_bounded(store: Store, limit: int) -> None:
    with pytest.raises(Refused, match="limit"):
        await store.silences.page({}, now=NOW, limit=limit)


@pytest.mark.parametrize("body", ["nonsense", "[]", "{}", '{"hosts": 3}'])
async def test_one_that_cannot_be_read_is_set_aside_by_name_and_the_rest_goes_on(url: str, store: Store, body: str) -> None:
    await store.silences.add(a_silence())
    await store.silences.add(a_silence("sil-2"))
    await spoil(url, f"UPDATE silences SET body = '{body}' WHERE id = 'sil-1'")  # noqa: S608 (a test's own words)
    found, aside = await store.silences.present(NOW)
    assert [one.id for one in found] == ["sil-2"]
    assert list(aside) == ["silence sil-1"]
    (shown, _), _ = await store.silences.page({}, now=NOW)
    assert (shown.matches, "cannot" in shown.why or "silence sil-1" in shown.why) == (Matches(), True)


async def test_a_store_of_before_there_were_silences_gains_them_and_keeps_what_it_had(url: str) -> None:
    async with open_store(url) as store:
        await store.lead("one", now=NOW)
        await store.save(Turn(an_incident(), None), now=NOW)
    await spoil(url, "DROP TABLE displacements")
    await spoil(url, "DROP TABLE silences")
    await spoil(url, "UPDATE schema_version SET version_num = '0001'")
    async with open_store(url) as store:
        await store.lead("two", now=NOW)
        await store.silences.add(a_silence())
        assert [case.incident.id for case in (await store.load_open()).cases] == ["inc-1"]


async def test_the_migrations_make_the_tables_that_the_code_reads(store: Store) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"version_table": "schema_version"}), METADATA))

    async with store._database.reading() as connection:  # noqa: SLF001 (the database behind it)
        assert await connection.run_sync(differences) == []


async def test_proving_the_lead_is_a_write_that_only_the_leader_can_make(url: str, store: Store) -> None:
    await store.prove(now=NOW)
    async with open_store(url) as other:
        with pytest.raises(Refused):
            await other.prove(now=NOW)
        await other.lead("two", now=NOW)
        with pytest.raises(Refused, match="two leads"):
            await store.prove(now=NOW)
