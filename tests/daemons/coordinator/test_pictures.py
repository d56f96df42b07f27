"""What the API shows of a fleet is drawn beside the loop, once for all who wait, and no row that nobody asked for."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.coordinator.pictures import SHOWN_FOR, Pictures
from sliceward.daemons.coordinator.unplaced import Unplaced
from sliceward.daemons.coordinator.web import Asked, page
from tests.daemons.coordinator.bench import World, a_bench, the_fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.fill(the_fleet())
    return world


@asynccontextmanager
async def pictures_of(world: World) -> AsyncIterator[Pictures]:
    async with a_bench(world) as bench:
        yield Pictures(bench.coordinator, Unplaced([bench.side], bench.coordinator.deciding.looks.scene))


async def test_all_who_ask_while_one_is_drawn_share_the_next_and_see_what_changed_before_they_asked(world: World) -> None:
    async with pictures_of(world) as pictures:
        first = asyncio.create_task(pictures.fleet())
        await asyncio.sleep(0)
        pictures.of.bell.changed()
        later = [asyncio.create_task(pictures.fleet()) for _ in range(5)]
        one, *others = await asyncio.gather(first, *later)
        assert [other is others[0] for other in others] == [True] * 5
        assert one is not others[0]
        assert json.loads(one)["clusters"][0]["name"] == "c1"


async def test_a_picture_is_good_for_a_second_in_which_nothing_changes(world: World) -> None:
    async with pictures_of(world) as pictures:
        one = await pictures.fleet()
        assert await pictures.fleet() is one
        world.clock.pass_(SHOWN_FOR + 0.1)
        other = await pictures.fleet()
        assert other is not one
        pictures.of.bell.changed()
        assert await pictures.fleet() is not other


async def test_the_loop_goes_on_while_a_page_is_drawn(world: World) -> None:
    async with pictures_of(world) as pictures:
        drawing = asyncio.create_task(pictures.page("cubes", Asked({}, 2, "")))
        await asyncio.sleep(0)
        assert not drawing.done()
        drawn = json.loads(await drawing)
        assert [len(cube["hosts"]) for cube in drawn["items"]] == [16, 16]
        assert drawn["next"]


def sketch(name: str, drawn: list[str]) -> tuple[str, Callable[[], dict[str, Any]]]:
    def draw() -> dict[str, Any]:
        drawn.append(name)
        return {"id": name, "odd": name in "bd"}

    return name, draw


def test_a_page_draws_no_row_after_it_and_none_before_its_cursor() -> None:
    drawn: list[str] = []
    rows, following = page([sketch(name, drawn) for name in "fedcba"], Asked({}, 2, "b"), keep=dict)
    assert [row["id"] for row in rows] == ["c", "d"]
    assert following == "d"
    assert sorted(drawn) == ["a", "c", "d", "e"], "the first tells which fields there are, the last that there is more"


def test_the_last_page_has_no_cursor() -> None:
    rows, following = page([sketch(name, []) for name in "abcd"], Asked({"odd": "true"}, 2, ""), keep=dict)
    assert ([row["id"] for row in rows], following) == (["b", "d"], None)
