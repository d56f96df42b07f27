"""The garbage collector does not look again at what has come to stay."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.collector import GIVES_WAY, MANY, OFTEN, Freezer, keep_short

if TYPE_CHECKING:
    from collections.abc import Iterator


class Thing:
    """Something that can be watched."""

    other: Thing


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    pace, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(pace)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def kept() -> list[dict[str, Any]]:
    """Give containers that have come to stay."""
    return [{"metadata": {"labels": []}} for _ in range(MANY)]


def looked_twice(freezer: Freezer) -> bool:
    """Tell whether all was frozen at the second look, and not before."""
    return not freezer.freeze_if_many() and freezer.freeze_if_many()


def test_what_has_come_to_stay_is_frozen_once_it_is_much() -> None:
    freezer, before = Freezer(), gc.get_freeze_count()
    assert not freezer.freeze_if_many()
    held = kept()
    assert looked_twice(freezer)
    assert gc.get_freeze_count() - before >= len(held)
    assert not freezer.freeze_if_many()


def test_garbage_is_not_frozen() -> None:
    one, other = Thing(), Thing()
    one.other, other.other = other, one
    gone, freezer = weakref.ref(one), Freezer()
    held = kept()
    del one, other
    assert looked_twice(freezer)
    assert gone() is None
    assert held


def test_what_is_frozen_is_freed_when_nobody_holds_it() -> None:
    thing, freezer = Thing(), Freezer()
    gone = weakref.ref(thing)
    held = kept()
    assert looked_twice(freezer)
    del thing
    assert gone() is None
    assert held


def test_what_is_gone_at_the_next_look_freezes_nothing() -> None:
    freezer = Freezer()
    for _ in range(3):
        held = kept()
        assert not freezer.freeze_if_many()
        held.clear()
        assert not freezer.freeze_if_many()


def test_what_goes_again_hides_nothing_of_what_comes_after_it() -> None:
    held, freezer = kept(), Freezer()
    held.clear()
    assert not freezer.freeze_if_many()
    held = kept()
    assert looked_twice(freezer)


def test_nobody_takes_hold_of_a_tuple_that_a_thread_is_just_making() -> None:
    """Neither by asking for all objects, nor for those that refer to one: the thread would fail."""
    called, freezer, held = list[object](), Freezer(), kept()
    sys.setprofile(lambda _frame, event, what: called.append(what) if event == "c_call" else None)
    try:
        assert looked_twice(freezer)
    finally:
        sys.setprofile(None)
    assert gc.freeze in called
    assert not {gc.get_objects, gc.get_referrers} & {*called}
    assert held


def test_garbage_is_taken_away_in_time_also_where_nothing_is_frozen() -> None:
    gc.set_threshold(0)
    freezer = Freezer()
    one, other = Thing(), Thing()
    one.other, other.other = other, one
    gone, frozen = weakref.ref(one), gc.get_freeze_count()
    gc.collect()  # it is old now: a collection of what is younger leaves it alone
    del one, other
    for _ in range(OFTEN):
        assert not freezer.freeze_if_many()
        assert gone() is not None
        gc.collect(1)
    assert not freezer.freeze_if_many()
    assert (gone(), gc.get_freeze_count()) == (None, frozen)


async def test_threads_that_compute_let_the_loop_run_ten_times_sooner_than_by_themselves() -> None:
    before = sys.getswitchinterval()
    keeping = asyncio.create_task(keep_short())
    await asyncio.sleep(0)
    assert sys.getswitchinterval() == pytest.approx(GIVES_WAY)
    assert before >= 10 * GIVES_WAY
    keeping.cancel()


async def test_nothing_is_looked_through_as_a_whole_but_before_a_freezing() -> None:
    full: list[str] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if about["generation"] == 2:
            full.append(phase)

    keeping = asyncio.create_task(keep_short())
    await asyncio.sleep(0)
    gc.callbacks.append(note)
    try:
        held = kept()
    finally:
        gc.callbacks.remove(note)
        keeping.cancel()
    assert (held != [], full) == (True, [])


async def test_what_was_frozen_can_be_collected_again_once_who_froze_it_has_ended() -> None:
    before = gc.get_threshold()
    keeping = asyncio.create_task(keep_short())
    await asyncio.sleep(0)
    assert gc.get_freeze_count() > 0
    keeping.cancel()
    await asyncio.wait([keeping])
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, before)
