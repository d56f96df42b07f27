"""The watcher itself: that it lives, that it is gone, and what its own absence or clock does to nobody."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta

from sliceward.daemons import topics
from sliceward.daemons.version import version
from sliceward.daemons.watcher.run import wire_of
from sliceward.detectors.finding import State
from tests.daemons.watcher.stage import Stage, lose_chip, settings_of, settle


async def test_a_watcher_says_that_it_lives_though_all_is_well() -> None:
    stage = Stage()
    async with stage.connected():
        await stage.rounds(20)
        alive = stage.broker.retained[topics.watcher("c1")]
        at = datetime.fromisoformat(json.loads(alive.payload)["at"])
        assert stage.now - at < timedelta(seconds=31)
        assert json.loads(alive.payload) == {
            "online": True, "at": at.isoformat(), "version": version(), "loops_late": [],
        }  # fmt: skip
    told = [message for message in stage.broker.published if message.topic == topics.watcher("c1")]
    assert len(told) < 8, "not each round"


async def test_a_watcher_that_has_not_read_the_fleet_does_not_say_that_it_watches() -> None:
    stage = Stage()
    stage.watcher.parts.surroundings.mirrors["pods"].synced = False
    async with stage.connected():
        await stage.rounds(3)
        stage.watcher.parts.surroundings.mirrors["pods"].synced = False
        await stage.rounds(17)
        assert topics.watcher("c1") not in stage.broker.retained


async def test_a_watcher_that_stops_or_dies_is_told_to_be_gone() -> None:
    stage = Stage()
    running = asyncio.create_task(stage.watcher.run())
    await settle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert json.loads(stage.broker.retained[topics.watcher("c1")].payload)["why"] == "stopped"
    wire = wire_of(settings_of())
    assert wire._will is not None  # noqa: SLF001 (no broker is needed to see what is left with it)
    assert (wire._will.topic, wire._will.retain) == (topics.watcher("c1"), True)  # noqa: SLF001 (as above)
    assert json.loads(wire._will.payload)["online"] is False  # noqa: SLF001 (as above)


async def test_nobody_ages_while_the_broker_is_away() -> None:
    stage = Stage()
    async with stage.connected():
        await stage.rounds(8)
        stage.broker.stop()
        await settle()
        await stage.rounds(30)
        stage.broker.start()
        await settle()
        await stage.rounds(1)
        assert stage.kept == {}


async def test_all_loops_run_and_beat() -> None:
    stage = Stage()
    task = asyncio.create_task(stage.watcher.run())
    await settle()
    loops = {loop.name: loop.beats for loop in stage.watcher.parts.loops}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert loops == {"detect": 1, "statistics": 0}, "not before the cluster was read"


async def test_a_clock_of_ours_that_is_set_back_blinds_nobody() -> None:
    stage = Stage()
    async with stage.connected():
        await stage.rounds(20)
        stage.now -= timedelta(hours=2)
        fault = lose_chip(stage)
        await stage.rounds(4)
        assert fault not in stage.kept, "the windows fill again first"
        await stage.rounds(9)
        assert stage.kept[fault].state is State.FIRING
        assert stage.kept[fault].since <= stage.now
        assert stage.watcher.counts["own_clock_steps"] == 1
        alive = json.loads(stage.broker.retained[topics.watcher("c1")].payload)
        assert stage.now - datetime.fromisoformat(alive["at"]) < timedelta(seconds=31)
