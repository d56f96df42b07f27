"""The store remembers which gang had to go for which: fenced, over a restart, for as long as anything else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sliceward.daemons.store import Store, open_store
from sliceward.playbooks.turn import Turn
from sliceward.scheduling.rights import Displaced
from sliceward.topology.errors import Refused
from tests.builders import NOW, gang_id
from tests.contracts.stored import an_incident, spoil

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WENT = Displaced(gang_id("a"), gang_id("b"), NOW)
LATER = Displaced(gang_id("b"), gang_id("c"), NOW + HOUR)


async def test_they_are_read_back_by_the_next_leader_the_oldest_first(url: str) -> None:
    async with open_store(url) as store:
        await store.lead("one", now=NOW)
        await store.displacements.add(LATER, WENT)
        await store.displacements.add()
    async with open_store(url) as again:
        assert (await again.load_open(since=NOW)).displaced == (WENT, LATER)
        assert (await again.load_open(since=NOW + HOUR)).displaced == (LATER,)
        assert (await again.load_open()).displaced == ()


async def test_one_that_is_known_stays_as_it_is(store: Store) -> None:
    await store.displacements.add(WENT)
    await store.displacements.add(Displaced(WENT.gang, gang_id("x"), WENT.at), LATER)
    assert (await store.load_open(since=NOW)).displaced == (WENT, LATER)


async def test_old_ones_are_forgotten(store: Store) -> None:
    await store.displacements.add(WENT, LATER)
    await store.forget(older_than=DAY, now=NOW + DAY + HOUR / 2)
    assert (await store.load_open(since=NOW)).displaced == (LATER,)


async def test_a_late_write_of_an_earlier_leader_is_refused(url: str, store: Store) -> None:
    async with open_store(url) as other:
        await other.lead("two", now=NOW)
        with pytest.raises(Refused, match="two leads"):
            await store.displacements.add(WENT)
        assert (await other.load_open(since=NOW)).displaced == ()


async def test_one_that_cannot_be_read_is_set_aside_by_name_and_the_rest_goes_on(url: str, store: Store) -> None:
    await store.displacements.add(WENT, LATER)
    await spoil(url, f"UPDATE displacements SET \"by\" = 'c1/host/h' WHERE gang = '{WENT.gang}'")  # noqa: S608 (a test's own words)
    found = await store.load_open(since=NOW)
    assert found.displaced == (LATER,)
    assert list(found.set_aside) == [f"displacement of {WENT.gang}"]


async def test_a_store_of_before_there_were_displacements_gains_them_and_keeps_what_it_had(url: str) -> None:
    async with open_store(url) as store:
        await store.lead("one", now=NOW)
        await store.save(Turn(an_incident(), None), now=NOW)
    await spoil(url, "DROP TABLE displacements")
    await spoil(url, "UPDATE schema_version SET version_num = '0002'")
    async with open_store(url) as store:
        await store.lead("two", now=NOW)
        await store.displacements.add(WENT)
        found = await store.load_open(since=NOW)
        assert ([case.incident.id for case in found.cases], found.displaced) == (["inc-1"], (WENT,))
