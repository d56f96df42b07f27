"""What placement sets aside is told by name: in the figures, on the page, in the API, and only looked for when a fleet has changed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sliceward.daemons.coordinator import unplaced as module
from sliceward.daemons.coordinator.pictures import Pictures
from sliceward.daemons.coordinator.unplaced import Unplaced
from sliceward.scheduling.questions import problem_rows
from sliceward.topology.names import NAMES
from tests.daemons.coordinator.bench import World, a_bench, the_fleet

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from sliceward.scheduling.scene import Scene


def _of_another_generation(jobset: dict[str, Any]) -> None:
    for role in jobset["spec"]["replicatedJobs"]:
        role["template"]["spec"]["template"]["spec"]["nodeSelector"][NAMES.accelerator] = "tpu-v5p-slice"


def figure(unplaced: Unplaced) -> dict[str, float]:
    (family,) = unplaced.collect()
    return {sample.labels["cluster"]: sample.value for sample in family.samples}


async def test_a_gang_that_contradicts_itself_is_counted_listed_and_shown_with_what_to_do(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.fill(the_fleet().gang_edited("other", _of_another_generation))
    async with a_bench(world) as bench:
        looks = bench.coordinator.deciding.looks
        unplaced = Unplaced([bench.side], looks.scene)
        assert figure(unplaced) == {"c1": 0}
        await unplaced.look()
        assert figure(unplaced) == {"c1": 1}
        (problem,) = unplaced.of("c1")
        assert (problem.name, problem.about) == ("ContradictoryGang", "c1/gang/default/JobSet/other")
        assert problem.what_to_do
        assert unplaced.of("c2") == ()
        scene = looks.scene()
        assert scene is not None
        listed = {row["name"]: row for row in problem_rows(scene)}
        assert listed["ContradictoryGang"]["what_to_do"] == problem.what_to_do
        (cluster,) = json.loads(await Pictures(bench.coordinator, unplaced).fleet())["clusters"]
        assert listed["ContradictoryGang"] in cluster["problems"]


async def test_a_fleet_is_looked_at_once_until_it_changes_whatever_becomes_of_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    world, asked = World(tmp_path), asyncio.Queue[None]()
    world.fill(the_fleet())
    async with a_bench(world) as bench:
        await bench.side.read()
        answers = [RuntimeError("nobody expected that"), None]

        def scene() -> Scene | None:
            asked.put_nowait(None)
            answer = answers.pop(0) if answers else bench.coordinator.deciding.looks.scene()
            if isinstance(answer, RuntimeError):
                raise answer
            return answer

        keeping = asyncio.create_task(Unplaced([bench.side], scene).keep())
        for _ in range(3):
            await asyncio.wait_for(asked.get(), 30)
        for _ in range(20):
            await asyncio.sleep(0)
        assert asked.empty(), "what was looked at is not looked at again"
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
