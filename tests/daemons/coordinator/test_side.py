"""One cluster as the coordinator holds it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.views import cluster_view
from sliceward.remediations.ports import NODE
from tests.daemons.coordinator.bench import World, a_bench, the_fleet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sliceward.topology.fleet import Fleet
    from tests.daemons.coordinator.bench import Bench

OLD = 91
"""Seconds, one more than a copy may be old."""


async def test_all_that_is_asked_of_each_snapshot_is_counted_where_it_is_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.fill(the_fleet())
    async with a_bench(world) as bench:
        fleet = await bench.side.read()
        assert {"scopes", "hosts_in", "gangs_on", "vacant"} <= vars(fleet).keys()


def change(bench: Bench, label: str) -> None:
    bench.world.cluster.edit(NODE, "cube-0-host-00", {"metadata": {"labels": {"x": label}}})


async def test_a_snapshot_that_cannot_be_made_anew_is_as_old_as_the_first_change_that_it_lacks(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.fill(the_fleet())
    async with a_bench(world) as bench:
        side, real = bench.side, bench.side.beside

        async def spoilt(_reading: Callable[[], Fleet]) -> Fleet:
            raise ValueError("nobody expected that")

        await side.read()
        world.clock.pass_(OLD)
        assert (side.age, side.problem, side.reachable) == (timedelta(0), "", True), "nothing changed meanwhile"
        side.beside = spoilt
        for seconds in (0, OLD):
            change(bench, f"after {seconds}")
            world.clock.pass_(seconds)
            with pytest.raises(ValueError, match="nobody expected that"):
                await side.read()
        assert (side.age, side.reachable, side.heard) == (timedelta(seconds=OLD), False, True)
        assert "ValueError: nobody expected that" in side.problem
        (shown,) = (cluster_view(sight) for sight in bench.coordinator.sights())
        assert (shown["reachable"], shown["age_seconds"]) == (False, OLD)
        assert [problem["name"] for problem in shown["problems"]] == ["ClusterNotReadable"]
        (cluster,) = (need for need in bench.coordinator.dependencies() if need.name == "cluster c1")
        assert (cluster.ok, cluster.age, cluster.why) == (False, OLD, side.problem)
        side.beside = real
        await side.read()
        assert (side.age, side.problem, side.reachable) == (timedelta(0), "", True)


async def test_a_snapshot_grows_old_while_it_takes_long_to_make_it_anew(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.fill(the_fleet())
    async with a_bench(world) as bench:
        side, begun, on, ages = bench.side, asyncio.Event(), asyncio.Event(), list[timedelta | None]()
        await side.read()

        async def slow(reading: Callable[[], Fleet]) -> Fleet:
            ages.append(side.age)
            begun.set()
            await on.wait()
            return reading()

        side.beside = slow
        change(bench, "first")
        async with asyncio.timeout(60):
            reading = asyncio.create_task(side.read())
            await begun.wait()
            world.clock.pass_(5)
            change(bench, "second")
            world.clock.pass_(OLD)
            assert (side.age, side.reachable) == (timedelta(seconds=5 + OLD), False)
            on.set()
            await reading
            await side.read()
        assert ages == [timedelta(0), timedelta(seconds=5 + OLD)], "the second change was not in the first reading"
        assert side.age == timedelta(0)


async def test_what_cannot_be_read_is_no_silence_of_the_api_server(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.fill(the_fleet())
    async with a_bench(world) as bench:
        side = bench.side

        async def spoilt(_reading: Callable[[], Fleet]) -> Fleet:
            raise ValueError("nobody expected that")

        side.beside = spoilt
        change(bench, "spoilt")
        with suppress(ValueError):
            await side.read()
        world.clock.pass_(OLD)
        told = {trouble.key for trouble in bench.coordinator.vigil.troubles()}
        assert not side.reachable
        assert "cluster c1" not in told
