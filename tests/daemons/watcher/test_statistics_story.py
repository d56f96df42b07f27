"""A day in the life of a small fleet with statistics on: a job pauses, hosts boot in a wave, the watcher starts anew, the broker forgets, Kubernetes is away.

Two parts are sick all the time. Nobody else is ever accused for good, the sick ones are never called well, and nobody is condemned but who is sick.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.finding import Kind, State
from tests.daemons.watcher.life import LEARN, METERS, SICK, Life, kept_in, ours
from tests.daemons.watcher.stage import settle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemons.watcher.life import Fault, Said
    from tests.daemons.watcher.stage import Stage

BOTH = (SICK, "c1/chip/cube-0-host-05/1")
CONDEMNED = {f"PartCondemned {part}" for part in BOTH}


@dataclass
class Day:
    """A stage on which all that is told is looked at, round by round."""

    stage: Stage
    life: Life

    async def live(self, rounds: int) -> None:
        for _ in range(rounds):
            await self.life.live(1)
            for name, one in ours(self.stage).items():
                assert one.kind is not Kind.PART_CONDEMNED or str(one.part) in BOTH, (name, one.text)
                called_well = str(one.part) in BOTH and one.state is State.RESOLVED
                assert not called_well or one.text == "it is condemned by now", (name, one.text)

    @property
    def standing(self) -> set[str]:
        return {name for name, one in ours(self.stage).items() if one.state is State.FIRING}

    async def sicken(self) -> None:
        for part in BOTH:
            self.life.slow(part)
        await self.live(12)
        for part in BOTH:
            self.life.throttled(part)
        await self.live(18)
        assert self.standing == CONDEMNED

    async def pause(self) -> None:
        self.life.faults.append(resting(self.life, self.life.tick, 30))
        await self.live(45)

    async def boot_in_a_wave(self) -> None:
        names = list(self.stage.speakers)
        for step in range(0, len(names), 4):
            self.stage.silent = set(names[step : step + 4])
            for name in self.stage.silent:
                speaker = self.stage.speakers[name]
                speaker.boot_id, speaker.seq, speaker.agent_start = f"b-{step}", 0, self.stage.now.timestamp()
            await self.live(4)
        self.stage.silent = set()
        await self.live(10)

    async def lose_the_broker(self) -> None:
        self.stage.broker.stop()
        await settle()
        await self.live(8)
        self.stage.broker.retained.clear()
        self.stage.broker.start()
        await settle()
        await self.live(4)

    async def begin_without_kubernetes(self) -> None:
        self.stage.restart()
        watcher = self.stage.watcher
        tasks = [asyncio.create_task(self.stage.wire.run(watcher.take, watcher._greet))]  # noqa: SLF001 (the broker alone)
        await settle()
        await self.live(12)
        assert not self.standing, "nobody knows"
        tasks.append(asyncio.create_task(watcher.parts.surroundings.run()))
        await settle()
        await self.live(8)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def resting(life: Life, since: int, rounds: int) -> Fault:
    """Let all chips do nothing for a while."""

    def fault(tick: int, said: Said) -> None:
        if since < tick <= since + rounds:
            for name in METERS:
                said[name][:] = np.abs(life.dice.normal(0, 0.05, life.count))

    return fault


async def test_a_day_with_statistics_on_condemns_the_sick_alone_and_calls_none_of_them_well(tmp_path: Path) -> None:
    stage = kept_in(tmp_path)
    day = Day(stage, Life(stage))
    async with stage.connected():
        await day.live(LEARN)
        assert ours(stage) == {}
        await day.sicken()
        await day.pause()
        await day.boot_in_a_wave()
        assert day.standing == CONDEMNED
    stage.restart()
    async with stage.connected():
        await day.live(12)
        assert day.standing == CONDEMNED
        await day.lose_the_broker()
        assert day.standing == CONDEMNED
    await day.begin_without_kubernetes()
    assert day.standing == CONDEMNED
