"""Another takes the lead at a bad moment: the coordinator ends in order, and stands by again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sliceward.daemons.coordinator.alerts import read_payload
from sliceward.daemons.coordinator.coordinator import Coordinator
from sliceward.daemons.coordinator.leadership import Candidacy, Leadership
from sliceward.daemons.loops import Loops
from sliceward.daemons.store import open_store
from sliceward.topology.errors import Refused
from tests.daemons.coordinator.bench import World, a_bench
from tests.daemons.coordinator.test_alerts import a_payload, an_alert
from tests.fakes.cluster import FakeCluster

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize("error", [Refused("epoch 1 is over"), ValueError("nobody expected that")], ids=repr)
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
