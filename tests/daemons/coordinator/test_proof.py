"""Without a Lease the store is asked right before a write who leads, unless it has just said so."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event
from structlog.testing import capture_logs

from sliceward.daemons.coordinator.alerts import read_payload
from sliceward.daemons.coordinator.metrics import Figures
from sliceward.daemons.coordinator.proof import LEAST_GRACE, MOMENT, TRIES, Proof
from sliceward.daemons.coordinator.settings import PaceSettings
from sliceward.daemons.store import open_store
from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Refused, Retry
from tests.builders import NOW
from tests.contracts.stored import a_page
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_alerts import a_payload, an_alert
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, marked

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from sliceward.daemons.store import Store

GRACE = timedelta(seconds=4)
LASTS = 2.0


@dataclass(eq=False)
class Asked:
    """A store that is asked who leads. ``takes``: seconds from when it says so to its answer, also of a freeze there; ``says``: raised for it."""

    takes: list[float] = field(default_factory=list)
    says: Exception | None = None
    seconds: float = 100.0
    times: int = 0
    _proven: float = 0.0

    @property
    def proof_age(self) -> float:
        return self.seconds - self._proven

    async def confirm(self) -> None:
        held, self.times = self.seconds, self.times + 1
        await asyncio.sleep(0)
        self.seconds += self.takes.pop(0) if self.takes else 0.0
        if self.says is not None:
            raise self.says
        self._proven = held


def proof(store: Asked, *, grace: timedelta = GRACE) -> tuple[Proof, list[str]]:
    fences = list[str]()
    return Proof(store, grace, lambda: store.seconds, fences.append), fences  # type: ignore[arg-type]  # the part of a store that it asks


async def test_the_store_is_asked_once_for_all_that_wait_and_not_again_for_a_while() -> None:
    store = Asked()
    asking, _ = proof(store)
    await asyncio.gather(*(asking.look() for _ in range(20)))
    store.seconds += LASTS
    await asking.look()
    assert store.times == 1
    store.seconds += 0.01
    await asking.look()
    assert store.times == 2


async def test_an_answer_that_waited_while_the_process_was_frozen_is_asked_for_again() -> None:
    store = Asked(takes=[3600.0])
    asking, _ = proof(store)
    await asking.look()
    assert (store.times, store.proof_age) == (2, 0.0)


async def test_who_does_not_lead_any_more_is_told_and_writes_nothing() -> None:
    asking, fences = proof(Asked(says=Refused("epoch 1 is over")))
    with pytest.raises(Refused, match="epoch 1 is over"):
        await asking.look()
    assert fences == ["epoch 1 is over"]


@pytest.mark.parametrize("store", [Asked(says=Retry("away")), Asked(takes=[LASTS + 1] * 2 * TRIES)], ids=["away", "slow"])
async def test_a_store_that_does_not_say_so_in_time_is_asked_later(store: Asked) -> None:
    asking, fences = proof(store)
    with capture_logs() as lines:
        for _ in range(2):
            with pytest.raises(Retry):
                await asking.look()
            store.seconds += 2 * MOMENT
        said = asking.why
        store.says, store.takes = None, []
        await asking.look()
    assert not fences
    assert [(line["event"], line.get("why")) for line in lines] == [("nothing is called", said), ("calls go on", None)]
    assert not asking.why


def test_how_long_an_answer_counts_follows_from_how_long_others_wait_and_is_never_nothing() -> None:
    assert [proof(Asked(), grace=grace)[0].lasts for grace in (GRACE, LEAST_GRACE, timedelta(0))] == [2.0, 0.5, 0.5]


@pytest.mark.looptime
async def test_who_begins_waits_until_nobody_goes_by_an_older_answer() -> None:
    store, begun = Asked(), asyncio.get_running_loop().time()
    asking, _ = proof(store)
    asking.monotonic = asyncio.get_running_loop().time
    asking.begin()
    await asyncio.gather(*(asking.look() for _ in range(3)))
    assert asyncio.get_running_loop().time() - begun == GRACE.total_seconds()
    await asking.look()
    assert asyncio.get_running_loop().time() - begun == GRACE.total_seconds()


async def test_a_store_that_is_slow_to_keep_things_still_lets_calls_be_made(tmp_path: Path) -> None:
    async with a_bench(World(tmp_path)) as bench:
        store, asking = bench.coordinator.store, bench.coordinator.proof
        assert asking is not None
        await store.prove(now=NOW)
        store._proven -= 3600.0  # noqa: SLF001 (so long did the disk take to keep it)
        committed = count_commits(store)
        await asking.look()
        assert committed() == 0
        assert store.proof_age <= asking.lasts


def count_commits(store: Store) -> Callable[[], int]:
    """Give what tells how many transactions have written something from now on."""
    commits = list[object]()
    engine = store._database.writer.sync_engine  # noqa: SLF001 (the database behind it)
    event.listen(engine, "commit", commits.append)
    return lambda: len(commits)


@pytest.mark.parametrize("by", ["asking", "noting an alert"])
async def test_who_hears_that_another_leads_ends_at_once_whichever_loop_hears_it(tmp_path: Path, by: str) -> None:
    patient = PaceSettings(broker_grace=timedelta(0), decide_every=timedelta(hours=1), sweep_every=timedelta(hours=1))
    world = World(tmp_path, pace=patient)
    async with a_bench(world) as bench, open_store(f"sqlite:///{tmp_path / 'store.db'}") as other:
        coordinator = bench.coordinator
        running = asyncio.create_task(coordinator.run())
        await bench.settle()
        await other.lead("other", now=world.clock())
        coordinator.store._proven = -math.inf  # noqa: SLF001 (an hour went by, and nobody noticed)
        if by == "asking":
            with pytest.raises(Refused):
                await coordinator.deciding.stops.asks()
        else:
            await coordinator.desk.take(read_payload(a_payload(an_alert()), receiver="main", now=NOW))
        async with asyncio.timeout(30):
            with pytest.raises(Refused, match="other leads in epoch 2"):
                await running
        assert not coordinator.leads


async def test_a_page_is_not_sent_by_who_was_frozen_while_another_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    async with a_bench(world) as bench, open_store(f"sqlite:///{tmp_path / 'store.db'}") as other:
        coordinator, due = bench.coordinator, bench.coordinator.store.outbox.due
        await coordinator.store.tell(a_page(), about="x", pagers=["fake"], now=world.clock())

        async def frozen(now: datetime) -> Any:  # noqa: ANN401 (as `due` gives)
            found = await due(now)
            await other.lead("other", now=now)
            coordinator.store._proven -= 3600.0  # noqa: SLF001 (an hour went by, and nobody noticed)
            return found

        monkeypatch.setattr(coordinator.store.outbox, "due", frozen)
        with pytest.raises(ExceptionGroup) as raised:
            await coordinator.outbox.round()
        assert raised.group_contains(Refused, match="other leads in epoch 2")
        assert world.pager.pages == []


async def test_a_page_waits_while_nobody_says_who_leads_and_keeps_no_other_pager_from_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with a_bench(world) as bench:
        outbox, clock = bench.coordinator.outbox, world.clock
        await bench.coordinator.store.tell(a_page(), about="x", pagers=["fake"], now=clock())
        asks, outbox.asks = outbox.asks, unsaid
        beats = outbox.loop.beats
        with pytest.raises(Retry, match="nobody says"):
            await outbox.round()
        assert (world.pager.pages, outbox.loop.beats) == ([], beats)
        outbox.asks = asks
        await outbox.round()
        assert len(world.pager.pages) == 1


async def unsaid() -> None:
    raise Retry("nobody says who leads")


@pytest.mark.parametrize("at", [1, 4], ids=["before the action", "in the middle of it"])
async def test_without_a_lease_who_was_frozen_while_another_began_writes_nothing_more(tmp_path: Path, at: int) -> None:
    """``at``: at which question; one is before the action, the others before its writes."""
    world, questions, still = World(tmp_path, actions=ACTIONS), count(1), asyncio.Lock()
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.fill(the_fleet())
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with a_bench(world) as bench, open_store(f"sqlite:///{tmp_path / 'store.db'}") as other:
        store, deciding = bench.coordinator.store, bench.coordinator.deciding
        asks = deciding.stops.asks

        async def frozen() -> None:
            async with still:  # nobody does anything in a process that is frozen
                if next(questions) == at:
                    await other.lead("other", now=world.clock())
                    store._proven -= 3600.0  # noqa: SLF001 (an hour went by, and nobody noticed)
                await asks()

        deciding.stops.asks = frozen
        await bench.settle()
        for _ in range(4):
            await deciding.round()
            await deciding.idle()
            world.clock.pass_(1)
            if deciding.stops.fenced:
                break
        assert "leads in epoch 2" in deciding.stops.fenced
        assert len(marked(world)) == max(0, at - 2)
        (intent,) = await other.history.intents((await other.load_open()).cases[0].incident.id)
        assert intent.result is None, "the next leader asks the world what came of it"


async def test_a_store_that_is_too_slow_to_say_who_leads_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_bench(World(tmp_path)) as bench:
        coordinator, store, registry = bench.coordinator, bench.coordinator.store, CollectorRegistry()
        registry.register(Figures(coordinator))
        confirm = store.confirm

        async def slowly() -> None:
            await confirm()
            store._proven -= 3600.0  # noqa: SLF001 (so long did the answer take)

        with monkeypatch.context() as patched:
            patched.setattr(store, "confirm", slowly)
            store._proven = -math.inf  # noqa: SLF001 (long ago)
            with pytest.raises(Retry, match="nothing is called"):
                await coordinator.deciding.stops.asks()
        assert "takes longer than 0.5 s to say who leads" in coordinator.status()["store"]["why"]
        answer = registry.get_sample_value("sliceward_lead_answer_seconds")
        assert answer is not None
        assert f"({answer:.1f} s)" in coordinator.status()["store"]["why"]
        assert answer >= 3600.0
        assert coordinator.proof is not None
        coordinator.proof.monotonic = lambda: math.inf  # the moment is over for which a refusal holds
        await coordinator.deciding.stops.asks()
        assert coordinator.status()["store"]["why"] == ""
