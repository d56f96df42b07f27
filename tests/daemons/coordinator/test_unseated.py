"""Another takes the lead at a bad moment: the coordinator ends in order, and stands by again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sliceward.daemons.coordinator.alerts import read_payload
from sliceward.daemons.coordinator.coordinator import Coordinator
from sliceward.daemons.coordinator.leadership import Candidacy, Leadership
from sliceward.daemons.coordinator.settings import PaceSettings
from sliceward.daemons.loops import Loops
from sliceward.daemons.store import Unseated, open_store
from sliceward.topology.errors import Refused, Retry
from tests.daemons.coordinator.bench import World, a_bench
from tests.daemons.coordinator.test_alerts import a_payload, an_alert
from tests.daemons.coordinator.test_heartbeat import FakeHeart
from tests.fakes.cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PATIENT = PaceSettings(broker_grace=timedelta(0), decide_every=timedelta(hours=1), sweep_every=timedelta(hours=1))
SECONDS = {"duration": timedelta(seconds=90), "renew_every": timedelta(seconds=30), "give_up_after": timedelta(seconds=60)}


async def test_who_is_unseated_while_it_still_reads_what_is_open_stands_by_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with a_bench(world) as bench, open_store(f"sqlite:///{tmp_path / 'store.db'}") as other:
        await bench.coordinator.desk.take(
            read_payload(a_payload(an_alert()), receiver="main", now=world.clock())
        )  # of which it will note what it means
        of = Candidacy("sliceward-coordinator", "sliceward", "one", "http://one:8482", **SECONDS)
        loops = Loops(time.monotonic)
        leadership = Leadership(FakeCluster("own"), of, time.monotonic, world.clock, loops.add("lease", deadline=60))
        coordinator = Coordinator(replace(bench.coordinator.parts, leadership=leadership, loops=loops))
        real = coordinator.deciding.load

        async def load() -> None:
            await real()
            await other.lead("two", now=world.clock())

        coordinator.deciding.load = load  # type: ignore[method-assign]  # and another takes over meanwhile
        async with asyncio.timeout(60):
            with pytest.raises(Refused, match="epoch 2 is over: two leads"):
                await coordinator.run()
        assert not leadership.leads


HEARD: dict[str, Callable[[Coordinator], Awaitable[object]]] = {
    "as it is about to beat": lambda one: one.beatings[0].pulse.stuck(one.beatings[0].loop),
    "as it is asked to pause": lambda one: one.pause("wait", by="ann"),
    "as it notes who asked": lambda one: one.audit("pause", "fleet", "wait", by="ann"),
}


@pytest.mark.parametrize("where", HEARD)
async def test_who_hears_that_another_leads_ends_wherever_it_hears_it(tmp_path: Path, where: str) -> None:
    world = World(tmp_path, pace=PATIENT, heartbeats=(FakeHeart(),))
    async with a_bench(world) as bench, open_store(f"sqlite:///{tmp_path / 'store.db'}") as other:
        coordinator = bench.coordinator
        running = asyncio.create_task(coordinator.run())
        await bench.settle()
        await other.lead("other", now=world.clock())
        with capture_logs() as lines, suppress(Unseated):
            await HEARD[where](coordinator)
        assert not coordinator.leads
        async with asyncio.timeout(30):
            with pytest.raises(Refused, match="other leads in epoch 2"):
                await running
        assert [line["event"] for line in lines].count("lead lost") == 1


async def test_who_hears_that_another_leads_as_it_forgets_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sliceward.daemons.coordinator.coordinator.FORGET_EVERY", timedelta(milliseconds=20))
    world = World(tmp_path, pace=PATIENT)
    async with a_bench(world) as bench, open_store(f"sqlite:///{tmp_path / 'store.db'}") as other:
        running = asyncio.create_task(bench.coordinator.run())
        await other.lead("other", now=world.clock())
        async with asyncio.timeout(30):
            with pytest.raises(Refused, match="other leads in epoch 2"):
                await running


async def test_a_replica_that_does_not_lead_yet_is_not_ended_by_what_it_may_not_write(tmp_path: Path) -> None:
    async with a_bench(World(tmp_path)) as bench, open_store(f"sqlite:///{tmp_path / 'store.db'}") as new:
        waiting = Coordinator(replace(bench.coordinator.parts, store=new, loops=Loops(time.monotonic)))
        with pytest.raises(Unseated, match="epoch 0 is over"):
            await waiting.pause("wait", by="ann")
        assert not waiting.deciding.stops.fenced
        await waiting.begin()
        assert waiting.leads


@pytest.mark.parametrize("error", [Retry("away"), ValueError("nobody expected that")], ids=repr)
async def test_what_keeps_old_incidents_from_being_forgotten_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("sliceward.daemons.coordinator.coordinator.FORGET_EVERY", timedelta(milliseconds=20))
    async with a_bench(World(tmp_path)) as bench:
        coordinator, tries, again = bench.coordinator, list[int](), asyncio.Event()

        async def forget(**_given: object) -> int:
            tries.append(1)
            if len(tries) == 3:
                again.set()
            raise error

        monkeypatch.setattr(coordinator.store, "forget", forget)
        running = asyncio.create_task(coordinator.run())
        reached = asyncio.create_task(again.wait())
        with capture_logs():
            await asyncio.wait([running, reached], timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert not running.done()
        coordinator.stop()
        await running
        await reached
