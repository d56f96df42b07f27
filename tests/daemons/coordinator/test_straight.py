"""What the coordinator tells of itself past a store that is away: to each pager, once, and by who leads for all that is known."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.topology.errors import Refused, Retry
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_vigil import RESOLVE, TRIGGER, away, no_store, of_deciding, pass_, straight, told
from tests.fakes.pager import FakePager

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.remediations.page import Page
    from tests.daemons.coordinator.bench import Bench


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.fill(the_fleet())
    return world


async def test_a_trigger_that_went_past_the_store_is_given_to_each_pager_until_it_takes_it_and_to_none_twice(
    world: World,
) -> None:
    async with a_bench(world) as bench:
        slow, broken = FakePager("slow"), FakePager("broken")
        pagers = {"fake": world.pager, "slow": slow, "broken": broken}
        bench.coordinator.vigil.pagers = bench.coordinator.outbox.pagers = pagers
        await pass_(bench, 60)
        with no_store(bench):
            world.clock.pass_(400)
            slow.failing, broken.failing = [Retry("later") for _ in range(9)], [ZeroDivisionError() for _ in range(99)]
            await bench.coordinator.vigil.round()
            assert (of_deciding(world.pager), of_deciding(slow)) == ([TRIGGER], [])
            slow.failing = []
            for _ in range(3):
                await bench.coordinator.vigil.round()
            assert (of_deciding(world.pager), of_deciding(slow), of_deciding(broken)) == ([TRIGGER], [TRIGGER], [])
        broken.failing = []
        await pass_(bench, 60, decided=False)
        assert of_deciding(world.pager) == of_deciding(slow) == of_deciding(broken) == [TRIGGER], (
            "the outbox gives it to who has it not"
        )
        await pass_(bench, 120)
    assert of_deciding(world.pager) == of_deciding(slow) == of_deciding(broken) == [TRIGGER, RESOLVE]


async def test_a_trouble_that_comes_again_is_told_to_each_pager_again(world: World) -> None:
    async with a_bench(world) as bench:
        other = FakePager("other")
        bench.coordinator.vigil.pagers = bench.coordinator.outbox.pagers = {"fake": world.pager, "other": other}
        await pass_(bench, 60)
        for _ in range(2):
            with no_store(bench):
                world.clock.pass_(400)
                await straight(bench)
            await pass_(bench, 120)
    assert of_deciding(world.pager) == of_deciding(other) == [TRIGGER, RESOLVE] * 2


async def test_a_pager_that_hangs_keeps_no_other_from_being_told_straight_and_is_asked_once_a_round(world: World) -> None:
    async with a_bench(world) as bench:
        hanging = Hanging()
        bench.coordinator.vigil.pagers = {"hanging": hanging, "fake": world.pager}
        bench.coordinator.vigil.within = timedelta(milliseconds=20)
        await pass_(bench, 60)
        with no_store(bench):
            world.clock.pass_(400)
            live_but(bench, "deciding", "outbox")
            await bench.coordinator.vigil.round()
        assert {page.component for page in world.pager.pages} >= {"loop deciding", "loop outbox", "store"}
        assert hanging.asked == 1


async def test_who_learns_that_another_leads_tells_nobody_straight(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)

        async def refused() -> None:
            raise Refused("two leads in epoch 2")

        bench.coordinator.vigil.asks = refused
        with no_store(bench):
            world.clock.pass_(400)
            with pytest.raises(Refused):
                await bench.coordinator.vigil.round()
    assert told(world) == []


async def test_where_nobody_says_who_leads_the_pagers_are_told_straight_all_the_same(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        bench.coordinator.vigil.asks = away
        with no_store(bench):
            world.clock.pass_(400)
            await straight(bench)
    assert of_deciding(world.pager) == [TRIGGER]


def live_but(bench: Bench, *dead: str) -> None:
    for loop in bench.coordinator.parts.loops:
        if loop.name not in dead:
            loop.beat()


class Hanging(FakePager):
    """A pager that never answers."""

    def __init__(self) -> None:
        super().__init__("hanging")
        self.asked = 0

    async def send(self, page: Page) -> None:
        del page
        self.asked += 1
        await asyncio.Event().wait()
