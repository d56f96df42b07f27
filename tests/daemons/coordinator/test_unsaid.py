"""A store that is slow to say who leads: whoever is to be told is told all the same, and nobody waits longer than needed."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.coordinator.attention import HEARING, LOOK_LASTS, Attention
from sliceward.daemons.coordinator.deciding import Deciding
from sliceward.daemons.coordinator.outbox import UNSURE_FOR
from sliceward.daemons.coordinator.proof import LONGEST, MOMENT, Proof
from sliceward.daemons.coordinator.rules import Rules
from sliceward.daemons.coordinator.vigil import Vigil
from sliceward.daemons.loops import Loops
from sliceward.playbooks.load import Book
from sliceward.topology.errors import Retry
from tests.contracts.stored import a_page
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_straight import live_but
from tests.daemons.coordinator.test_sweep import mark
from tests.daemons.coordinator.test_vigil import TRIGGER, of_deciding, pass_
from tests.fakes.pager import FakePager

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.remediations.page import Page
    from tests.daemons.coordinator.bench import Bench

WITHIN = timedelta(seconds=15)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.fill(the_fleet())
    return world


async def unsaid(*_: object, **__: object) -> None:
    raise Retry("the store takes longer than 1 s to say who leads")


def slow_to_say(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all answers of the store be too old when they come, though it reads and writes."""
    store = bench.coordinator.store
    monkeypatch.setattr(store, "_proves", lambda _seen: None)
    monkeypatch.setattr(store, "_proven", -math.inf)


async def test_a_store_that_is_slow_to_say_who_leads_keeps_no_page_about_itself_from_the_pagers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_bench(world) as bench:
        await pass_(bench, 60)
        with monkeypatch.context() as slow:
            slow_to_say(bench, slow)
            world.clock.pass_(400)
            live_but(bench, "deciding")
            for _ in range(2):
                await bench.coordinator.vigil.round()
                with pytest.raises(Retry, match="nothing is called"):
                    await unsent(bench)
        assert of_deciding(world.pager) == [TRIGGER]
        await pass_(bench, 120)
    assert len(of_deciding(world.pager)) == 2, "it is over, and was told once"


async def unsent(bench: Bench) -> None:
    """Have the outbox try a page about something else."""
    await put(bench, "inc-9")
    await bench.coordinator.outbox.round()


async def put(bench: Bench, about: str = "inc-1") -> None:
    now = bench.world.clock()
    await bench.coordinator.store.tell(replace(a_page(about), at=now), about=about, pagers=["fake"], now=now)


async def rows(bench: Bench) -> list[tuple[str, int, str]]:
    return [(row["state"], row["attempts"], row["why"]) for row in (await bench.coordinator.store.history.pages()).items]


async def silence(bench: Bench, seconds: float, *, step: float = 10) -> None:
    """Let the outbox go round while nobody says who leads."""
    bench.coordinator.outbox.asks = unsaid
    for _ in range(int(seconds / step) + 1):
        with pytest.raises(Retry):
            await bench.coordinator.outbox.round()
        bench.world.clock.pass_(step)


async def test_pages_are_held_for_a_while_where_nobody_says_who_leads_and_then_sent_and_their_rows_say_so(world: World) -> None:
    async with a_bench(world) as bench:
        for name in ("inc-1", "inc-2"):
            await put(bench, name)
        await silence(bench, UNSURE_FOR.total_seconds() - 10)
        assert world.pager.pages == []
        for state, attempts, why in await rows(bench):
            assert (state, attempts) == ("pending", 0)
            assert "held for at most 30 s: the store takes longer than 1 s to say who leads" in why
        await silence(bench, 0)
        assert len(world.pager.pages) == 2
        assert await rows(bench) == [("sent", 1, "")] * 2


