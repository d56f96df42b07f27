"""The garbage collector does not look again at what has come to stay."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons import collector

if TYPE_CHECKING:
    from collections.abc import Iterator


class Thing:
    """Something that can be watched."""

    other: Thing


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    pace = sys.getswitchinterval()
    yield
    sys.setswitchinterval(pace)
    gc.unfreeze()


def kept(count: int) -> list[dict[str, Any]]:
    """Give containers that have survived to the oldest generation."""
    found: list[dict[str, Any]] = [{"metadata": {"labels": []}} for _ in range(count)]
    gc.collect(1)
    gc.collect(1)
    return found


def test_what_has_come_to_stay_is_frozen_once_it_is_much() -> None:
    before = gc.get_freeze_count()
    assert not collector.freeze_if_many()
    held = kept(collector.MANY)
    assert collector.freeze_if_many()
    assert gc.get_freeze_count() - before >= len(held)
    assert not collector.freeze_if_many()


def test_garbage_is_not_frozen() -> None:
    one, other = Thing(), Thing()
    one.other, other.other = other, one
    gone = weakref.ref(one)
    held = kept(collector.MANY)
    del one, other
    assert collector.freeze_if_many()
    assert gone() is None
    assert held


def test_what_is_frozen_is_freed_when_nobody_holds_it() -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    held = kept(collector.MANY)
    assert collector.freeze_if_many()
    del thing
    assert gone() is None
    assert held


def test_a_thread_that_makes_tuples_meanwhile_is_not_disturbed() -> None:
    sys.setswitchinterval(1e-6)
    broken: list[SystemError] = []
    ended = threading.Event()

    def items() -> Iterator[int]:
        for number in range(50):
            if number == 5:
                gc.collect(1)
                gc.collect(1)  # the tuple is old by now, and not made yet
            yield number

    def make() -> None:
        try:
            for _ in range(3000):
                tuple(items())
        except SystemError as error:
            broken.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=make)
    thread.start()
    while not ended.is_set():
        collector.freeze_if_many()
    thread.join()
    assert not broken


async def test_threads_that_compute_let_the_loop_run_ten_times_sooner_than_by_themselves() -> None:
    before = sys.getswitchinterval()
    keeping = asyncio.create_task(collector.keep_short())
    await asyncio.sleep(0)
    assert sys.getswitchinterval() == pytest.approx(collector.GIVES_WAY)
    assert before >= 10 * collector.GIVES_WAY
    keeping.cancel()
