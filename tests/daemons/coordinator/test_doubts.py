"""What is in doubt is read again, and taken back where it stands, before anything is decided about it: each rule of that by itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sliceward.daemons.coordinator.calls import Begun
from sliceward.daemons.coordinator.following import still
from sliceward.daemons.store import Case
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks import turn as turns
from sliceward.playbooks.decide import decide
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Done, Wait
from sliceward.topology.errors import Retry
from tests.daemons.coordinator.bench import a_bench
from tests.daemons.coordinator.test_deciding import PLAYBOOK, _Noting, broken
from tests.daemons.coordinator.test_uncalled import after, found, irreversible, mended

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.action import Target
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports
    from sliceward.topology.fleet import Fleet
    from tests.daemons.coordinator.bench import Bench, World


async def left_in_doubt(bench: Bench) -> None:
    """Let intents be saved whose calls are not made."""
    await found(bench)
    bench.side.read = after(2, ValueError("nobody reads this"), bench.side.read)  # type: ignore[method-assign]  # once
    await bench.coordinator.deciding.round()
    assert bench.coordinator.deciding.docket.in_doubt


async def results(bench: Bench) -> list[str | None]:
    """Give what the store knows of the calls, sorted."""
    deciding = bench.coordinator.deciding
    rows = [intent for name in deciding.docket.cases for intent in await deciding.docket.store.history.intents(name)]
    return sorted((row.result for row in rows), key=str)


async def story(bench: Bench) -> list[str]:
    return [str(row["text"]) for row in (await bench.coordinator.store.history.entries()).items]


async def test_an_intent_that_could_not_be_taken_back_either_stays_in_doubt(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await left_in_doubt(bench)
        deciding.docket.store.save = after(1, Retry("no connection"), deciding.docket.store.save)  # type: ignore[method-assign]  # once
        await deciding.round()
        assert deciding.loop.error == "no connection"
        await mended(bench, seconds=5)
        assert (noting.targets, deciding.docket.cases) == ([], {})


async def test_an_incident_whose_intent_cannot_be_read_again_stays_in_doubt(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await left_in_doubt(bench)
        for number in range(2):
            world.tell(world.finding(broken(number), Kind.CHIP_LOST, State.RESOLVED))
        await bench.settle()
        deciding.docket.store.load = after(1, ValueError("no such row"), deciding.docket.store.load)  # type: ignore[method-assign]  # once
        await deciding.round()
        assert "no such row" in "".join(deciding.loop.set_aside.values())
        await mended(bench)
        assert (noting.targets, deciding.docket.cases) == ([], {})


async def test_nothing_is_decided_about_what_comes_into_doubt_while_a_look_is_under_way(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding, real = bench.coordinator.deciding, bench.side.read
        await found(bench)
        await deciding.round()
        deciding.stops.leads = lambda: False  # so that none of its calls is made

        async def read() -> Fleet | None:
            """Take long enough for the calls to end, and for what kept them to pass."""
            await bench.settle()
            assert deciding.docket.in_doubt
            deciding.stops.leads = lambda: True
            for number in range(2):
                world.tell(world.finding(broken(number), Kind.CHIP_LOST, State.RESOLVED))
            await bench.settle()
            world.clock.pass_(120)
            return await real()

        bench.side.read = read  # type: ignore[method-assign]  # once
        await deciding.round()
        bench.side.read = real  # type: ignore[method-assign]  # as it was
        await deciding.idle()
        assert noting.targets == []
        await mended(bench)
        assert (noting.targets, deciding.docket.cases) == ([], {})


class _Waits(_Noting):
    """Cannot be taken back, and is not done before it is told."""

    irreversible = True

    def __init__(self) -> None:
        super().__init__()
        self.goes, self.done = asyncio.Event(), False
        self.goes.set()

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        await super().__call__(target, ports)
        await self.goes.wait()
        return Done("gone") if self.done else Wait(timedelta(seconds=1), "not yet")


def waiting(folder: Path) -> tuple[World, _Waits]:
    world, _ = irreversible(folder)
    waits = _Waits()
    world.actions = {**ACTIONS, "domain.mark": waits}
    world.book = load_book({"mark.yaml": PLAYBOOK.replace("RATE", "9").replace("WINDOW", "1h")}, world.actions)
    return world, waits


async def test_a_try_that_was_never_saved_takes_nothing_back_of_the_one_before(tmp_path: Path) -> None:
    world, waits = waiting(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        await bench.round()
        assert len(waits.targets) == 2
        world.clock.pass_(5)
        deciding.docket.store.save = after(1, Retry("no connection"), deciding.docket.store.save)  # type: ignore[method-assign]  # once
        await deciding.round()
        assert deciding.docket.in_doubt
        waits.done = True
        await bench.round()
        assert len(waits.targets) == 4
        assert not [text for text in await story(bench) if "not called after all" in text]
        runs = [case.run for case in deciding.docket.cases.values() if case.run is not None]
        assert [run.steps[0].attempts for run in runs] == [2, 2]


async def test_what_cannot_be_saved_is_in_doubt_no_longer_than_its_look(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        bad, *_ = sorted(deciding.docket.cases)
        real = deciding.docket.store.save

        async def save(*turns: Turn, **more: Any) -> tuple[int, ...]:  # noqa: ANN401 (as a store takes them)
            if any(turn.incident.id == bad for turn in turns):
                raise ValueError("no store takes this")
            return await real(*turns, **more)

        deciding.docket.store.save = save  # type: ignore[method-assign]  # for good
        await deciding.round()
        assert not deciding.docket.in_doubt
        await deciding.idle()
        assert [target.incident == bad for target in noting.targets] == [False]
        assert "no store takes this" in deciding.loop.set_aside[bad]


async def test_an_intent_says_never_called_only_until_it_is_made_again(tmp_path: Path) -> None:
    world, waits = waiting(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await left_in_doubt(bench)
        await bench.coordinator.pause("wait", by="ann")
        await deciding.round()
        assert await results(bench) == ["withdrawn: never called"] * 2
        await bench.coordinator.resume("go on", by="ann")
        waits.goes.clear()
        await deciding.round()
        await bench.settle()
        assert len(waits.targets) == 2
        assert await results(bench) == [None, None], "they are under way"
        waits.goes.set()
        await deciding.idle()
        assert await results(bench) == ["waiting: not yet"] * 2
        world.clock.pass_(5)
        bench.side.read = after(2, ValueError("nobody reads this"), bench.side.read)  # type: ignore[method-assign]  # once more
        await deciding.round()
        deciding.stops.leads = lambda: False  # so that they are taken back, and not made again
        await deciding.round()
        assert not deciding.docket.in_doubt
        assert await results(bench) == [None, None], "they were called before"


async def test_a_finding_of_which_another_open_incident_tells_too_still_speaks_for_a_call(tmp_path: Path) -> None:
    """As where one was folded into another and its end cannot be saved: both tell of it then."""
    world, _ = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        one, other = (case.incident for case in deciding.docket.cases.values())
        both = replace(other, findings=(*other.findings, *one.findings))
        seen = deciding.looks._seen(bench.side, {one.id: Case(one, None), both.id: Case(both, None)})  # noqa: SLF001 (what is looked at again)
        turn = turns.take(one, decide(one, None, seen.rules.book, seen.world, seen.now), seen.now)
        assert turn.run is not None
        assert turn.call is not None
        assert still([Begun(one.id, turn.run, turn.call)], seen, seen.findings) == {one.id}
