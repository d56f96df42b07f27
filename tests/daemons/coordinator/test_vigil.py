"""The coordinator pages about itself: late loops, and who is silent for long, each once, resolved when it is over."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sliceward.daemons import topics
from sliceward.daemons.coordinator.memo import InFile
from sliceward.daemons.wire import Message
from sliceward.remediations.page import PageEvent
from sliceward.topology.errors import Refused, Retry
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_heartbeat import unreadable
from tests.fakes.pager import FakePager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sliceward.daemons.coordinator.memo import Memo
    from sliceward.remediations.page import Page
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
        store.tell = store.set_setting = store.setting = store.confirm = away  # type: ignore[method-assign]  # the store goes away while it is in use
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


async def test_a_cluster_that_is_set_aside_as_a_whole_is_paged_and_resolved(world: World) -> None:
    async with a_bench(world) as bench:
        bench.coordinator.deciding.looks.alerts = unreadable
        with capture_logs():  # the traceback of a whole fleet takes a minute to draw
            await bench.coordinator.deciding.round()
        await pass_(bench, 340)
        assert told(world) == [("SetAside", TRIGGER)]
        assert "cluster c1" in world.pager.pages[0].summary
        bench.coordinator.deciding.looks.alerts = lambda _cluster: {}
        await bench.coordinator.deciding.round()
        await pass_(bench, 120)
        assert told(world) == [("SetAside", TRIGGER), ("SetAside", RESOLVE)]


async def test_a_loop_that_goes_round_without_a_result_is_paged_after_a_while_and_is_not_late(world: World) -> None:
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding.loop
        for _ in range(60):
            world.clock.pass_(10)
            whole = deciding.whole
            live(bench)
            deciding.whole = whole
            deciding.retried("cluster c1 was not read yet")
            await bench.settle()
            await bench.coordinator.vigil.round()
            await bench.coordinator.outbox.round()
        assert told(world) == [("LoopStalled", TRIGGER)]
        await pass_(bench, 120)
        assert told(world)[1:] == [("LoopStalled", RESOLVE)]


async def test_what_was_told_straight_before_a_crash_is_resolved_by_who_begins_anew_and_nothing_else(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        with no_store(bench):
            world.clock.pass_(400)
            live(bench)
            await bench.settle()
            await straight(bench)
    assert told(world) == [("StoreAway", TRIGGER)]
    world.clock.pass_(3600)
    async with a_bench(world) as bench:
        await pass_(bench, 120)
    assert told(world) == [("StoreAway", TRIGGER), ("StoreAway", RESOLVE)]
    assert len({page.dedup_key for page in world.pager.pages}) == 1
    async with a_bench(world) as bench:
        await pass_(bench, 120)
    assert len(told(world)) == 2, "it is over once"


async def test_what_was_told_straight_and_still_lasts_after_a_crash_is_at_most_told_again_under_the_same_id(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        with no_store(bench):
            world.clock.pass_(400)
            await straight(bench)
    before = told(world)
    assert ("LoopLate", TRIGGER) in before
    async with a_bench(world) as bench:
        await pass_(bench, 300, decided=False)
    assert of_deciding(world.pager, repeats=False) == [TRIGGER]


async def test_a_page_that_no_pager_took_before_a_crash_is_sent_by_who_begins_anew(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        hanging = HangingPager()
        bench.coordinator.vigil.pagers = {"fake": hanging}
        with no_store(bench):
            world.clock.pass_(400)
            round_ = asyncio.create_task(bench.coordinator.vigil.round())
            await hanging.asked.wait()
            round_.cancel()
            await asyncio.wait([round_])
    assert told(world) == []
    async with a_bench(world) as bench:
        await pass_(bench, 150, decided=False)
        assert of_deciding(world.pager) == [TRIGGER]
        await pass_(bench, 120)
    assert of_deciding(world.pager) == [TRIGGER, RESOLVE]
    assert not (world.folder / "store.db-told").exists()


async def test_what_the_life_before_told_straight_is_not_forgotten_while_the_store_stays_away(world: World) -> None:
    await told_of_deciding(world)
    async with a_bench(world) as bench:
        with no_store(bench):
            live(bench)
            world.pager.failing = [Retry("later") for _ in range(9)]
            await bench.coordinator.vigil.round()
            world.pager.failing = []
    async with a_bench(world) as bench:
        await pass_(bench, 120)
    assert of_deciding(world.pager) == [TRIGGER, RESOLVE]


async def test_what_the_life_before_told_straight_is_not_written_over_before_it_was_read(world: World) -> None:
    await told_of_deciding(world)
    async with a_bench(world) as bench:
        memo = bench.coordinator.vigil.memo
        bench.coordinator.vigil.memo = Unread(memo)
        await pass_(bench, 30)
        with no_store(bench):
            live(bench)
            await straight(bench)
        await pass_(bench, 30)
        bench.coordinator.vigil.memo = memo
        await pass_(bench, 120)
    assert of_deciding(world.pager) == [TRIGGER, RESOLVE]


async def test_what_was_kept_though_the_answer_was_late_is_forgotten_once_the_store_has_it(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        memo = bench.coordinator.vigil.memo
        bench.coordinator.vigil.memo = Late(memo)
        with no_store(bench):
            world.clock.pass_(400)
            live(bench)
            await straight(bench)
        await pass_(bench, 10)
        assert (world.folder / "store.db-told").exists()
        bench.coordinator.vigil.memo = memo
        await pass_(bench, 20)
    assert not (world.folder / "store.db-told").exists()


async def test_a_resolve_waits_for_the_store_so_that_each_pager_gets_it(world: World) -> None:
    async with a_bench(world) as bench:
        other = FakePager("other")
        bench.coordinator.vigil.pagers = bench.coordinator.outbox.pagers = {"fake": world.pager, "other": other}
        await pass_(bench, 60)
        with no_store(bench):
            world.clock.pass_(400)
            await straight(bench)
            other.failing = [Retry("later") for _ in range(9)]
            for _ in range(9):
                world.clock.pass_(10)
                live(bench)
                await straight(bench)
            other.failing = []
        await pass_(bench, 60)
    assert of_deciding(world.pager) == of_deciding(other) == [TRIGGER, RESOLVE]


async def test_after_a_crash_with_a_store_that_was_there_nothing_is_resolved_that_was_not_told(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
    world.clock.pass_(3600)
    async with a_bench(world) as bench:
        await pass_(bench, 120)
    assert told(world) == []


async def test_a_place_for_what_was_told_straight_that_is_away_keeps_nobody_from_being_told(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        bench.coordinator.vigil.memo = InFile(world.folder / "no such folder" / "told")
        with no_store(bench):
            world.clock.pass_(400)
            live(bench)
            await bench.settle()
            await straight(bench)
    assert told(world) == [("StoreAway", TRIGGER)]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"store": 1}', '{"store": {}}'),
        pytest.param("[" * 200_000, id="deep"),
        pytest.param(json.dumps({"store": {"kind": "StoreAway", "text": "x" * (1 << 20), "since": ""}}), id="long"),
    ],
)
async def test_what_was_kept_and_cannot_be_read_is_left_out(world: World, text: str) -> None:
    (world.folder / "store.db-told").write_text(text)
    async with a_bench(world) as bench:
        await pass_(bench, 120)
    assert told(world) == []
    assert not text or not (world.folder / "store.db-told").exists()


async def test_who_does_not_lead_any_more_tells_nobody_straight(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        bench.coordinator.vigil.leads = lambda: False
        with no_store(bench):
            world.clock.pass_(400)
            await bench.coordinator.vigil.round()
    assert told(world) == []
    assert not (world.folder / "store.db-told").exists()


async def test_who_does_not_lead_any_more_leaves_what_is_kept_to_who_does(world: World) -> None:
    await told_of_deciding(world)
    kept = (world.folder / "store.db-told").read_text()
    async with a_bench(world) as bench:
        bench.coordinator.vigil.leads = lambda: False
        await pass_(bench, 120)
    assert (world.folder / "store.db-told").read_text() == kept


async def test_what_the_store_holds_of_the_life_before_is_not_written_over_before_it_was_read(world: World) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 300, decided=False)
    async with a_bench(world) as bench:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(bench.coordinator.store, "setting", away)
            bench.coordinator.outbox.loop.last -= 1000
            await straight(bench)
        await pass_(bench, 120)
    assert of_deciding(world.pager) == [TRIGGER, RESOLVE]


async def away(*_: object, **__: object) -> None:
    raise Retry("the store did not answer")


@contextmanager
def no_store(bench: Bench) -> Iterator[None]:
    """Let the store be away meanwhile."""
    store = bench.coordinator.store
    with pytest.MonkeyPatch.context() as patched:
        for name in ("tell", "set_setting", "setting", "confirm"):
            patched.setattr(store, name, away)
        patched.setattr(store, "_last_ok", store._last_ok - 1000)  # noqa: SLF001 (its age is in real seconds)
        yield


async def straight(bench: Bench) -> None:
    with pytest.raises(Retry):
        await bench.coordinator.vigil.round()


async def told_of_deciding(world: World) -> None:
    """Let a life that ends in a crash tell straight of a late loop."""
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        with no_store(bench):
            world.clock.pass_(400)
            await straight(bench)
    assert of_deciding(world.pager) == [TRIGGER]


def of_deciding(pager: FakePager, *, repeats: bool = True) -> list[PageEvent]:
    """Give what a pager heard of the loop that decides."""
    pages = pager.pages if repeats else pager.delivered.values()
    return [page.event for page in pages if page.component == "loop deciding"]


class HangingPager(FakePager):
    """A pager that never answers when it is told of the loop that decides, and takes nothing else."""

    def __init__(self) -> None:
        super().__init__("hanging")
        self.asked = asyncio.Event()

    async def send(self, page: Page) -> None:
        if page.component != "loop deciding":
            raise Retry("later")
        self.asked.set()
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Unread:
    """A place that can be written and not read."""

    memo: Memo

    async def keep(self, text: str) -> None:
        await self.memo.keep(text)

    async def recall(self) -> str:
        raise OSError("input/output error")


@dataclass(frozen=True)
class Late:
    """A place that does what it is told and answers too late."""

    memo: Memo

    async def keep(self, text: str) -> None:
        await self.memo.keep(text)
        raise TimeoutError

    async def recall(self) -> str:
        return await self.memo.recall()
