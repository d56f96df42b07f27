"""What is told of findings, and kept at the broker: when, for how long, and after everybody was away."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sliceward.daemons import topics
from sliceward.daemons.watcher.watcher import Watcher, subscriptions
from sliceward.detectors.finding import Finding, Kind, State, to_json
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, HostId
from tests.builders import NOW, gang_id
from tests.daemons.watcher.stage import H0, H1, Stage, lose_chip, settle
from tests.fakes.wire import MemoryWire


async def test_a_fault_is_told_retained_with_the_gang_that_suffers() -> None:
    stage = Stage()
    fault = lose_chip(stage)
    async with stage.connected():
        await stage.rounds(9)
    assert stage.kept[fault].state is State.FIRING
    assert stage.kept[fault].gang == gang_id("llm")


async def test_nothing_is_told_before_the_panel_has_filled() -> None:
    stage = Stage()
    lose_chip(stage)
    async with stage.connected():
        await stage.rounds(5)
        assert stage.kept == {}
        await stage.rounds(1)
        assert len(stage.kept) == 1


async def test_a_finding_is_told_on_change_and_refreshed_now_and_then() -> None:
    stage = Stage()
    fault = lose_chip(stage)
    async with stage.connected():
        await stage.rounds(9)
        first, stage.broker.published = stage.kept[fault], []
        await stage.rounds(6)
    told = [m for m in stage.broker.published if "/findings/" in m.topic]
    assert len(told) == 2
    assert stage.kept[fault].seen > first.seen
    assert stage.kept[fault].since == first.since


async def test_a_resolved_finding_stays_for_a_day_and_is_then_cleared() -> None:
    stage = Stage()
    fault = lose_chip(stage)
    async with stage.connected():
        await stage.rounds(9)
        stage.speakers[H0].chip("chip_present", 2, 1)
        await stage.rounds(12)
        assert stage.kept[fault].state is State.RESOLVED
        stage.now += timedelta(hours=23)
        await stage.rounds(1)
        assert fault in stage.kept
        stage.now += timedelta(hours=1)
        await stage.rounds(1)
        assert fault not in stage.kept


async def test_a_finding_of_a_clock_that_was_ahead_is_resolved_in_time() -> None:
    stage = Stage()
    fault = lose_chip(stage)
    async with stage.connected():
        await stage.rounds(9)
        stage.now -= timedelta(hours=2)
        stage.speakers[H0].chip("chip_present", 2, 1)
        await stage.rounds(20)
        assert stage.kept[fault].state is State.RESOLVED


async def test_an_empty_broker_fills_again_after_it_came_back() -> None:
    stage = Stage()
    fault = lose_chip(stage)
    async with stage.connected():
        await stage.rounds(9)
        since = stage.kept[fault].since
        stage.broker.stop()
        await settle()
        assert stage.kept == {}
        await stage.rounds(2)
        stage.broker.start()
        await settle()
        await stage.rounds(1)
    assert stage.kept[fault].since == since


async def test_a_restart_keeps_since_and_forgets_nothing_in_silence() -> None:
    stage = Stage()
    fault, other = lose_chip(stage), f"DeviceOccupied c1/chip/{H1}/0"
    stage.speakers[H1].chip("chip_foreign_holder", 0, 1)
    async with stage.connected():
        await stage.rounds(9)
        before = stage.kept
    stage.restart()
    stage.silent.add(H1)
    async with stage.connected():
        await stage.rounds(8)
    assert stage.kept[fault].state is State.FIRING
    assert stage.kept[fault].since == before[fault].since
    assert stage.kept[other].state is State.UNKNOWN
    assert stage.kept[other].since == before[other].since


async def test_what_others_keep_on_the_findings_topic_is_not_taken_for_ours() -> None:
    stage = Stage()
    alert = Finding(
        Kind.HOST_LOST, HostId("c1", H0), State.FIRING, Severity.ERROR, NOW, NOW, 1.0, "x", "1", "t", source="alerts/a"
    )
    foreign = replace(alert, source="watcher", part=HostId("c2", H0))
    stage.say(topics.finding("c1", alert.id), to_json(alert), retain=True)
    stage.say(topics.finding("c1", foreign.id), to_json(foreign), retain=True)
    stage.say(topics.finding("c1", "0123"), to_json(replace(alert, source="watcher")), retain=True)
    stage.say(topics.finding("c1", "dead"), b"no finding", retain=True)
    async with stage.connected():
        await stage.rounds(1)
    assert stage.watcher.findings == []
    assert list(stage.watcher.shelf.bad) == ["dead"]


class Fussy(MemoryWire):
    """Refuses or fails some publishes."""

    error: Exception | None = None

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        if self.error is not None and "/findings/" in topic:
            raise self.error
        await super().publish(topic, payload, qos=qos, retain=retain)


@pytest.mark.parametrize("error", [Retry("not confirmed"), Refused("too large")])
async def test_what_could_not_be_told_is_told_later_and_does_not_stop_the_rest(error: Exception) -> None:
    stage = Stage()
    fault = lose_chip(stage)
    wire = Fussy(stage.broker, "watcher", subscriptions("c1"))
    stage.wire = wire
    stage.watcher = Watcher(replace(stage.watcher.parts, bus=wire))
    async with stage.connected():
        await stage.rounds(5)
        wire.error = error
        if isinstance(error, Retry):
            with pytest.raises(Retry):
                await stage.rounds(1)
        else:
            await stage.rounds(1)
            assert stage.watcher.counts["finding_refused"] == 1
        assert stage.kept == {}
        wire.error = None
        await stage.rounds(4)
    assert stage.kept[fault].part == ChipId("c1", H0, 2)
