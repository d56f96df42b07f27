"""The coordinator pages about itself: late loops, and who is silent for long, each once, resolved when it is over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons import topics
from sliceward.daemons.wire import Message
from sliceward.remediations.page import PageEvent
from sliceward.topology.errors import Refused, Retry
from tests.daemons.coordinator.bench import World, a_bench, the_fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemons.coordinator.bench import Bench

TRIGGER, RESOLVE = PageEvent.TRIGGER, PageEvent.RESOLVE


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.fill(the_fleet())
    return world


def live(bench: Bench) -> None:
    """Let the watcher speak, and all loops but the vigil's own go round."""
    alive = json.dumps({"at": bench.world.clock().isoformat()}).encode()
    bench.world.broker.publish(Message(topics.watcher("c1"), alive, retain=True))
    for loop in bench.coordinator.parts.loops:
        loop.beat()


async def pass_(bench: Bench, seconds: float, *, watched: bool = True, decided: bool = True) -> None:
    """Let time pass in steps of ten seconds, with a look at each."""
    for _ in range(int(seconds // 10)):
        bench.world.clock.pass_(10)
        late = bench.coordinator.deciding.loop
        kept = (late.last, late.beats)
        if watched:
            live(bench)
        else:
            for loop in bench.coordinator.parts.loops:
                loop.beat()
        if not decided:
            late.last, late.beats = kept
        await bench.settle()
        await bench.coordinator.vigil.round()
        await bench.coordinator.outbox.round()


def told(world: World) -> list[tuple[str, PageEvent]]:
    return [(page.kind, page.event) for page in world.pager.pages]


async def test_a_fleet_that_is_well_and_idle_is_no_page(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 900)
        assert told(world) == []


async def test_a_loop_past_its_deadline_is_paged_once_and_resolved(world: World) -> None:
    async with a_bench(world) as bench:
        bench.coordinator.deciding.loop.failed("KeyError: 'x'")
        await pass_(bench, 300, decided=False)
        assert told(world) == [("LoopLate", TRIGGER)]
        assert "deciding" in world.pager.pages[0].summary
        await pass_(bench, 120)
        assert told(world) == [("LoopLate", TRIGGER), ("LoopLate", RESOLVE)]
        assert len({page.dedup_key for page in world.pager.pages}) == 1


async def test_a_watcher_that_is_silent_for_long_is_paged_and_resolved_when_it_speaks(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        await pass_(bench, 360, watched=False)
        assert told(world) == []
        await pass_(bench, 180, watched=False)
        assert told(world) == [("WatcherSilent", TRIGGER)]
        await pass_(bench, 120)
        assert told(world)[1:] == [("WatcherSilent", RESOLVE)]


async def test_a_broker_that_is_away_is_paged_and_not_the_watcher_behind_it(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        world.broker.stop()
        await pass_(bench, 600, watched=False)
        assert told(world) == [("BrokerAway", TRIGGER)]


async def test_an_api_server_that_is_away_is_paged(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        for mirror in bench.side._mirrors.values():  # noqa: SLF001 (the copy grows old)
            mirror.synced = False
        await pass_(bench, 400)
        assert told(world) == [("ClusterSilent", TRIGGER)]


async def test_an_incident_that_stays_set_aside_is_paged(world: World) -> None:
    async with a_bench(world) as bench:
        bench.coordinator.deciding.loop.set_aside["inc-1"] = "its row cannot be read"
        await pass_(bench, 280)
        assert told(world) == []
        await pass_(bench, 60)
        assert told(world) == [("SetAside", TRIGGER)]


async def test_a_restart_neither_repeats_a_page_nor_forgets_to_resolve_it(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 300, decided=False)
    async with a_bench(world) as bench:
        await pass_(bench, 300, decided=False)
        assert told(world) == [("LoopLate", TRIGGER)]
        await pass_(bench, 120)
    assert told(world) == [("LoopLate", TRIGGER), ("LoopLate", RESOLVE)]


async def test_while_the_store_is_away_the_pagers_are_told_straight(world: World) -> None:
    async with a_bench(world) as bench:
        store = bench.coordinator.store

        async def away(*_: object, **__: object) -> None:
            raise Retry("the store did not answer")

        store.tell = store.set_setting = store.setting = away  # type: ignore[method-assign]  # the store goes away while it is in use
        store._last_ok -= 1000  # noqa: SLF001 (its age is in real seconds)
        live(bench)
        await bench.settle()
        world.pager.failing = [Refused("no"), Retry("later")]
        for _ in range(2):
            await bench.coordinator.vigil.round()
        assert told(world) == [], "what nobody took is not told"
        for _ in range(2):
            with pytest.raises(Retry):
                await bench.coordinator.vigil.round()
        assert told(world) == [("StoreAway", TRIGGER)]
