"""The store in memory keeps the promises of the real ones: each test of their contract that asks for nothing but an opened store."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.store import Unseated
from tests.builders import NOW
from tests.contracts import test_store, test_store_silences
from tests.virtual.store import MemoryStore, Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OF_A_DATABASE = {
    "test_the_migrations_make_the_tables_that_the_code_reads",
    "test_they_are_listed_page_by_page",
    "test_what_was_ended_stays_with_who_and_why_and_is_ended_once",
    "test_what_can_never_be_written_is_not_asked_again",
    "test_what_can_never_be_asked_for_is_told_apart_from_silence",
    "test_what_no_column_of_ours_can_turn_into_text_is_not_asked_again",
    "test_the_words_of_others_are_kept_in_the_story_without_what_no_store_takes",
}
"""Of tables, characters and lists for people: a story asks for none of them."""
PROMISES = {
    name: promise
    for contract in (test_store, test_store_silences)
    for name, promise in vars(contract).items()
    if name.startswith("test_") and list(signature(promise).parameters) == ["store"] and name not in OF_A_DATABASE
}


@pytest.mark.parametrize("promise", PROMISES.values(), ids=PROMISES)
async def test_the_store_in_memory_keeps(promise: Callable[[MemoryStore], Awaitable[None]]) -> None:
    store = MemoryStore(Records())
    await store.lead("one", now=NOW)
    await promise(store)


async def test_the_store_in_memory_tells_of_another_that_leads_whoever_asked_and_not_before_it_led() -> None:
    records, told = Records(), list[str]()
    old, new = MemoryStore(records), MemoryStore(records)
    old.unseated = new.unseated = lambda error: told.append(str(error))
    await old.lead("one", now=NOW)
    with pytest.raises(Unseated):
        await new.confirm()
    assert told == []
    await new.lead("two", now=NOW)
    with pytest.raises(Unseated):
        await old.prove(now=NOW)
    assert told == ["epoch 1 is over: two leads in epoch 2"]
