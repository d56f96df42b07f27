"""Pages out: in order, again after a failure with the same delivery id, given up only after a no."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons.coordinator.outbox import FIRST_PAUSE, GIVE_UP_AFTER, LONGEST_PAUSE, pause_after
from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.page import PageEvent
from sliceward.topology.errors import Misconfigured, Refused, Retry
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, some_rounds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    from tests.daemons.coordinator.bench import Bench


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, actions=ACTIONS)
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.fill(the_fleet())
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    return world


async def pages(bench: Bench) -> list[Mapping[str, Any]]:
    return list((await bench.coordinator.store.history.pages()).items)


async def test_a_pager_that_is_away_gets_the_same_delivery_later(world: World) -> None:
    world.pager.failing = [
        Retry("down"),
        Retry("down", after=30),
        TimeoutError(),
        Misconfigured("secret", "gone"),
        ZeroDivisionError(),
    ]
    async with a_bench(world) as bench:
        await some_rounds(bench, 3)
        (row,) = await pages(bench)
        assert (row["state"], row["attempts"]) == ("pending", 1)
        for _ in range(40):
            world.clock.pass_(60)
            await bench.coordinator.outbox.round()
        (row,) = await pages(bench)
        assert (row["state"], row["attempts"], len(world.pager.pages)) == ("sent", 6, 1)


async def test_a_resolve_never_overtakes_its_trigger(world: World) -> None:
    world.pager.failing = [Retry("down")] * 8
    async with a_bench(world) as bench:
        await some_rounds(bench, 6)
        world.provider.now_all("done")
        await some_rounds(bench, 10)
        assert [row["event"] for row in await pages(bench)] == ["trigger", "resolve"]
        for _ in range(40):
            world.clock.pass_(60)
            await bench.coordinator.outbox.round()
        assert [page.event for page in world.pager.pages] == [PageEvent.TRIGGER, PageEvent.RESOLVE]


async def test_a_no_is_kept_and_shown_and_not_repeated(world: World) -> None:
    world.pager.failing = [Refused("unknown routing key")]
    async with a_bench(world) as bench:
        await some_rounds(bench, 8)
        (row,) = await pages(bench)
        assert (row["state"], row["why"], row["attempts"]) == ("failed", "unknown routing key", 1)


async def test_after_a_day_of_trying_it_is_given_up(world: World) -> None:
    world.pager.failing = [Retry("down")] * 3
    async with a_bench(world) as bench:
        await some_rounds(bench, 4)
        world.clock.pass_(GIVE_UP_AFTER.total_seconds() + 60)
        await bench.coordinator.outbox.round()
        (row,) = await pages(bench)
        assert row["state"] == "failed"
        assert "given up" in row["why"]


async def test_a_pager_that_is_configured_no_more_does_not_hold_the_others(world: World) -> None:
    world.pager.failing = [Retry("down")]
    async with a_bench(world) as bench:
        await some_rounds(bench, 3)
    world.pager.name = "another"
    async with a_bench(world) as bench:
        world.clock.pass_(60)
        await bench.coordinator.outbox.round()
        (row,) = await pages(bench)
        assert (row["state"], "no pager" in row["why"]) == ("failed", True)


async def test_a_page_links_to_our_own(world: World) -> None:
    async with a_bench(world) as bench:
        bench.coordinator.outbox.public_url = "https://sliceward.example/"
        await some_rounds(bench, 4)
        (page,) = world.pager.pages
        (row,) = await pages(bench)
        assert page.links["sliceward"] == f"https://sliceward.example/#{row['incident']}"


@given(attempts=st.integers(0, 10_000), asked=st.none() | st.floats(0, 1e6), seed=st.integers())
def test_pauses_grow_are_bounded_and_honour_what_was_asked(attempts: int, asked: float | None, seed: int) -> None:
    pause = pause_after(attempts, asked=asked, dice=random.Random(seed))  # noqa: S311 (jitter)
    assert FIRST_PAUSE / 2 <= pause <= max(LONGEST_PAUSE, GIVE_UP_AFTER)
    if asked is not None:
        assert pause >= min(timedelta(seconds=asked), GIVE_UP_AFTER)


async def test_who_was_frozen_after_it_read_what_is_due_sends_nothing(world: World) -> None:
    async with a_bench(world) as bench:
        outbox, due = bench.coordinator.outbox, bench.coordinator.store.outbox.due

        async def frozen(now: datetime) -> Any:  # noqa: ANN401 (as `due` gives)
            found = await due(now)
            outbox.leads = lambda: False
            return found

        outbox.leads = lambda: False
        await some_rounds(bench, 3)
        outbox.leads = lambda: True
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(bench.coordinator.store.outbox, "due", frozen)
            assert await outbox.round() == 1
        assert world.pager.pages == []
        (row,) = await pages(bench)
        assert (row["state"], row["attempts"]) == ("pending", 0)
        outbox.leads = lambda: True
        await outbox.round()
        assert len(world.pager.pages) == 1
