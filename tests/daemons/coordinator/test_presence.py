"""Findings as the broker holds them: absent is unknown, and only a message says resolved."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons import topics
from sliceward.daemons.coordinator.presence import read_progress
from sliceward.daemons.coordinator.settings import PaceSettings
from sliceward.daemons.coordinator.side import subscriptions
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import State
from sliceward.topology.ids import GangId, HostId, parse
from tests.daemons.coordinator.bench import Clock, World, a_bench, the_fleet

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.fill(the_fleet())
    return world


async def test_a_kept_finding_is_known_to_a_coordinator_that_comes_late(world: World) -> None:
    finding = world.finding(HostId("c1", "n1"))
    world.tell(finding)
    async with a_bench(world) as bench:
        assert bench.side.presence.findings() == {finding.id: finding}


async def test_a_broker_that_is_away_for_long_ages_findings_to_unknown(world: World) -> None:
    finding = world.finding(HostId("c1", "n1"))
    for patience, state in ((timedelta(minutes=1), State.FIRING), (timedelta(0), State.UNKNOWN)):
        world.broker.start()
        world.tell(finding)
        world.pace = PaceSettings(broker_grace=timedelta(0), findings_stale_after=patience)
        async with a_bench(world) as bench:
            world.broker.stop()
            await bench.settle()
            assert bench.side.presence.findings()[finding.id].state is state


async def test_a_broker_that_comes_back_empty_makes_findings_unknown_until_they_are_told_again(world: World) -> None:
    finding = world.finding(HostId("c1", "n1"))
    world.tell(finding)
    async with a_bench(world) as bench:
        world.broker.cut("coordinator")
        world.broker.retained.clear()
        await bench.settle()
        assert bench.side.presence.findings()[finding.id].state is State.UNKNOWN
        world.tell(finding)
        await bench.settle()
        assert bench.side.presence.findings()[finding.id].state is State.FIRING


async def test_a_watcher_that_repeats_nothing_any_more_ages_its_findings_to_unknown(world: World) -> None:
    finding = world.finding(HostId("c1", "n1"))
    async with a_bench(world) as bench:
        world.tell(finding)
        await bench.settle()
        assert bench.side.watched
        world.clock.pass_(121)
        assert bench.side.presence.findings()[finding.id].state is State.UNKNOWN
        assert not bench.side.watched


async def test_a_finding_that_was_kept_from_long_ago_is_unknown_from_the_start(world: World) -> None:
    finding = world.finding(HostId("c1", "n1"))
    world.tell(finding)
    world.clock.pass_(3600)
    async with a_bench(world) as bench:
        assert bench.side.presence.findings()[finding.id].state is State.UNKNOWN


async def test_an_empty_message_clears_and_a_resolved_one_resolves(world: World) -> None:
    finding = world.finding(HostId("c1", "n1"))
    async with a_bench(world) as bench:
        world.tell(world.finding(HostId("c1", "n1"), state=State.RESOLVED))
        await bench.settle()
        assert bench.side.presence.findings()[finding.id].state is State.RESOLVED
        world.broker.publish(Message(topics.finding("c1", finding.id), b"", retain=True))
        await bench.settle()
        assert bench.side.presence.findings() == {}


async def test_bad_messages_are_counted_and_cost_nothing_else(world: World) -> None:
    good = world.finding(HostId("c1", "n1"))
    async with a_bench(world) as bench:
        world.broker.publish(Message(topics.finding("c1", "00"), b"{", retain=True))
        stranger = world.finding(HostId("c2", "n1"))
        world.tell(stranger)
        world.broker.publish(Message(topics.progress("c1", "x"), b'{"gang": 1}'))
        world.broker.publish(Message(topics.progress("c1", "x"), b"[]"))
        world.tell(good)
        await bench.settle()
        assert set(bench.side.presence.findings()) == {good.id}
        assert bench.side.presence.counts == {"bad_finding": 2, "bad_progress": 2}


async def test_progress_is_read_and_proves_the_watcher_alive(world: World) -> None:
    row = {"gang": "c1/gang/default/JobSet/train", "at": world.clock().isoformat(), "step": 7, "rate": 1.5, "members": 32}
    async with a_bench(world) as bench:
        assert bench.side.presence.watcher_age is None
        gang = parse(str(row["gang"]))
        assert isinstance(gang, GangId)
        world.broker.publish(Message(topics.progress("c1", "of-another"), json.dumps(row).encode()))
        await bench.settle()
        assert not bench.side.presence.progress, "a topic speaks for its own gang alone"
        world.broker.publish(Message(topics.progress("c1", gang.key), json.dumps(row).encode()))
        await bench.settle()
        (progress,) = bench.side.presence.progress.values()
        assert (progress.step, progress.rate, progress.members, progress.checkpoint_age) == (7, 1.5, 32, None)
        world.clock.pass_(30)
        assert bench.side.presence.watcher_age == timedelta(seconds=30)
        for key in ("of-another", progress.gang.key):
            world.broker.publish(Message(topics.progress("c1", key), b"", retain=True))
        await bench.settle()
        assert not bench.side.presence.progress


@pytest.mark.parametrize("told", ["9" * 4000, "-1"])
def test_a_step_that_cannot_be_true_is_not_known(told: str) -> None:
    text = '{"gang": "c1/gang/default/JobSet/train", "at": "2026-01-01T00:00:00+00:00", "step": %s, "members": %s}'
    progress = read_progress((text % (told, told)).encode())
    assert (progress.step, progress.members) == (None, 0)


@pytest.mark.parametrize("told", ["NaN", "Infinity", "1e30", "-1"])
def test_numbers_of_progress_that_cannot_be_true_are_not_known(told: str) -> None:
    text = '{"gang": "c1/gang/default/JobSet/train", "at": "2026-01-01T00:00:00+00:00", "rate": %s, "checkpoint_age": %s}'
    progress = read_progress((text % (told, told)).encode())
    assert (progress.rate, progress.checkpoint_age) == (None, None)


async def test_a_watcher_with_nothing_to_tell_is_alive_by_its_own_word(world: World) -> None:
    async with a_bench(world) as bench:
        for bad in (b"", b"{}", b"[]", b'{"at": 3}', b'{"at": "0001-01-01T00:00:00+14:00"}'):
            world.broker.publish(Message(topics.watcher("c1"), bad))
        await bench.settle()
        assert bench.side.presence.watcher_age is None
        assert bench.side.presence.counts == {"bad_watcher": 5}
        said = json.dumps({"at": world.clock().isoformat()}).encode()
        world.broker.publish(Message(topics.watcher("c1"), said, retain=True))
        await bench.settle()
        world.clock.pass_(7)
        assert bench.side.presence.watcher_age == timedelta(seconds=7)
        assert bench.side.watched


async def test_a_watcher_that_is_gone_is_not_heard_and_says_why(world: World) -> None:
    gone = json.dumps({"online": False, "why": "connection lost"}).encode()
    async with a_bench(world) as bench:
        world.broker.publish(Message(topics.watcher("c1"), gone, retain=True))
        await bench.settle()
        assert bench.side.presence.watcher_age is None
        assert bench.side.presence.watcher_why == "it is gone: connection lost"
        late = json.dumps({"online": True, "at": world.clock().isoformat(), "loops_late": ["prometheus"]}).encode()
        world.broker.publish(Message(topics.watcher("c1"), late, retain=True))
        await bench.settle()
        assert bench.side.watched
        assert bench.side.presence.watcher_why == "its loops prometheus are late"


async def test_an_agent_is_asked_over_the_wire_and_only_it_may_answer(world: World) -> None:
    async with a_bench(world) as bench:
        hosts, host = bench.side.agents, HostId("c1", "n1")
        deadline = world.clock() + timedelta(seconds=60)
        await hosts.ask(host, "checkpoint", request_id="op-1", deadline=deadline, facts={"a": 1})
        sent = world.broker.published[-1]
        assert sent.topic == topics.host("c1", "n1", topics.REQUEST)
        assert json.loads(sent.payload) == {
            "id": "op-1",
            "request": "checkpoint",
            "deadline": deadline.isoformat(),
            "facts": {"a": 1},
        }
        assert await hosts.answer("op-1") is None
        said = json.dumps({"id": "op-1", "request": "checkpoint", "ok": True, "facts": {"checkpoint_step": 40}}).encode()
        world.broker.publish(Message(topics.host("c1", "n2", topics.EVENT), said))
        await bench.settle()
        assert await hosts.answer("op-1") is None
        world.broker.publish(Message(topics.host("c1", "n1", topics.EVENT), said))
        await bench.settle()
        answer = await hosts.answer("op-1")
        assert answer is not None
        assert (answer.ok, answer.facts) == (True, {"checkpoint_step": 40})
        assert hosts.counts == {"unasked_event": 1}


async def test_what_an_agent_tells_unasked_is_no_answer_and_no_fault(world: World) -> None:
    told = {"id": "1.000-1", "event": "device-change", "text": "chip 2 is gone", "at": 1.0, "boot_id": "b"}
    async with a_bench(world) as bench:
        world.broker.publish(Message(topics.host("c1", "n1", topics.EVENT), json.dumps(told).encode()))
        await bench.settle()
        assert bench.side.agents.counts == {}
        for hostile in (b"[", b"5", b"[" * 100_000, b'{"request": 1}', b'{"request": 1, "id": [], "ok": true}'):
            world.broker.publish(Message(topics.host("c1", "n1", topics.EVENT), hostile))
        await bench.settle()
        assert bench.side.agents.counts == {"bad_event": 5}


def test_the_coordinator_hears_its_own_cluster_only(tmp_path: Path) -> None:
    del tmp_path
    assert all(f"/{'c1'}/" in pattern for pattern in subscriptions("c1"))
    assert not any(topics.matches(p, topics.host("c1", "n", topics.FRAME)) for p in subscriptions("c1"))


def test_a_clock_moves_when_told() -> None:
    clock = Clock()
    clock.pass_(3)
    assert clock.seconds() == 3
