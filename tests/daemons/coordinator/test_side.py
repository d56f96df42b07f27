"""One cluster as the coordinator holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.daemons.coordinator.bench import World, a_bench, the_fleet

if TYPE_CHECKING:
    from pathlib import Path


async def test_all_that_is_asked_of_each_snapshot_is_counted_where_it_is_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.fill(the_fleet())
    async with a_bench(world) as bench:
        fleet = await bench.side.read()
        assert {"scopes", "hosts_in", "gangs_on", "vacant"} <= vars(fleet).keys()
