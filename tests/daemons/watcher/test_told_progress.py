"""What is told of the progress of gangs, and kept at the broker."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from sliceward.daemons import topics
from tests.builders import NOW, gang_id
from tests.daemons.watcher.stage import Stage, steps


async def test_gang_progress_is_told_retained_and_the_rate_before_survives_a_restart() -> None:
    stage, gang = Stage(), gang_id("llm")
    topic = topics.progress("c1", gang.key)
    async with stage.connected():
        for n in range(9):
            steps(stage, 10 * n)
            await stage.rounds(1)
        told = json.loads(stage.broker.retained[topic].payload)
        assert told["gang"] == str(gang)
        assert (told["step"], told["members"], told["checkpoint_step"]) == (1080, 16, 900)
        assert told["rate"] == pytest.approx(1.0)
    stage.restart()
    async with stage.connected():
        await stage.rounds(7)
        told = json.loads(stage.broker.retained[topic].payload)
    assert told["rate"] == 0
    assert told["rate_before"] == pytest.approx(1.0)


async def test_a_bad_progress_message_of_before_is_counted() -> None:
    stage = Stage()
    stage.say(topics.progress("c1", "x"), b'{"gang": 5}', retain=True)
    stage.say(topics.progress("c1", "y"), b'{"gang": "c1/host/n", "at": "2026-01-01T00:00:00Z"}', retain=True)
    async with stage.connected():
        assert stage.watcher.counts["bad_progress"] == 2


async def test_progress_of_a_gang_that_is_long_gone_is_cleared() -> None:
    stage = Stage()
    gone = gang_id("of-yesterday")
    topic = topics.progress("c1", gone.key)
    stage.say(topic, json.dumps({"gang": str(gone), "at": NOW.isoformat(), "step": 1}).encode(), retain=True)
    async with stage.connected():
        await stage.rounds(9)
        assert gone in stage.watcher.paces
        stage.now += timedelta(hours=25)
        await stage.rounds(1)
    assert gone not in stage.watcher.paces
    assert topic not in stage.broker.retained
