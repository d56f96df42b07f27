"""Every mark of ours has an open incident; an orphaned one is given back, and nobody else's is touched."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.side import Side, subscriptions
from sliceward.daemons.store import Unstorable
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import NODE
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.names import NAMES
from tests.builders import a_fleet
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, marked, some_rounds
from tests.fakes.beside import at_once
from tests.fakes.cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sliceward.daemons.store import Case
    from tests.daemons.coordinator.bench import Bench

HOST = "cube-3-host-02"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, actions=ACTIONS)
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS, modes=Mode.OBSERVE)
    world.fill(the_fleet())
    return world


def mark(world: World, incident: str, host: str = HOST) -> None:
    ours = {"key": NAMES.out_of_service, "value": incident, "effect": "NoSchedule"}
    theirs = {"key": "team/x", "value": "y", "effect": "NoExecute"}
    world.cluster.edit(NODE, host, {"spec": {"taints": [theirs, ours]}})


async def an_incident_that_is_over(bench: Bench) -> str:
    bench.world.tell(bench.world.finding(PART, Kind.CHIP_LOST))
    await bench.round()
    bench.world.clock.pass_(5)
    bench.world.tell(bench.world.finding(PART, Kind.CHIP_LOST, State.RESOLVED))
    await bench.round()
    (row,) = (await bench.coordinator.store.history.incidents({"state": "closed"})).items
    return str(row["id"])


async def test_a_mark_of_a_closed_incident_is_given_back_at_once_and_told(world: World) -> None:
    async with a_bench(world) as bench:
        incident = await an_incident_that_is_over(bench)
        mark(world, incident)
        await bench.settle()
        assert await bench.coordinator.sweep.round() == 1
        assert marked(world) == set()
        assert [taint["key"] for taint in world.cluster.see(NODE, HOST)["spec"]["taints"]] == ["team/x"]
        (*_, entry) = (await bench.coordinator.store.history.entries({"incident": incident})).items
        assert HOST in entry["text"]


async def test_marks_that_have_to_stay_do_not_keep_the_others_from_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sliceward.daemons.coordinator.sweep.MOST_AT_ONCE", 2)
    async with a_bench(world) as bench:
        incident = await an_incident_that_is_over(bench)
        for number in range(4):
            mark(world, "inc-nobody-knows", f"cube-2-host-{number:02}")
        mark(world, incident)
        await bench.settle()
        assert sum([await bench.coordinator.sweep.round() for _ in range(3)]) == 1
        assert marked(world) == {f"cube-2-host-{number:02}" for number in range(4)}


async def test_a_mark_of_an_open_incident_stays(world: World) -> None:
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    async with a_bench(world) as bench:
        world.tell(world.finding(PART, Kind.CHIP_LOST))
        await some_rounds(bench, 5)
        assert len(marked(world)) == 16
        world.clock.pass_(100_000)
        assert await bench.coordinator.sweep.round() == 0
        assert len(marked(world)) == 16


async def test_a_mark_of_an_incident_that_nobody_knows_waits_a_long_grace(world: World) -> None:
    async with a_bench(world) as bench:
        mark(world, "inc-lost")
        await bench.settle()
        assert await bench.coordinator.sweep.round() == 0
        world.clock.pass_(timedelta(minutes=11).total_seconds())
        assert await bench.coordinator.sweep.round() == 1
        assert marked(world) == set()


@asynccontextmanager
async def another_cluster(bench: Bench) -> AsyncIterator[FakeCluster]:
    """Give a second cluster beside the first, with a mark of an incident that nobody knows."""
    world = bench.world
    cluster = FakeCluster("c2", now=world.clock())
    cluster.put_all(NODE, a_fleet("c2").with_cubes(1).marked("inc-lost-too", "cube-0-host-00").objects().nodes)
    bus = world.broker.wire("coordinator-2", subscribe=subscriptions("c2"))
    side = Side("c2", cluster, bus, world.provider, world.pace, world.clock, beside=at_once)
    sweep = bench.coordinator.sweep
    sweep.sides = {**sweep.sides, "c2": side}
    running = asyncio.create_task(side.run())
    await bench.settle()
    try:
        yield cluster
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_the_grace_of_a_mark_that_nobody_knows_ends_also_where_there_are_more_clusters(world: World) -> None:
    async with a_bench(world) as bench, another_cluster(bench) as other:
        mark(world, "inc-lost")
        await bench.settle()
        assert await bench.coordinator.sweep.round() == 0
        world.clock.pass_(timedelta(minutes=11).total_seconds())
        assert await bench.coordinator.sweep.round() == 2
        assert marked(world) == set()
        taints = other.see(NODE, "cube-0-host-00")["spec"]["taints"]
        assert NAMES.out_of_service not in {taint["key"] for taint in taints}


async def test_a_cluster_that_cannot_be_read_keeps_no_other_from_being_healed(world: World) -> None:
    async with a_bench(world) as bench, another_cluster(bench) as other:
        mark(world, "inc-lost")
        await bench.settle()
        assert await bench.coordinator.sweep.round() == 0
        world.clock.pass_(timedelta(minutes=11).total_seconds())
        real, beats = bench.side.read, bench.coordinator.sweep.loop.beats

        async def spoilt() -> None:
            raise RecursionError("nobody expected that")

        bench.side.read = spoilt  # type: ignore[method-assign]  # until it is put back
        assert await bench.coordinator.sweep.round() == 1
        taints = other.see(NODE, "cube-0-host-00")["spec"]["taints"]
        assert NAMES.out_of_service not in {taint["key"] for taint in taints}
        assert bench.coordinator.sweep.loop.beats == beats + 1
        assert "RecursionError" in bench.coordinator.sweep.loop.set_aside["cluster c1"]
        bench.side.read = real  # type: ignore[method-assign]  # as it was
        assert await bench.coordinator.sweep.round() == 1
        assert bench.coordinator.sweep.loop.set_aside == {}


async def test_a_mark_that_nobody_knows_and_that_went_and_came_back_waits_anew(world: World) -> None:
    async with a_bench(world) as bench:
        for _ in range(2):
            mark(world, "inc-lost")
            await bench.settle()
            assert await bench.coordinator.sweep.round() == 0
            world.cluster.edit(NODE, HOST, {"spec": {"taints": []}})
            await bench.settle()
            assert await bench.coordinator.sweep.round() == 0
            world.clock.pass_(timedelta(minutes=11).total_seconds())


async def test_an_open_incident_about_the_host_keeps_even_a_mark_that_nobody_knows(world: World) -> None:
    async with a_bench(world) as bench:
        world.tell(world.finding(PART, Kind.CHIP_LOST))
        await bench.round()
        mark(world, "inc-lost")
        await bench.settle()
        for _ in range(3):
            assert await bench.coordinator.sweep.round() == 0
            world.clock.pass_(timedelta(minutes=11).total_seconds())


@pytest.mark.parametrize("error", [Retry("no answer"), Refused("forbidden")])
async def test_what_cannot_be_given_back_is_shown_and_tried_again(world: World, error: Exception) -> None:
    async with a_bench(world) as bench:
        mark(world, await an_incident_that_is_over(bench))
        await bench.settle()
        world.cluster.fail("patch", NODE, error=error)
        sweep = bench.coordinator.sweep
        assert await sweep.round() == 0
        assert any(HOST in name for name in sweep.loop.set_aside)
        assert await sweep.round() == 1
        assert sweep.loop.set_aside == {}


async def test_what_could_not_be_given_back_is_not_shown_any_more_once_somebody_else_took_it_away(world: World) -> None:
    async with a_bench(world) as bench:
        mark(world, await an_incident_that_is_over(bench))
        await bench.settle()
        world.cluster.fail("patch", NODE, error=Retry("no answer"))
        sweep = bench.coordinator.sweep
        assert await sweep.round() == 0
        assert any(HOST in name for name in sweep.loop.set_aside)
        world.cluster.edit(NODE, HOST, {"spec": {"taints": []}})
        await bench.settle()
        assert await sweep.round() == 0
        assert sweep.loop.set_aside == {}


async def test_a_mark_with_a_name_that_no_store_takes_stays_and_keeps_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_bench(world) as bench:
        incident = await an_incident_that_is_over(bench)
        mark(world, "inc-odd", "cube-2-host-00")
        mark(world, incident)
        await bench.settle()
        sweep = bench.coordinator.sweep
        real = sweep.store.load

        async def load(name: str) -> Case | None:
            if name == "inc-odd":
                raise Unstorable("the store cannot keep this")  # as PostgreSQL says it of a NUL
            return await real(name)

        monkeypatch.setattr(sweep.store, "load", load)
        assert await sweep.round() == 1
        assert list(sweep.loop.set_aside) == ["mark of inc-odd on cube-2-host-00"]


async def test_a_pause_does_not_stop_giving_back(world: World) -> None:
    async with a_bench(world) as bench:
        mark(world, await an_incident_that_is_over(bench))
        await bench.coordinator.pause("storm", by="ann")
        await bench.settle()
        assert await bench.coordinator.sweep.round() == 1


async def test_the_sweep_goes_round_whatever_becomes_of_displacements(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_bench(world) as bench:
        loop, asked = bench.coordinator.sweep.loop, asyncio.Event()

        async def broken(_fleets: object) -> None:
            asked.set()
            raise OverflowError("date value out of range")

        monkeypatch.setattr(bench.coordinator.displacing, "round", broken)
        before = loop.beats
        running = asyncio.create_task(bench.coordinator.run())
        async with asyncio.timeout(20):
            await asked.wait()
            while loop.beats == before:
                await bench.settle()
        bench.coordinator.stop()
        await running
        assert loop.beats > before
