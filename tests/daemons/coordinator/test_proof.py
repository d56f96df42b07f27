"""Without a Lease the store is asked right before a write who leads, unless it has just said so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.proof import FRESH, TRIES, Proof
from sliceward.daemons.store import open_store
from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Refused, Retry
from tests.builders import NOW
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, marked

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


@dataclass(eq=False)
class Asked:
    """A store that is asked who leads. ``takes``: seconds of each answer, also of a freeze in the middle; ``says``: raised for it."""

    takes: list[float] = field(default_factory=list)
    says: Exception | None = None
    seconds: float = 100.0
    times: int = 0
    _proven: float = 0.0

    @property
    def proof_age(self) -> float:
        return self.seconds - self._proven

    async def prove(self, *, now: datetime) -> None:
        del now
        began, self.times = self.seconds, self.times + 1
        await asyncio.sleep(0)
        self.seconds += self.takes.pop(0) if self.takes else 0.0
        if self.says is not None:
            raise self.says
        self._proven = began


def proof(store: Asked) -> tuple[Proof, list[str]]:
    fences = list[str]()
    return Proof(store, lambda: NOW, fences.append), fences  # type: ignore[arg-type]  # the part of a store that it asks


async def test_the_store_is_asked_once_for_all_that_wait_and_not_again_for_a_while() -> None:
    store = Asked()
    asking, _ = proof(store)
    await asyncio.gather(*(asking.look() for _ in range(20)))
    store.seconds += FRESH
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


@pytest.mark.parametrize("store", [Asked(says=Retry("away")), Asked(takes=[2 * FRESH] * TRIES)], ids=["away", "slow"])
async def test_a_store_that_does_not_say_so_in_time_is_asked_later(store: Asked) -> None:
    asking, fences = proof(store)
    with pytest.raises(Retry):
        await asking.look()
    assert not fences


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
