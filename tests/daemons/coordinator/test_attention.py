"""A coordinator that stood still, though nobody else led meanwhile: it hears what came, looks anew, and only then calls."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.coordinator.attention import LOOK_LASTS, TRIES, Attention
from sliceward.daemons.coordinator.stops import nobody_is_asked
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Retry
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_deciding import broken
from tests.daemons.coordinator.test_guarded import marks_some_first
from tests.daemons.coordinator.test_uncalled import found, irreversible
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemons.coordinator.bench import Bench

HOUR = 3600.0


class Standstill:
    """Seconds of a process that may stand still. ``heard``: what it did when it woke, in order."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.seconds, self.heard = bench, 0.0, list[str]()
        deciding = bench.coordinator.deciding
        deciding.looks.attention = Attention(lambda: self.seconds, self.hear)
        deciding.stops.asks = nobody_is_asked  # as with a Lease: nothing is awaited that lets others go on

    async def hear(self, _seconds: float) -> None:
        self.heard.append("hears")
        await self.bench.settle()

    def happens(self) -> None:
        """Let the process stand still, and the faults go meanwhile: that waits in its socket when it wakes."""
        self.seconds += HOUR
        for number in range(2):
            self.bench.world.tell(self.bench.world.finding(broken(number), Kind.CHIP_LOST, State.RESOLVED))


@pytest.mark.parametrize("where", ["as the look is saved", "as the store is asked who leads", "as the call begins"])
async def test_nothing_is_called_for_a_fault_that_went_while_the_process_stood_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding, still = bench.coordinator.deciding, Standstill(bench)
        await found(bench)
        save, begin = deciding.docket.store.save, deciding.looks.calls.begin
        once = [still.happens]

        async def saved(*turns: Any, **more: Any) -> tuple[int, ...]:  # noqa: ANN401 (as a store takes them)
            numbers = await save(*turns, **more)
            if once:
                once.pop()()
            return numbers

        async def asked() -> None:
            if once:
                once.pop()()

        def begun(*given: Any) -> None:  # noqa: ANN401 (as `Calls` takes them)
            begin(*given)
            if once:
                once.pop()()

        if where == "as the look is saved":
            monkeypatch.setattr(deciding.docket.store, "save", saved)
        elif where == "as the store is asked who leads":
            deciding.stops.asks = asked
        else:
            monkeypatch.setattr(deciding.looks.calls, "begin", begun)
        for _ in range(3):
            await deciding.round()
            await deciding.idle()
            await bench.settle()
            world.clock.pass_(5)
        assert not once
        assert (noting.targets, deciding.docket.cases) == ([], {})


async def test_an_action_that_stood_still_writes_no_more_by_what_it_looked_at_and_its_intent_stands(tmp_path: Path) -> None:
    world = World(tmp_path, actions=ACTIONS)
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.fill(the_fleet())
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        still, asked = Standstill(bench), count(1)

        async def asks() -> None:
            still.seconds += HOUR * (next(asked) == 1 + 3 + 1)  # once before the action, and before each of its writes

        await marks_some_first(bench, asks, why="stood still")


async def test_a_look_that_always_takes_too_long_is_told_and_nothing_is_called_by_it(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding, still = bench.coordinator.deciding, Standstill(bench)
        await found(bench)

        async def slowly() -> None:
            still.seconds += LOOK_LASTS + 1

        deciding.stops.asks = slowly
        await deciding.round()
        await deciding.idle()
        assert noting.targets == []
        assert "nothing is called" in deciding.loop.error
        assert still.heard == ["hears"] * (TRIES - 1)
        deciding.stops.asks = nobody_is_asked
        await bench.round()
        assert len(noting.targets) == 2


@pytest.mark.parametrize(
    ("gap", "hears"),
    [(HOUR, ["hears", "looks"]), (LOOK_LASTS + 1, ["hears", "looks"]), (LOOK_LASTS, ["looks"])],
    ids=["stood still", "for as long as a look lasts", "went on"],
)
async def test_who_stood_still_while_it_rested_hears_what_came_before_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: float, hears: list[str]
) -> None:
    world, _ = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding, still = bench.coordinator.deciding, Standstill(bench)
        looked, at = asyncio.Event(), deciding.looks.at

        async def look(*given: Any) -> Any:  # noqa: ANN401 (as `Looks` takes them)
            still.heard.append("looks")
            due = await at(*given)
            looked.set()
            return due

        monkeypatch.setattr(deciding.looks, "at", look)
        running = asyncio.create_task(deciding.run())
        await looked.wait()
        await bench.settle()
        looked.clear()
        still.heard.clear()
        still.seconds += gap
        deciding.wake()
        async with asyncio.timeout(60):
            await looked.wait()
        assert still.heard[: len(hears)] == hears
        deciding.stops.stopping = True
        deciding.wake()
        await running


async def test_a_look_before_a_call_is_not_made_twice_where_nothing_took_long() -> None:
    looks = list[int]()

    async def look() -> None:
        looks.append(1)

    attention = Attention(lambda: 5.0)
    assert await attention.looked(5.0, look) == 5.0
    assert looks == [1]
    with pytest.raises(Retry):
        await Attention(iter(range(0, 1000, 20)).__next__, lambda _seconds: asyncio.sleep(0)).looked(0.0, look)
