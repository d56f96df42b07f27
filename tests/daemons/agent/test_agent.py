"""One agent against the simulated doors of a host and a broker in memory."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons import topics
from sliceward.daemons.agent.agent import Agent, Connection
from sliceward.daemons.agent.run import AgentMetrics, dependencies
from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.wire import Message
from sliceward.detectors.frame import Frame, decode, unpack
from sliceward.detectors.metrics import CATALOGUE
from sliceward.simulation.hosts import Holder
from sliceward.topology.errors import Misconfigured
from tests.daemons.sources.builders import a_host, a_job, eventually
from tests.fakes.wire import MemoryBroker, MemoryWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sliceward.simulation.hosts import SimulatedHost

ADDRESS = "127.122.0.1"
PERIOD = "200ms"


def settings_of(host: SimulatedHost, **changes: Any) -> AgentSettings:  # noqa: ANN401 (fields)
    found = {**host.agent_configuration(cluster="prod", broker="mqtt://unused", period=PERIOD, slow=PERIOD), **changes}
    return AgentSettings.model_validate_json(json.dumps(found))


@asynccontextmanager
async def an_agent(host: SimulatedHost, broker: MemoryBroker, **changes: Any) -> AsyncIterator[Agent]:  # noqa: ANN401 (fields)
    def connect(wanted: Connection) -> MemoryWire:
        return broker.wire(wanted.client_id, subscribe=wanted.subscribe, will=wanted.will)

    agent = Agent(settings_of(host, **changes), connect)
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            raise error


def frames(broker: MemoryBroker) -> list[Frame]:
    return [decode(message.payload) for message in broker.published if message.topic.endswith("/frame")]


def events(broker: MemoryBroker) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in broker.published if message.topic.endswith("/event")]


def values(frame: Frame, metric: str) -> list[float]:
    return unpack(CATALOGUE[metric], frame.columns[metric])


def status(broker: MemoryBroker) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(broker.retained["sliceward/v1/prod/hosts/node-1/status"].payload)
    return found


def ask(broker: MemoryBroker, **request: Any) -> None:  # noqa: ANN401 (fields)
    topic = topics.host("prod", "node-1", topics.REQUEST)
    broker.publish(Message(topic, json.dumps({"deadline": time.time() + 60, "facts": {}, **request}).encode()))


async def test_a_frame_tells_the_truth_of_its_host(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker):
        await eventually(lambda: broker.wires)
        await host.start_job(a_job())
        host.step(40)
        host.set_link(3, 5, 7)
        host.set_throttle(1, 6)
        host.memory_errors(2, 3)
        await eventually(
            lambda: frames(broker) and values(frames(broker)[-1], "link_health")[23] == 7.0 if has_links(broker) else 0
        )
        await eventually(lambda: "chip_duty_cycle_percent" in frames(broker)[-1].columns)
        await eventually(lambda: sum(values(frames(broker)[-1], "chip_hbm_uncorrectable_total")))
        frame = frames(broker)[-1]
        notes = {key: text for one in frames(broker) for key, text in one.notes.items()}
    assert (frame.cluster, frame.host, frame.instance_id, frame.boot_id, frame.index) == ("prod", "node-1", "77001", "b00t-1", 3)
    assert (frame.chips, frame.ports) == (4, 6)
    assert values(frame, "chip_present") == [1.0] * 4
    assert values(frame, "chip_throttle_score")[1] == 6.0
    assert values(frame, "chip_hbm_uncorrectable_total") == [0.0, 0.0, 3.0, 0.0]
    assert values(frame, "host_source_age_libtpu_seconds")[0] < 5
    assert notes["gang"] == "prod/gang/ml/JobSet/llm|slice|1|3"
    assert json.loads(notes["coordinates"])[1] == [1, 0, 0]
    assert [one.seq for one in frames(broker)] == list(range(1, len(frames(broker)) + 1))
    assert frames(broker)[0].full_notes


def has_links(broker: MemoryBroker) -> bool:
    found = frames(broker)
    return bool(found) and "link_health" in found[-1].columns


async def test_a_stopped_agent_says_good_bye_and_a_dead_one_is_told_by_its_will(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host:
        async with an_agent(host, broker):
            await eventually(lambda: broker.retained)
            assert status(broker)["online"] is True
            assert status(broker)["problems"] == []
        assert (status(broker)["online"], status(broker)["why"]) == (False, "stopped")
        async with an_agent(host, broker):
            await eventually(lambda: status(broker)["online"])
            broker.up.clear()
            broker.cut("sliceward-agent-prod-node-1")
            assert (status(broker)["online"], status(broker)["why"]) == (False, "connection lost")


async def test_what_is_missing_of_an_identity_is_said_and_not_guessed(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker, index=None, instance_id=""):
        await eventually(lambda: frames(broker))
        assert frames(broker)[0].index is None
        assert frames(broker)[0].instance_id == ""
        assert len(status(broker)["problems"]) == 2


async def test_a_lost_chip_and_a_stranger_on_a_device_wake_the_watcher(tmp_path: Path) -> None:
    broker = MemoryBroker()
    kubernetes = {"enabled": False}
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker, kubernetes=kubernetes):
        await eventually(lambda: frames(broker))
        host.set_missing(2, missing=True)
        host.hold(1, Holder(66001, "python3"))
        await eventually(lambda: events(broker))
        await eventually(lambda: values(frames(broker)[-1], "chip_present") == [1.0, 1.0, 0.0, 1.0])
    event = events(broker)[0]
    assert (event["event"], event["text"]) == ("device-change", "chip 2 is gone")
    assert (event["instance_id"], event["boot_id"]) == ("77001", "b00t-1")


async def test_events_wait_for_the_broker_over_a_restart_of_the_agent(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.stop()
    async with a_host(tmp_path, address=ADDRESS) as host:
        async with an_agent(host, broker) as agent:
            agent.event("test", "before the restart")
            await eventually(lambda: agent.counts["frames_dropped"] or (tmp_path / "var/lib/sliceward/events.json").exists())
        assert not broker.published
        broker.start()
        async with an_agent(host, broker):
            await eventually(lambda: events(broker))
    assert [event["text"] for event in events(broker)] == ["before the restart"]


async def test_a_checkpoint_is_asked_for_through_all_doors_and_answered_once(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker):
        await eventually(lambda: broker.wires)
        await host.start_job(a_job())
        host.step(40)
        await eventually(lambda: has_links(broker))
        for _ in range(3):
            ask(broker, id="r1", request="checkpoint")
        await eventually(lambda: host.checkpoint_requested)
        host.checkpointed(41)
        await eventually(lambda: events(broker))
        ask(broker, id="r1", request="checkpoint")
        await eventually(lambda: len(events(broker)) == 2)
    assert [(event["ok"], event["facts"]) for event in events(broker)] == [(True, {"checkpoint_step": 41})] * 2


async def test_a_device_check_names_who_holds_and_what_is_gone(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker):
        await eventually(lambda: broker.wires)
        ask(broker, id="r1", request="device-check")
        await eventually(lambda: events(broker))
        host.hold(1, Holder(66001, "python3"))
        host.set_missing(2, missing=True)
        ask(broker, id="r2", request="device-check", deadline="2100-01-01T00:00:00Z")
        ask(broker, id="r3", request="device-check")
        await eventually(lambda: {"r2", "r3"} <= {event["id"] for event in events(broker)})
    answers = {event["id"]: event for event in events(broker) if "request" in event}
    assert answers["r1"]["ok"] is True
    assert answers["r2"]["ok"] is False
    assert "more than a day away" in answers["r2"]["why"]
    assert "chip 1: held by" in answers["r3"]["why"]
    assert "chip 2: /dev/vfio/2: No such file" in answers["r3"]["why"]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        pytest.param({"id": "r1", "request": "dance"}, "does not know", id="an unknown request"),
        pytest.param({"id": "r1", "request": "checkpoint", "deadline": 5}, "has passed", id="too late"),
        pytest.param({"id": "r1", "request": "checkpoint"}, "no training process", id="nobody to ask"),
    ],
)
async def test_a_request_that_cannot_be_met_is_a_no_with_a_reason(tmp_path: Path, request_: dict[str, Any], why: str) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker):
        await eventually(lambda: broker.wires)
        broker.publish(Message(topics.host("prod", "node-1", topics.REQUEST), b"\xff nonsense"))
        ask(broker, **request_)
        await eventually(lambda: events(broker))
    assert events(broker)[0]["ok"] is False
    assert why in events(broker)[0]["why"]


async def test_a_full_or_dead_disk_does_not_silence_the_agent(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker, state="/dev/full") as agent:
        await eventually(lambda: frames(broker) and "host_disk_writable" in frames(broker)[-1].columns)
        agent.event("test", "still speaking")
        await eventually(lambda: events(broker))
        assert values(frames(broker)[-1], "host_disk_writable") == [0.0]
        assert agent.queue.counts["not_saved"] > 0


@pytest.mark.parametrize("door", ["a port that is taken", "a folder that is a file"])
async def test_a_reporters_door_that_cannot_be_opened_costs_only_itself_and_is_opened_later(tmp_path: Path, door: str) -> None:
    broker, blocked = MemoryBroker(), tmp_path / "run"
    with socket.create_server((ADDRESS, 0)) as taken:
        blocked.write_text("in the way")
        port = {"tcp": f"{ADDRESS}:{taken.getsockname()[1]}"} if "port" in door else {"socket": str(blocked / "reporter.sock")}
        async with a_host(tmp_path / "host", address=ADDRESS) as host:
            sources = settings_of(host).sources.model_dump(mode="json", exclude_none=True)
            sources["reporter"] |= port
            async with an_agent(host, broker, sources=sources) as agent:
                await eventually(lambda: len(frames(broker)) > 1)
                assert values(frames(broker)[-1], "host_source_age_reporter_seconds")[0] > 0
                why = {need.name: need.why for need in dependencies(agent)}["source reporter"]
                assert why.startswith("no door for reporters: ")
                taken.close()
                blocked.unlink()
                await eventually(
                    lambda: "no training process" in {need.name: need.why for need in dependencies(agent)}["source reporter"]
                )


async def test_a_kernel_log_that_cannot_be_read_is_its_age_and_no_good_news(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host:
        sources = settings_of(host).sources.model_dump(mode="json", exclude_none=True)
        sources["kernel_log"]["file"] = str(tmp_path / "not-there")
        async with an_agent(host, broker, sources=sources):
            await eventually(lambda: len(frames(broker)) > 2)
    frame = frames(broker)[-1]
    assert "chip_hbm_uncorrectable_total" not in frame.columns
    assert values(frame, "host_source_age_kernel_log_seconds")[0] >= values(frame, "host_source_age_host_seconds")[0]
    assert {"host_source_age_holders_seconds", "host_source_age_selftest_seconds"} <= set(frame.columns)


async def test_it_shows_its_sources_and_counts(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker) as agent:
        await eventually(lambda: frames(broker))
        shown = {need.name: need for need in dependencies(agent)}
        families = {family.name for family in AgentMetrics(agent).collect()}
    assert shown["broker"].ok
    assert shown["source host"].age is not None
    assert "no training process" in shown["source reporter"].why
    assert "sliceward_agent_source_failures" in families


async def test_a_host_whose_chips_nobody_knows_is_refused_with_what_to_do(tmp_path: Path) -> None:
    found = {"cluster": "prod", "node": "node-1", "sources": {"root": str(tmp_path)}, "state": str(tmp_path)}
    settings = AgentSettings.model_validate_json(json.dumps({**found, "kubernetes": {"enabled": False}}))
    with pytest.raises(Misconfigured, match="generation"):
        await Agent(settings, lambda _wanted: MemoryWire(MemoryBroker(), "x")).run()
    with pytest.raises(Misconfigured, match="period"):
        Agent(settings.model_copy(update={"period": settings.period * 1000}), lambda _wanted: MemoryWire(MemoryBroker(), "x"))


async def test_requests_that_are_none_are_counted_by_what_is_wrong_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker, topic = MemoryBroker(), topics.host("prod", "node-1", topics.REQUEST)
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker) as agent:
        await eventually(lambda: broker.wires)
        for long in ({"id": "x" * 513, "request": "dance"}, {"id": "r1", "request": "x" * 65}):
            ask(broker, **long)
        for _ in range(3):
            broker.publish(Message(topic, b"\xff nonsense"))
        ask(broker, id="x" * 512, request="dance")
        await eventually(lambda: events(broker))
        shown = {
            (sample.name, *sample.labels.values()): sample.value
            for family in AgentMetrics(agent).collect()
            for sample in family.samples
        }
    assert [event["id"] for event in events(broker)] == ["x" * 512]
    assert shown["sliceward_agent_events_total", "requests_malformed"] == 5
    assert shown["sliceward_agent_messages_total", "received"] == 6
    assert capsys.readouterr().out.count("requests malformed") == 1


async def test_more_requests_than_can_be_answered_are_refused_and_counted(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker) as agent:
        await eventually(lambda: broker.wires)
        await host.start_job(a_job())
        host.step(40)
        await eventually(lambda: agent.reporter is not None and agent.reporter.reporting)
        for number in range(20):
            ask(broker, id=f"r{number}", request="checkpoint")
        await eventually(lambda: agent.counts["requests_refused"] == 4)


async def test_frames_have_their_turn_however_fast_events_come(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with a_host(tmp_path, address=ADDRESS) as host, an_agent(host, broker) as agent:
        await eventually(lambda: broker.wires)
        put = broker.publish

        def one_more(message: Message) -> None:
            put(message)
            if message.topic.endswith("/event"):
                agent.event("test", "another")

        broker.publish = one_more  # type: ignore[method-assign]  # each event makes the next, as a flood does
        agent.event("test", "the first")
        before = len(frames(broker))
        await eventually(lambda: len(frames(broker)) > before + 2)
