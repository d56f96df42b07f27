"""Steps of the watcher's own clock: a wall clock that disagrees with the steady one of the same machine blinds nobody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from sliceward.daemons.watcher.watcher import Watcher
from sliceward.detectors.finding import State
from tests.builders import NOW, gang_id
from tests.daemons.watcher.stage import Stage, lose_chip, steps
from tests.daemons.watcher.test_restarts import STUCK, stand


@dataclass
class Skewed(Stage):
    """A stage whose hosts keep the true time, and whose watcher's wall clock is off by ``skew``."""

    skew: timedelta = timedelta()

    def restart(self) -> None:
        super().restart()
        self.watcher = Watcher(replace(self.watcher.parts, clock=lambda: self.now + self.skew))


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(days=400), timedelta(minutes=1), -timedelta(hours=1)], ids=str)
async def test_a_fault_is_told_soon_after_our_own_clock_was_set(step: timedelta) -> None:
    stage = Skewed()
    async with stage.connected():
        await stage.rounds(12)
        stage.skew = step
        fault = lose_chip(stage)
        await stage.rounds(10)
        assert stage.kept[fault].state is State.FIRING
        assert stage.kept[fault].since <= stage.now + step
        assert stage.watcher.counts["own_clock_steps"] == 1
        assert set(stage.kept) == {fault}


@pytest.mark.parametrize("seconds", [12, 25])
async def test_a_small_step_forward_makes_no_frame_late(seconds: int) -> None:
    stage = Skewed()
    async with stage.connected():
        await stage.rounds(12)
        stage.skew = timedelta(seconds=seconds)
        await stage.rounds(2)
        now = (stage.now + stage.skew).timestamp()
        assert [known.heard for known in stage.watcher.panel.hosts if known] == pytest.approx([now] * 16, abs=1)
        assert stage.watcher.counts["own_clock_steps"] == 0


async def test_a_clock_that_is_set_little_by_little_is_followed() -> None:
    stage = Skewed()
    async with stage.connected():
        for _ in range(60):
            stage.skew += timedelta(seconds=1)
            await stage.rounds(1)
        fault = lose_chip(stage)
        await stage.rounds(4)
        assert stage.kept[fault].state is State.FIRING


async def test_a_pause_of_the_watcher_is_no_step_of_its_clock() -> None:
    stage = Skewed()
    async with stage.connected():
        await stage.rounds(12)
        stage.now += timedelta(hours=1)
        await stage.rounds(2)
        assert stage.watcher.counts["own_clock_steps"] == 0


@pytest.mark.parametrize("step", [timedelta(hours=1), -timedelta(hours=1)], ids=str)
async def test_a_gang_that_stands_is_not_called_well_because_our_clock_was_set(step: timedelta) -> None:
    stage = Skewed()
    async with stage.connected():
        await stand(stage, 110)
        assert stage.kept[STUCK].state is State.FIRING
        stage.skew = step
        for _ in range(110):
            await stand(stage, 1)
            assert stage.kept[STUCK].state is not State.RESOLVED
        assert stage.kept[STUCK].state is State.FIRING


async def test_a_clock_that_is_set_before_the_first_connection_does_not_end_the_wait_for_it() -> None:
    stage = Skewed()
    fault = lose_chip(stage)
    async with stage.connected():
        await stage.rounds(9)
        since = stage.kept[fault].since
    stage.restart()
    await stage.watcher.round()
    stage.skew = timedelta(minutes=5)
    stage.now += timedelta(seconds=10)
    await stage.watcher.round()
    stage.now += timedelta(minutes=5)
    async with stage.connected():
        assert not stage.watcher.warm
        await stage.rounds(8)
    assert (stage.kept[fault].state, stage.kept[fault].since) == (State.FIRING, since)


async def test_progress_that_nobody_renews_does_not_grow_young_by_a_step_of_our_clock() -> None:
    stage = Skewed()
    async with stage.connected():
        for n in range(9):
            steps(stage, 10 * n)
            await stage.rounds(1)
        for speaker in stage.speakers.values():
            speaker.notes = {}
        await stage.rounds(5)
        at = stage.watcher.paces[gang_id("llm")].at
        stage.skew = timedelta(hours=1)
        await stage.rounds(8)
        assert stage.watcher.paces[gang_id("llm")].at == at
        stage.skew = -timedelta(hours=1)
        await stage.rounds(8)
        assert at > stage.watcher.paces[gang_id("llm")].at >= (NOW - timedelta(hours=1)).timestamp()
