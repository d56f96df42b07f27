"""While looks come to nothing: a longer pause after each, one line for all of them, and no end of the process."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sliceward.daemons.coordinator.outage import FIRST_PAUSE, LONGEST_PAUSE, Outage
from sliceward.remediations.ports import NODE
from sliceward.topology.errors import Retry
from sliceward.topology.ids import HostId
from tests.contracts.stored import a_page
from tests.daemons.coordinator.bench import World, a_bench
from tests.daemons.coordinator.test_deciding import a_world
from tests.daemons.coordinator.test_uncalled import found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sliceward.topology.fleet import Fleet
    from tests.daemons.coordinator.bench import Bench


def outage() -> Outage:
    return Outage(random.Random(1))  # noqa: S311 (jitter of a test)


def test_pauses_double_up_to_a_bound_and_are_jittered_by_half() -> None:
    away, pauses = outage(), list[float]()
    for _ in range(40):
        away.note(Retry("no connection"))
        pauses.append(away.pause)
    longest = [min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**number) for number in range(40)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len(set(pauses)) == 40
    away.end()
    assert away.pause == 0.0


def test_an_outage_is_one_line_and_its_end_another() -> None:
    away = outage()
    with capture_logs() as lines:
        away.end()
        for number in range(3):
            away.note(Retry(f"no connection on port {number}"))
        away.note(ValueError("nobody expected that"))
        away.note(ValueError("nor this"))
        away.end()
        away.end()
        away.note(Retry("again"))
    assert [line["event"] for line in lines] == ["round interrupted", "round failed", "rounds go on", "round interrupted"]
    assert lines[2]["interrupted"] == 5


async def looks(bench: Bench, errors: Sequence[Exception]) -> list[float]:
    """Let it run while reading the starts fails so, one after the other, and changes come all the time; give when it was asked."""
    deciding = bench.coordinator.deciding
    ticks, times, done = asyncio.get_running_loop().time, list[float](), asyncio.Event()
    real = deciding.docket.store.started

    async def started(*given: object) -> object:
        times.append(ticks())
        if len(times) <= len(errors):
            raise errors[len(times) - 1]
        done.set()
        return await real(*given)  # type: ignore[arg-type]  # as it was called

    deciding.docket.store.started = started  # type: ignore[method-assign,assignment]  # until the errors are over
    bench.world.clock.pass_(-60)  # so that the starts are read again
    running = asyncio.create_task(deciding.run())
    async with asyncio.timeout(60):
        while not done.is_set():
            assert not running.done()
            deciding.wake()
            await asyncio.sleep(0)
    deciding.stops.stopping = True
    deciding.wake()
    await running
    assert len(times) == len(errors) + 1
    return times


async def test_while_the_store_is_away_looks_do_not_follow_as_fast_as_changes(tmp_path: Path) -> None:
    world, _ = a_world(tmp_path)
    async with a_bench(world) as bench:
        await found(bench)
        times = await looks(bench, [Retry("no connection")] * 3)
        assert times[-1] - times[0] >= (FIRST_PAUSE + 2 * FIRST_PAUSE + 4 * FIRST_PAUSE) / 2
        assert bench.coordinator.deciding.loop.error == ""


@pytest.mark.parametrize("error", [ValueError("nobody expected that"), RecursionError("too deep")], ids=repr)
async def test_an_error_that_nobody_knows_ends_one_look_and_not_the_process(tmp_path: Path, error: Exception) -> None:
    world, _ = a_world(tmp_path)
    async with a_bench(world) as bench:
        await found(bench)
        with capture_logs() as lines:
            await looks(bench, [error] * 2)
        assert [line["event"] for line in lines if line["log_level"] == "error"] == ["round failed"]
        assert bench.coordinator.deciding.loop.error == ""


async def test_a_store_that_goes_away_while_pages_are_sent_is_an_outage_and_no_mistake(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with a_bench(world) as bench:
        coordinator, asked = bench.coordinator, asyncio.Event()
        await coordinator.store.tell(a_page(), about="own-1", pagers=(world.pager.name,), now=world.clock())

        async def sent(*_given: object, **_more: object) -> None:
            asked.set()
            raise Retry("no connection")

        coordinator.store.outbox.sent = sent  # type: ignore[method-assign]  # for good
        running = asyncio.create_task(coordinator.run())
        async with asyncio.timeout(60):
            await asked.wait()
        await bench.settle()
        assert coordinator.outbox.loop.error == "no connection"
        coordinator.stop()
        await running


async def test_a_fleet_that_cannot_be_read_is_told_of_once_and_ends_nothing(tmp_path: Path) -> None:
    world, _ = a_world(tmp_path)
    async with a_bench(world) as bench:
        woken, real = asyncio.Event(), bench.side.beside

        async def spoilt(_reading: Callable[[], Fleet]) -> Fleet:
            raise ValueError("nobody expected that")

        def change(label: str) -> None:
            world.cluster.edit(NODE, "cube-0-host-00", {"metadata": {"labels": {"x": label}}})

        async def until(so: Callable[[], bool]) -> None:
            async with asyncio.timeout(60):
                while not so():
                    await woken.wait()
                    woken.clear()

        def levels() -> list[str]:
            return [line["log_level"] for line in lines if line["event"] == "fleet not read"]

        def label() -> str | None:
            fleet = bench.side.fleet
            return None if fleet is None else fleet.hosts[HostId("c1", "cube-0-host-00")].labels.get("x")

        bench.side.beside, bench.side.wake = spoilt, woken.set
        with capture_logs() as lines:
            for number in range(1, 4):
                change(f"spoilt {number}")
                await until(lambda number=number: len(levels()) >= number)  # type: ignore[misc]  # mypy knows no lambda with a default
        assert levels() == ["error", "debug", "debug"]
        assert label() is None
        bench.side.beside = real
        change("after")
        await until(lambda: label() == "after")
