from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest

from sliceward.daemons.agent.rounds import Rounds
from sliceward.daemons.sources.source import Held, Reading
from sliceward.topology.errors import Retry
from tests.daemons.sources.builders import TPU7X

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

pytestmark = pytest.mark.looptime

AGE = "host_source_age_host_seconds"


@dataclass
class Scripted(Held):
    """A source that does what a test lists: a reading, an error to raise, or seconds to hang (ignoring cancellation if < 0)."""

    does: Sequence[Reading | Exception | float]
    floor: float = 0.0
    timeout: float = 2.0
    name: str = "scripted"
    age_metric: str = AGE
    reads: list[float] = field(default_factory=list)

    async def read(self, now: float) -> Reading:
        self.reads.append(now)
        step = self.does[min(len(self.reads), len(self.does)) - 1]
        if isinstance(step, Reading):
            return step
        if isinstance(step, Exception):
            raise step
        await asyncio.sleep(step)
        return Reading({"host_cpu_percent": [99.0]})


@dataclass
class Stuck(Scripted):
    """A source that cannot be opened the first ``refusals`` times; for its opening it ``takes`` seconds."""

    refusals: int = 2
    takes: float = 0.0
    opened: int = 0
    closed: int = 0

    async def __aenter__(self) -> Self:
        self.opened += 1
        await asyncio.sleep(self.takes)
        if self.opened <= self.refusals:
            raise OSError(98, "Address already in use")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closed += 1
        raise OSError(5, "Input/output error")


def a_reading(value: float, metric: str = "host_cpu_percent", **notes: str) -> Reading:
    return Reading({metric: [value]}, notes)


def rounds_of(*sources: Scripted, period: float = 10.0) -> Rounds:
    clock = asyncio.get_running_loop().time
    return Rounds(sources, TPU7X, period=period, clock=clock, wall=clock)


async def test_a_source_that_fails_is_its_own_age_and_the_others_go_on() -> None:
    good, bad = Scripted([a_reading(5.0)], age_metric=""), Scripted([ValueError("kernel says no")])
    rounds = rounds_of(bad, good)
    await asyncio.sleep(7)
    found = await rounds.read()
    assert found.columns["host_cpu_percent"] == [5.0]
    assert found.columns[AGE] == [7.0]
    assert rounds.counts["scripted"] == 1
    assert rounds.slots[0].error == "ValueError: kernel says no"


async def test_a_source_that_hangs_is_timed_out_and_asked_again() -> None:
    rounds = rounds_of(Scripted([60.0, a_reading(5.0)]))
    began = asyncio.get_running_loop().time()
    found = await rounds.read()
    assert asyncio.get_running_loop().time() - began == 2.0
    assert "host_cpu_percent" not in found.columns
    assert (await rounds.read()).columns["host_cpu_percent"] == [5.0]


async def test_a_slow_source_never_delays_the_frame_beyond_its_period() -> None:
    slow = Scripted([30.0], timeout=60.0)
    rounds = rounds_of(slow, Scripted([a_reading(5.0, "host_memory_percent")], age_metric=""))
    assert (await rounds.read()).columns["host_memory_percent"] == [5.0]
    assert asyncio.get_running_loop().time() == 8.0
    await asyncio.sleep(23)
    assert len(slow.reads) == 1
    assert (await rounds.read()).columns["host_cpu_percent"] == [99.0]


async def test_a_floor_is_kept_and_the_reading_before_counts_meanwhile() -> None:
    source = Scripted([a_reading(1.0), a_reading(2.0)], floor=30.0)
    rounds, seen = rounds_of(source), []
    for _ in range(6):
        seen.append((await rounds.read()).columns["host_cpu_percent"][0])
        await asyncio.sleep(10)
    assert seen == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert source.reads == [0.0, 30.0]


async def test_an_old_reading_becomes_missing_and_never_stays_for_ever() -> None:
    source = Scripted([a_reading(1.0, slice_error="x"), Retry("away")])
    rounds = rounds_of(source)
    assert (await rounds.read()).notes == {"slice_error": "x"}
    await asyncio.sleep(33)
    found = await rounds.read()
    assert "host_cpu_percent" not in found.columns
    assert found.notes == {}
    assert found.columns[AGE] == [33.0]


async def test_where_two_sources_read_the_same_the_first_that_has_a_value_counts() -> None:
    first = Scripted([Reading({"chip_duty_cycle_percent": [1.0, math.nan, math.nan, 4.0]})], age_metric="")
    second = Scripted([Reading({"chip_duty_cycle_percent": [9.0, 9.0, math.nan, 9.0, 9.0]})], age_metric="")
    found = await rounds_of(first, second).read()
    assert found.columns["chip_duty_cycle_percent"] == pytest.approx([1.0, 9.0, math.nan, 4.0], nan_ok=True)


async def test_a_source_that_cannot_be_opened_is_its_age_and_is_tried_again() -> None:
    stuck, good = Stuck([a_reading(5.0)]), Scripted([a_reading(7.0, "host_memory_percent")], age_metric="")
    rounds = rounds_of(stuck, good)
    await rounds.open()
    await asyncio.sleep(10)
    found = await rounds.read()
    assert found.columns == {"host_memory_percent": [7.0], AGE: [10.0]}
    assert rounds.slots[0].error == "OSError: [Errno 98] Address already in use"
    found = await rounds.read()
    assert (found.columns["host_cpu_percent"], found.columns[AGE]) == ([5.0], [0.0])
    await rounds.read()
    assert stuck.opened == 3
    await rounds.close()
    assert stuck.closed == 1


async def test_a_source_whose_opening_hangs_delays_nobody() -> None:
    stuck = Stuck([a_reading(5.0)], refusals=0, takes=60.0)
    rounds = rounds_of(stuck, Scripted([a_reading(7.0, "host_memory_percent")], age_metric=""))
    await rounds.open()
    assert asyncio.get_running_loop().time() == 2.0
    assert (await rounds.read()).columns["host_memory_percent"] == [7.0]
    await rounds.close()
    assert stuck.closed == 0


async def test_closing_gives_up_what_still_runs() -> None:
    rounds = rounds_of(Scripted([500.0], timeout=900.0))
    await rounds.read()
    await rounds.close()
    assert rounds.slots[0].task is None
