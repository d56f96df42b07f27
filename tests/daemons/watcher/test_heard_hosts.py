"""What hosts say and what Kubernetes shows of them, put together: who is silent, who speaks for whom, who is where."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons import topics
from sliceward.detectors.finding import State
from sliceward.detectors.frame import encode
from sliceward.remediations.ports import NODE
from sliceward.topology.errors import Retry
from sliceward.topology.ids import HostId
from tests.detectors.frames import Speaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.topology.fleet import Fleet
from tests.daemons.watcher.stage import A_CLUSTER, H0, H1, Stage, lose_chip, settle


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
        fleet = stage.watcher.parts.surroundings.fleet
        assert len(fleet.hosts) == len(stage.speakers)
        assert {"gangs_on", "slices_in"} <= vars(fleet).keys(), "counted where it was read"


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
