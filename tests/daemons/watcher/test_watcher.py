"""The watcher with a broker in memory, a fake cluster and a clock of its own: rounds are called, nothing sleeps."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons import topics
from sliceward.daemons.loops import Loops
from sliceward.daemons.settings import load
from sliceward.daemons.version import version
from sliceward.daemons.watcher.run import read_rules, wire_of
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.daemons.watcher.surroundings import Surroundings
from sliceward.daemons.watcher.watcher import Parts, Watcher, subscriptions
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import Finding, Kind, State, from_json, to_json
from sliceward.detectors.frame import encode
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, SLICE
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, HostId
from tests.builders import NOW, a_fleet, gang_id
from tests.detectors.frames import Speaker, speakers_of
from tests.fakes.beside import at_once
from tests.fakes.cluster import FakeCluster
from tests.fakes.wire import MemoryBroker, MemoryWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sliceward.topology.fleet import Fleet
    from tests.builders import FleetBuilder

H0, H1 = "cube-0-host-00", "cube-0-host-01"
A_CLUSTER = a_fleet().with_cubes(1).with_gang("llm").on("cube-0")


def settings_of(**environ: str) -> WatcherSettings:
    return load(WatcherSettings, file=None, environ={"SLICEWARD_CLUSTER": "c1", "SLICEWARD_MQTT_URL": "mqtt://b"} | environ)


@dataclass
class Stage:
    """One watcher on its stage. ``now`` moves by `rounds` only."""

    builder: FleetBuilder = A_CLUSTER
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    now: datetime = NOW
    silent: set[str] = field(default_factory=set)
    beside: Callable[[Callable[[], Fleet]], Awaitable[Fleet]] = at_once

    def __post_init__(self) -> None:
        self.cluster = FakeCluster("c1")
        objects = self.builder.objects()
        for kind, rows in (
            (NODE, objects.nodes),
            (POD, objects.pods),
            (JOB, objects.jobs),
            (JOBSET, objects.jobsets),
            (SLICE, ()),
        ):
            self.cluster.put_all(kind, rows)
        self.speakers = speakers_of(self.builder.build())
        self.restart()

    def restart(self) -> None:
        settings = settings_of()
        self.wire = MemoryWire(self.broker, "watcher", subscriptions("c1"))
        self.watcher = Watcher(
            Parts(
                settings=settings,
                rules=read_rules(settings.rules),
                bus=self.wire,
                surroundings=Surroundings("c1", self.cluster, beside=self.beside),
                loops=Loops(lambda: (self.now - NOW).total_seconds()),  # noqa: PLW0108 (`now` is replaced, not changed)
                clock=lambda: self.now,
                monotonic=lambda: (self.now - NOW).total_seconds(),  # noqa: PLW0108 (as above)
            )
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self.wire.run(self.watcher.take, self.watcher._greet)),  # noqa: SLF001 (without the sleeping loop)
            asyncio.create_task(self.watcher.parts.surroundings.run()),
        ]
        try:
            await settle()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            self.now += timedelta(seconds=10)
            for name, speaker in self.speakers.items():
                if name not in self.silent:
                    self.say(topics.host("c1", name, topics.FRAME), encode(speaker.say(self.now.timestamp())))
            await settle()
            await self.watcher.round()

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.broker.publish(Message(topic, payload, retain=retain, qos=0))

    @property
    def kept(self) -> dict[str, Finding]:
        found = [from_json(m.payload) for t, m in self.broker.retained.items() if "/findings/" in t]
        return {f"{f.kind} {f.part}": f for f in found}


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def lose_chip(stage: Stage, chip: int = 2) -> str:
    stage.speakers[H0].chip("chip_present", chip, 0)
    return f"ChipLost c1/chip/{H0}/{chip}"


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


async def test_silence_is_lost_telemetry_until_kubernetes_agrees_and_then_a_lost_host() -> None:
    stage = Stage()
    async with stage.connected():
        await stage.rounds(8)
        stage.silent.add(H0)
        await stage.rounds(8)
        assert list(stage.kept) == [f"TelemetryLost c1/host/{H0}"]
        stage.cluster.edit(NODE, H0, {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
        await stage.rounds(4)
        kept = stage.kept
    assert kept[f"HostLost c1/host/{H0}"].state is State.FIRING
    assert kept[f"TelemetryLost c1/host/{H0}"].state is State.RESOLVED


async def test_a_host_that_leaves_the_cluster_is_forgotten() -> None:
    stage = Stage()
    async with stage.connected():
        await stage.rounds(8)
        stage.silent.add(H0)
        stage.cluster.drop(NODE, H0)
        await stage.rounds(9)
    assert H0 not in stage.watcher.panel.slots
    assert all(f.state is State.RESOLVED for f in stage.kept.values())


async def test_a_frame_speaks_only_for_the_host_of_its_topic() -> None:
    stage = Stage()
    async with stage.connected():
        stage.say(topics.host("c1", H1, topics.FRAME), encode(Speaker(H0).say(stage.now.timestamp())))
        stage.say(topics.host("c1", H0, topics.FRAME), encode(Speaker(H0, cluster="c2").say(stage.now.timestamp())))
        stage.say(topics.host("c1", H0, topics.FRAME), b"\x00 no frame")
        stage.say(topics.host("c1", H0, topics.FRAME), b"\x00 no frame")
        await settle()
    assert stage.watcher.counts == Counter(wrong_speaker=2, bad_frame=2)
    assert stage.watcher.panel.slots == {}


async def test_a_note_that_names_no_gang_costs_the_detection_nothing() -> None:
    stage = Stage()
    fault = lose_chip(stage)
    stage.speakers[H1].notes = {"gang": "c1/chip/h/" + "9" * 5000}
    async with stage.connected():
        await stage.rounds(9)
    assert stage.kept[fault].state is State.FIRING


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


def steps(stage: Stage, step: int) -> None:
    for rank, speaker in enumerate(stage.speakers.values()):
        speaker.readings |= {"host_step": step, "host_checkpoint_age_seconds": 30}
        speaker.notes = {"gang": f"{gang_id('llm')}|slice|0|{rank}", "step_base": "1000", "checkpoint_step": "900"}


async def test_a_bad_progress_message_of_before_is_counted() -> None:
    stage = Stage()
    stage.say(topics.progress("c1", "x"), b'{"gang": 5}', retain=True)
    stage.say(topics.progress("c1", "y"), b'{"gang": "c1/host/n", "at": "2026-01-01T00:00:00Z"}', retain=True)
    async with stage.connected():
        assert stage.watcher.counts["bad_progress"] == 2


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


async def test_a_host_without_an_index_is_named_as_such_though_it_never_spoke() -> None:
    stage = Stage(A_CLUSTER.labelled({"sliceward.dev/host-index": None}, H0))
    stage.silent = {H0, H1}
    async with stage.connected():
        await stage.rounds(12)
    assert stage.kept[f"IdentityConflict c1/host/{H0}"].state is State.FIRING
    assert f"IdentityConflict c1/host/{H1}" not in stage.kept


async def test_the_chips_themselves_say_where_they_are() -> None:
    truth = A_CLUSTER.build()
    stage = Stage(A_CLUSTER.labelled({"sliceward.dev/host-index": None}, *A_CLUSTER.hosts_of("cube-0")))
    for name, speaker in stage.speakers.items():
        speaker.notes["coordinates"] = json.dumps(truth.hosts[HostId("c1", name)].coordinates)
    stage.speakers[H1].notes["coordinates"] = "no json"
    stage.speakers["cube-0-host-02"].notes["coordinates"] = "[" * 8000
    async with stage.connected():
        await stage.rounds(2)
        assert not stage.watcher.parts.surroundings.fleet.hosts[HostId("c1", H0)].coordinates
        for name in (H1, "cube-0-host-02"):
            stage.speakers[name].notes["coordinates"] = json.dumps(truth.hosts[HostId("c1", name)].coordinates)
        await stage.rounds(2)
        found = stage.watcher.parts.surroundings.fleet.hosts
    assert {host: found[host].coordinates for host in found} == {host: truth.hosts[host].coordinates for host in truth.hosts}


async def test_frames_are_taken_in_while_a_large_fleet_is_read() -> None:
    read = asyncio.Event()

    async def slowly(call: Callable[[], Fleet]) -> Fleet:
        await read.wait()
        return call()

    stage = Stage(beside=slowly)
    async with stage.connected():
        going = asyncio.create_task(stage.rounds())
        await settle()
        assert stage.watcher.panel.counts["taken"] == len(stage.speakers)
        await settle()
        stage.say(topics.host("c1", H0, topics.FRAME), encode(stage.speakers[H0].say(stage.now.timestamp() + 1)))
        await settle()
        assert stage.watcher.panel.counts["taken"] == len(stage.speakers) + 1
        assert not stage.watcher.parts.surroundings.fleet.hosts
        read.set()
        await going
        assert len(stage.watcher.parts.surroundings.fleet.hosts) == len(stage.speakers)


async def test_a_fleet_whose_reading_failed_is_read_again() -> None:
    fails = [Retry("no thread")]

    async def failing(call: Callable[[], Fleet]) -> Fleet:
        if fails:
            raise fails.pop()
        return call()

    stage = Stage(beside=failing)
    async with stage.connected():
        with pytest.raises(Retry):
            await stage.rounds()
        await stage.rounds()
        assert len(stage.watcher.parts.surroundings.fleet.hosts) == len(stage.speakers)


async def test_all_loops_run_and_beat() -> None:
    stage = Stage()
    task = asyncio.create_task(stage.watcher.run())
    await settle()
    loops = {loop.name: loop.beats for loop in stage.watcher.parts.loops}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert loops == {"detect": 1}


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


async def test_a_finding_of_a_clock_that_was_ahead_is_resolved_in_time() -> None:
    stage = Stage()
    fault = lose_chip(stage)
    async with stage.connected():
        await stage.rounds(9)
        stage.now -= timedelta(hours=2)
        stage.speakers[H0].chip("chip_present", 2, 1)
        await stage.rounds(20)
        assert stage.kept[fault].state is State.RESOLVED


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
