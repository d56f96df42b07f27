"""The loop in virtual time: no real second passes, a power cut is no cancellation, and the order is the seed's."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from sliceward.simulation.virtual.agenda import Agenda, Clock
from sliceward.simulation.virtual.loop import VirtualLoop
from sliceward.simulation.virtual.timeline import Stuck, Timeline
from sliceward.simulation.virtual.way import BAD, Fate, Gone, Life, Way, Weather
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Coroutine


def a_timeline(seed: int = 1) -> Timeline:
    clock, dice = Clock(), random.Random(seed)  # noqa: S311 (the point is that it can be repeated)
    return Timeline(clock, Agenda(clock), dice)


def a_loop(timeline: Timeline) -> VirtualLoop:
    loop = VirtualLoop(timeline.clock, timeline.dice)  # type: ignore[abstract]  # sockets and threads, which nobody asks it for
    timeline.loops.append(loop)
    return loop


def begin(loop: VirtualLoop, what: Coroutine[None, None, None]) -> asyncio.Task[None]:
    with loop.running():
        return loop.create_task(what)


def until(timeline: Timeline, seconds: float) -> None:
    timeline.over = False
    timeline.agenda.after(seconds, lambda: setattr(timeline, "over", True))
    timeline.run()


def test_an_hour_passes_at_once() -> None:
    timeline = a_timeline()
    woken = list[float]()

    async def sleep() -> None:
        await asyncio.sleep(3_600)
        woken.append(timeline.clock.seconds)

    begin(a_loop(timeline), sleep())
    until(timeline, 4_000)
    assert woken == [3_600]


def test_a_time_out_is_virtual_too() -> None:
    timeline = a_timeline()
    ended = list[float]()

    async def wait() -> None:
        try:
            async with asyncio.timeout(40):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(timeline.clock.seconds)

    begin(a_loop(timeline), wait())
    until(timeline, 100)
    assert ended == [40]


def test_what_clean_up_does_after_a_power_cut_reaches_nobody() -> None:
    timeline = a_timeline()
    loop, life, effects = a_loop(timeline), Life(), list[str]()
    way = Way("store", life, timeline.agenda, timeline.dice, Weather())

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await way.call(lambda: effects.append("clean-up"))

    begin(loop, work())
    until(timeline, 5)
    life.alive = False
    timeline.loops.clear()
    loop.drop()
    until(timeline, 60)
    assert effects == []
    assert loop.problems == []


def test_who_is_dead_is_told_so_by_every_port() -> None:
    timeline = a_timeline()
    way = Way("store", Life(alive=False), timeline.agenda, timeline.dice, Weather())
    gone = list[str]()

    async def ask() -> None:
        try:
            await way.call(lambda: None)
        except Gone:
            gone.append("gone")

    begin(a_loop(timeline), ask())
    until(timeline, 1)
    assert gone == ["gone"]


@pytest.mark.parametrize(("fate", "effects"), [(Fate.BEFORE, 0), (Fate.AFTER, 1), (Fate.LATE, 1), (Fate.STALL, 0)])
def test_a_bad_call_is_unknown_to_its_caller(fate: Fate, effects: int) -> None:
    assert {fate, Fate.SLOW} <= {*BAD}
    timeline = a_timeline()
    weather = Weather(rates={"cluster": 1.0}, calm_at=100.0)
    way = Way("cluster", Life(), timeline.agenda, timeline.dice, weather, bad=(fate,))
    done, heard = list[float](), list[str]()

    async def ask() -> None:
        try:
            await way.call(lambda: done.append(timeline.clock.seconds))
        except Retry:
            heard.append("unknown")

    begin(a_loop(timeline), ask())
    until(timeline, 90)
    assert heard == ["unknown"]
    assert len(done) == effects


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_what_is_ready_is_the_seeds(seed: int) -> None:
    def order(of: int) -> list[int]:
        timeline, found = a_timeline(of), list[int]()

        async def note(number: int) -> None:
            found.append(number)

        loop = a_loop(timeline)
        for number in range(20):
            begin(loop, note(number))
        until(timeline, 1)
        return found

    assert order(seed) == order(seed)
    assert order(seed) != order(seed + 10)


def test_a_loop_that_never_waits_is_told() -> None:
    timeline = a_timeline()

    async def spin() -> None:
        while True:  # noqa: ASYNC110 (a loop that never waits is the point)
            await asyncio.sleep(0)

    task = begin(a_loop(timeline), spin())
    with pytest.raises(Stuck, match="no end"):
        timeline.run()
    timeline.loops[0].drop()
    assert not task.done()


def test_where_nothing_will_ever_happen_it_says_so() -> None:
    timeline = a_timeline()
    with pytest.raises(Stuck, match="nothing is due"):
        timeline.run()
