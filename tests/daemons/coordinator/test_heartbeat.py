"""The dead man's switch: beats while the coordinator leads and gets on, silence as soon as anything is stuck."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sliceward.daemons.coordinator.run import running
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load
from sliceward.daemons.store import open_store
from sliceward.simulation.receiver import running_receiver
from sliceward.topology.errors import Misconfigured, Refused, Retry
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_api import calling
from tests.daemons.coordinator.test_running import environ

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sliceward.daemons.coordinator.heartbeat import Beating
    from sliceward.detectors.finding import Finding
    from sliceward.remediations.paging.heartbeat import Beat
    from tests.daemons.coordinator.bench import Bench

__all__ = ["environ"]
EVERY = 60


class FakeHeart:
    """Keeps what it was given; fails as it is told, or hangs."""

    def __init__(self, name: str = "fake", every: float = EVERY) -> None:
        self.name, self.every = name, timedelta(seconds=every)
        self.beats: list[Beat] = []
        self.failing: list[Exception] = []
        self.hangs = False

    async def send(self, beat: Beat) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failing:
            raise self.failing.pop(0)
        self.beats.append(beat)


@pytest.fixture
def heart() -> FakeHeart:
    return FakeHeart()


@pytest.fixture
def world(tmp_path: Path, heart: FakeHeart) -> World:
    world = World(tmp_path, heartbeats=(heart,))
    world.fill(the_fleet())
    return world


def beating(bench: Bench) -> Beating:
    (only,) = bench.coordinator.beatings
    return only


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 (another's progress, not an event of ours)
            await asyncio.sleep(0.05)


async def pass_(bench: Bench, seconds: int, *, stuck: str = "") -> None:
    """Let time pass second by second; every loop but ``stuck`` goes round each time."""
    for _ in range(seconds):
        bench.world.clock.pass_(1)
        for loop in bench.coordinator.parts.loops:
            if loop.name != stuck:
                loop.beat()
        await beating(bench).round()


async def test_it_beats_at_once_and_then_every_so_often(world: World, heart: FakeHeart) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 3 * EVERY)
        assert len(heart.beats) == 3
        gaps = [late.at - early.at for early, late in zip(heart.beats, heart.beats[1:], strict=False)]
        assert gaps == [timedelta(seconds=EVERY)] * 2
        assert len({beat.id for beat in heart.beats}) == 3
        assert {beat.epoch for beat in heart.beats} == {1}


@pytest.mark.parametrize("name", ["deciding", "alerts", "outbox", "sweep", "vigil"])
async def test_it_stops_when_any_loop_is_late_and_beats_at_once_when_all_go_on(world: World, heart: FakeHeart, name: str) -> None:
    async with a_bench(world) as bench:
        (loop,) = (one for one in bench.coordinator.parts.loops if one.name == name)
        await pass_(bench, int(loop.deadline) + 2, stuck=name)
        before = len(heart.beats)
        await pass_(bench, 5 * EVERY, stuck=name)
        assert len(heart.beats) <= before
        assert beating(bench).why == f"late loops: {name}"
        assert beating(bench).age > 4 * EVERY
        await pass_(bench, 1)
        assert len(heart.beats) == before + 1
        assert beating(bench).why == ""


async def test_it_stops_when_the_store_takes_no_write_though_it_can_be_read(
    world: World, heart: FakeHeart, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 1)

        async def full(**_: object) -> None:
            raise Retry("the store did not answer: disk full")

        with monkeypatch.context() as patched:
            patched.setattr(bench.coordinator.store, "prove", full)
            await pass_(bench, 3 * EVERY)
            await bench.coordinator.store.ping()
            assert len(heart.beats) == 1
            assert "disk full" in beating(bench).why
        await pass_(bench, 1)
        assert len(heart.beats) == 2


async def test_who_was_replaced_by_another_leader_is_silent(world: World, heart: FakeHeart) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 1)
        async with open_store(f"sqlite:///{world.folder / 'store.db'}") as other:
            await other.lead("two", now=world.clock())
        await pass_(bench, 2 * EVERY)
        assert len(heart.beats) == 1
        assert beating(bench).why == "this replica does not lead"
        assert "two leads" in bench.coordinator.deciding.stops.fenced


async def test_who_stands_by_is_silent(world: World, heart: FakeHeart) -> None:
    async with a_bench(world) as bench:
        beating(bench).pulse.store._epoch = 0  # noqa: SLF001 (as before it led)
        await pass_(bench, EVERY)
        assert heart.beats == []
        assert "does not lead" in beating(bench).why


@pytest.mark.parametrize("error", [Retry("HTTP 503"), Refused("HTTP 401"), Misconfigured("pagers.x", "no secret", "")])
async def test_a_beat_that_is_not_accepted_is_told_and_the_next_is_sent_in_its_time(
    world: World, heart: FakeHeart, error: Exception
) -> None:
    async with a_bench(world) as bench:
        heart.failing = [error]
        await pass_(bench, 2)
        assert (heart.beats, beating(bench).why) == ([], str(error))
        assert not beating(bench).loop.late, "a receiver that is away must not restart the coordinator"
        await pass_(bench, EVERY)
        assert len(heart.beats) == 1


async def test_a_receiver_that_hangs_is_given_up_and_delays_no_other(tmp_path: Path) -> None:
    stuck, well = FakeHeart("stuck"), FakeHeart("well", every=1)
    stuck.hangs = True
    world = World(tmp_path, heartbeats=(stuck, well))
    world.pace = world.pace.model_copy(update={"page_timeout": timedelta(seconds=0.05)})
    async with a_bench(world) as bench, asyncio.timeout(10):
        first, second = bench.coordinator.beatings
        hanging = asyncio.create_task(first.round())
        for _ in range(3):
            world.clock.pass_(1)
            await second.round()
        assert len(well.beats) == 3
        await hanging
        assert first.why == "pager stuck: no answer in 0.05 s"


async def test_status_and_metrics_tell_its_age_and_why_it_is_silent(world: World, heart: FakeHeart) -> None:
    async with calling(world) as caller:
        await pass_(caller.bench, EVERY + 20)
        _, status = await caller.get("/api/v1/status")
        (row,) = status["heartbeats"]
        assert row == {"pager": "fake", "every_seconds": 60.0, "age_seconds": 19.0, "ok": True, "why": ""}
        heart.failing = [Refused("HTTP 401")]
        await pass_(caller.bench, EVERY)
        _, status = await caller.get("/api/v1/status")
        assert (status["heartbeats"][0]["ok"], status["heartbeats"][0]["why"]) == (False, "HTTP 401")
        async with caller.session.get(f"{caller.base}/metrics") as answer:
            text = await answer.text()
    assert 'sliceward_heartbeat_age_seconds{pager="fake"} 79.0' in text
    assert 'sliceward_heartbeats_total{outcome="accepted",pager="fake"} 2.0' in text
    assert 'sliceward_heartbeats_total{outcome="failed",pager="fake"} 1.0' in text


async def test_a_coordinator_that_runs_is_heard_and_one_whose_loop_is_stuck_is_not(environ: dict[str, str]) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    async with running_receiver(secret) as receiver:
        given = {
            "SLICEWARD_PAGERS__0__NAME": "on-call",
            "SLICEWARD_PAGERS__0__KIND": "webhook",
            "SLICEWARD_PAGERS__0__URL": receiver.url,
            "SLICEWARD_PAGERS__0__SECRET": secret,
            "SLICEWARD_PAGERS__0__HEARTBEAT__URL": receiver.heartbeat_url,
            "SLICEWARD_PAGERS__0__HEARTBEAT__EVERY": "1s",
        }
        settings = load(CoordinatorSettings, file=None, environ=environ | given)
        async with running(settings) as found:
            await until(lambda: len(receiver.beats) >= 2)
            deciding, (only,) = found.coordinator.deciding, found.coordinator.beatings
            async with deciding.lock:  # nothing is decided while somebody holds it
                deciding.loop.deadline = 0.0
                await until(lambda: only.counts["withheld"] >= 1)
                heard = len(receiver.beats)
                await until(lambda: only.counts["withheld"] >= 4)
                assert len(receiver.beats) == heard
    assert receiver.beats[0]["data"]["every_seconds"] == 1.0
    assert receiver.refused == 0


async def test_it_stops_when_a_loop_goes_round_without_a_result(world: World, heart: FakeHeart) -> None:
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding.loop
        for _ in range(int(deciding.deadline) + 2):
            await pass_(bench, 1, stuck="deciding")
            deciding.retried("cluster c1 was not read yet")
        assert not deciding.late
        before = len(heart.beats)
        await pass_(bench, EVERY, stuck="deciding")
        deciding.retried("cluster c1 was not read yet")
        assert len(heart.beats) == before
        await pass_(bench, 1)
        assert len(heart.beats) == before + 1


async def test_it_stops_while_a_whole_cluster_is_set_aside(world: World, heart: FakeHeart) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 1)
        bench.coordinator.deciding.looks.alerts = unreadable
        with capture_logs():  # the traceback of a whole fleet takes a minute to draw
            await bench.coordinator.deciding.round()
        await pass_(bench, 3 * EVERY)
        assert len(heart.beats) == 1
        assert beating(bench).why == "set aside: cluster c1"
        bench.coordinator.deciding.looks.alerts = lambda _cluster: {}
        await bench.coordinator.deciding.round()
        await pass_(bench, 1)
        assert len(heart.beats) == 2


def unreadable(cluster: str) -> dict[str, Finding]:
    raise KeyError(cluster)