async def test_an_answer_or_a_gap_in_which_nothing_was_seen_begins_the_while_anew(world: World) -> None:
    async with a_bench(world) as bench:
        outbox, asks = bench.coordinator.outbox, bench.coordinator.outbox.asks
        await put(bench)
        world.pager.failing = [Retry("later")]
        await silence(bench, 20)
        outbox.asks = asks
        await outbox.round()
        world.clock.pass_(3)
        await silence(bench, 20)
        world.clock.pass_(3600)  # frozen: another may have sent it, and that it is over
        await silence(bench, 20)
        assert world.pager.pages == []
        await silence(bench, 0)
        assert len(world.pager.pages) == 1


async def test_a_page_that_the_store_does_not_note_is_not_sent_again_each_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_bench(world) as bench:
        await put(bench)
        with monkeypatch.context() as full:
            full.setattr(bench.coordinator.store.outbox, "sent", unsaid)
            for _ in range(3):
                with pytest.raises(ExceptionGroup):
                    await bench.coordinator.outbox.round()
        await bench.coordinator.outbox.round()
        assert len(world.pager.pages) == 1
        assert await rows(bench) == [("sent", 1, "")]
        assert bench.coordinator.outbox.counts["fake", "sent"] == 1


class Slow:
    """A store whose answers come late: ``waits`` for the fence, and ``takes`` from then on."""

    def __init__(self, takes: float, *, waits: float = 0.0) -> None:
        self.takes, self.waits, self.times, self._proven = takes, waits, 0, -math.inf

    @property
    def proof_age(self) -> float:
        return asyncio.get_running_loop().time() - self._proven

    async def confirm(self) -> None:
        self.times += 1
        await asyncio.sleep(self.waits)
        held = asyncio.get_running_loop().time()
        await asyncio.sleep(self.takes)
        self._proven = held


def proof(store: Slow) -> Proof:
    return Proof(store, timedelta(seconds=2), asyncio.get_running_loop().time, lambda _why: None)  # type: ignore[arg-type]  # the part of a store that it asks


@pytest.mark.looptime
async def test_who_waited_for_a_question_takes_its_answer_also_a_refusal_that_holds_for_a_moment() -> None:
    store, now = Slow(2.0), asyncio.get_running_loop().time
    asking, began = proof(store), now()

    async def refused() -> float:
        with pytest.raises(Retry, match="longer than 1 s"):
            await asking.look()
        return now() - began

    assert await asyncio.gather(*(refused() for _ in range(20))) == [4.0] * 20
    await asyncio.sleep(MOMENT)
    assert await refused() == 4.0 + MOMENT
    assert store.times == 2
    await asyncio.sleep(0.1)
    store.takes = 0.5
    await asking.look()
    assert store.times == 3


@pytest.mark.looptime
async def test_what_waits_for_its_turn_does_not_make_an_answer_old_and_is_not_told_as_if() -> None:
    asking = proof(Slow(0.5, waits=9.0))
    await asking.look()
    assert asking.took == 0.5


@pytest.mark.looptime
async def test_a_store_that_hangs_holds_nobody_for_longer_than_a_loop_may_take() -> None:
    asking, began = proof(Slow(0.0, waits=3600.0)), asyncio.get_running_loop().time()
    said = await asyncio.gather(*(asking.look() for _ in range(20)), return_exceptions=True)
    assert {str(one) for one in said} == {"the store does not say in 20 s who leads: nothing is called"}
    assert asyncio.get_running_loop().time() - began == LONGEST


async def test_a_sweep_ends_at_the_first_mark_where_nobody_says_who_leads(world: World) -> None:
    async with a_bench(world) as bench:
        for number in range(5):
            mark(world, "inc-gone", f"cube-3-host-0{number}")
        await bench.settle()
        asked = list[int]()

        async def asks() -> None:
            asked.append(1)
            await unsaid()

        bench.coordinator.deciding.stops.asks = asks
        with pytest.raises(Retry, match="who leads"):
            await bench.coordinator.sweep.round()
        assert len(asked) == 1


class Hanging:
    """A store, or a memo, that answers nothing within half a minute."""

    age = 1000.0

    async def hangs(self, *_: object, **__: object) -> Any:  # noqa: ANN401 (never gives anything)
        await asyncio.sleep(30)
        raise Retry("TimeoutError")

    tell = setting = set_setting = recall = keep = hangs


class Noting(FakePager):
    """Notes when it is told of what."""

    def __init__(self) -> None:
        super().__init__()
        self.at = list[tuple[float, str]]()

    async def send(self, page: Page) -> None:
        self.at.append((asyncio.get_running_loop().time(), page.kind))


@pytest.mark.looptime
@pytest.mark.parametrize("lease", [False, True], ids=["without a Lease", "with one"])
async def test_a_store_that_hangs_is_waited_for_once_in_a_round_and_is_told_of_first(lease: bool) -> None:  # noqa: FBT001 (a case of the test)
    clock, store, pager = asyncio.get_running_loop().time, Hanging(), Noting()
    loops = Loops(clock)
    own = loops.add("vigil", deadline=120)
    for name in ("alerts", "deciding", "outbox", "sweep", "heartbeat"):
        loops.add(name, deadline=60).last = -100.0
    vigil = Vigil(
        store, (), loops, {"fake": pager}, lambda: datetime.fromtimestamp(clock(), UTC), own, timedelta(minutes=5), WITHIN,  # type: ignore[arg-type]  # the parts of a store and a pager that it uses
        memo=store,
    )  # fmt: skip
    if not lease:
        vigil.asks = store.hangs
    began = clock()
    with pytest.raises(Retry):
        await vigil.round()
    assert [kind for _, kind in pager.at] == ["StoreAway", *["LoopLate"] * 5]
    assert {at - began for at, _ in pager.at} == {2 * WITHIN.total_seconds()}, "once for the memo, once for the store"
    assert not own.late


@pytest.mark.looptime
@pytest.mark.parametrize("lease", [False, True], ids=["without a Lease", "with one"])
async def test_a_store_that_hangs_in_a_later_round_is_waited_for_once_too(lease: bool) -> None:  # noqa: FBT001 (a case of the test)
    clock, store, pager = asyncio.get_running_loop().time, Hanging(), Noting()
    loops = Loops(clock)
    vigil = Vigil(
        store, (), loops, {"fake": pager}, lambda: datetime.fromtimestamp(clock(), UTC), loops.add("vigil", deadline=120),  # type: ignore[arg-type]  # as above
        timedelta(minutes=5), WITHIN, _recalled=True,
    )  # fmt: skip
    if not lease:
        vigil.asks = store.hangs
    for name in ("alerts", "deciding", "outbox"):
        loops.add(name, deadline=60).last = -100.0
    began = clock()
    with pytest.raises(Retry):
        await vigil.round()
    assert [(at - began, kind) for at, kind in pager.at] == [
        (WITHIN.total_seconds(), one) for one in ["StoreAway", *["LoopLate"] * 3]
    ]


@pytest.mark.looptime
async def test_a_long_rest_is_no_standstill() -> None:
    ticks, heard = asyncio.get_running_loop().time, list[float]()
    loops, patient = Loops(ticks), Rules(Book(), {}, decide_every=timedelta(minutes=1))
    clock = lambda: datetime.fromtimestamp(ticks(), UTC)  # noqa: E731 (a clock)
    deciding = Deciding(None, {}, patient, random.Random(1), clock, loops.add("deciding", deadline=60))  # type: ignore[arg-type]  # noqa: S311 (no store is asked in a rest; no secret)

    async def hear(seconds: float) -> None:
        heard.append(seconds)

    deciding.looks.attention = Attention(ticks, hear)
    began = ticks()
    await deciding._rest(0.0, None)  # noqa: SLF001 (the rest between two rounds)
    assert (ticks() - began, heard) == (60.0, [])


async def test_what_is_called_by_a_look_is_called_within_its_time_from_when_the_look_began() -> None:
    seconds, heard = [0.0], list[float]()

    async def rest(of: float) -> None:
        heard.append(of)

    async def look() -> None:
        seconds[0] += LOOK_LASTS - 0.1

    attention = Attention(lambda: seconds[0], rest)
    looked = await attention.looked(0.0, look)
    assert not attention.is_over(looked)
    seconds[0] += 0.2
    assert attention.is_over(looked)
    await attention.hear(looked)
    assert heard == [HEARING]
