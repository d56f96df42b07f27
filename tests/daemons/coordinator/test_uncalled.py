"""An intent whose action was not called is taken back, whatever came in between: the next try is no going on with something begun."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Retry
from tests.daemons.coordinator.bench import World, a_bench
from tests.daemons.coordinator.test_deciding import PLAYBOOK, _Noting, a_world, broken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sliceward.playbooks.turn import Turn
    from sliceward.scheduling.rights import Displaced
    from sliceward.topology.ids import ChipId
    from tests.daemons.coordinator.bench import Bench


class _Irreversible(_Noting):
    irreversible = True


def irreversible(folder: Path) -> tuple[World, _Irreversible]:
    """Give a world in which marking cannot be taken back, and what notes it; two chips are broken."""
    world, _ = a_world(folder)
    noting = _Irreversible()
    world.actions = {**ACTIONS, "domain.mark": noting}
    world.book = load_book({"mark.yaml": PLAYBOOK.replace("RATE", "9").replace("WINDOW", "1h")}, world.actions)
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    world.tell(world.finding(broken(1), Kind.CHIP_LOST))
    return world, noting


async def found(bench: Bench) -> None:
    """Let the incidents be found and settle."""
    await bench.settle()
    await bench.coordinator.deciding.round()
    bench.world.clock.pass_(2)


async def mended(bench: Bench, *, seconds: float = 120) -> None:
    """Let the faults go by themselves, and a later round come."""
    for number in range(2):
        bench.world.tell(bench.world.finding(broken(number), Kind.CHIP_LOST, State.RESOLVED))
    await bench.settle()
    bench.world.clock.pass_(seconds)
    await bench.round()


def after(count: int, error: Exception, real: Callable[..., Any]) -> Callable[..., Any]:
    """Give what does as ``real`` does, but raises instead the ``count``-th time."""
    calls = 0

    async def instead(*given: Any, **more: Any) -> Any:  # noqa: ANN401 (as the real one)
        nonlocal calls
        calls += 1
        if calls == count:
            raise error
        return await real(*given, **more)

    return instead


async def test_nothing_is_called_for_a_fault_that_went_while_this_replica_did_not_lead(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        await deciding.round()
        deciding.stops.leads = lambda: False  # between the save and the call
        await deciding.idle()
        deciding.stops.leads = lambda: True
        await mended(bench, seconds=5)
        assert (noting.targets, deciding.docket.cases) == ([], {})


async def test_nothing_is_called_for_a_fault_that_went_after_the_world_could_not_be_read_again(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        bench.side.read = after(2, ValueError("nobody reads this"), bench.side.read)  # type: ignore[method-assign]  # once
        await deciding.round()
        assert "nobody reads this" in deciding.loop.set_aside["cluster c1"]
        await mended(bench)
        assert (noting.targets, deciding.docket.cases) == ([], {})


async def test_nothing_is_called_under_a_pause_after_an_intent_that_was_never_called(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        await found(bench)
        bench.side.read = after(2, ValueError("nobody reads this"), bench.side.read)  # type: ignore[method-assign]  # once
        await bench.coordinator.deciding.round()
        await bench.coordinator.pause("wait", by="ann")
        for _ in range(3):
            world.clock.pass_(2)
            await bench.round()
        assert noting.targets == []
        await bench.coordinator.resume("go on", by="ann")
        await bench.round()
        assert len(noting.targets) == 2


async def test_nothing_is_called_for_a_fault_that_went_after_an_action_could_not_be_told_what_to_do(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)

    def spoilt() -> tuple[Displaced, ...]:
        raise KeyError("no past")

    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        real, deciding.looks.past = deciding.looks.past, spoilt
        await bench.round()
        deciding.looks.past = real
        assert len(deciding.loop.set_aside) == 2
        await mended(bench)
        assert (noting.targets, deciding.docket.cases) == ([], {})


async def test_what_was_saved_by_itself_before_the_store_went_away_is_not_called_for_a_fault_that_went(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        real, saves = deciding.docket.store.save, 0

        async def save(*turns: Turn, **more: Any) -> tuple[int, ...]:  # noqa: ANN401 (as a store takes them)
            nonlocal saves
            saves += 1
            if saves == 1:
                raise ValueError("not together")
            if saves == 3:
                raise Retry("no connection")
            return await real(*turns, **more)

        deciding.docket.store.save = save  # type: ignore[method-assign]  # one after the other, and then none
        await bench.round()
        assert deciding.loop.error == "no connection"
        await mended(bench, seconds=5)
        assert (noting.targets, deciding.docket.cases) == ([], {})


@pytest.mark.parametrize("way", ["stopping", "out of the lead", "paused", "aborted"])
async def test_what_a_person_or_the_end_says_during_the_save_is_heard_before_the_calls(tmp_path: Path, way: str) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        real, said, entered = deciding.docket.store.save, asyncio.Event(), asyncio.Event()

        async def save(*turns: Turn, **more: Any) -> tuple[int, ...]:  # noqa: ANN401 (as a store takes them)
            entered.set()
            await said.wait()
            return await real(*turns, **more)

        deciding.docket.store.save = save  # type: ignore[method-assign]  # it takes until somebody has spoken
        look = asyncio.create_task(deciding.round())
        await entered.wait()
        speaking: list[asyncio.Task[Any]] = []
        if way == "stopping":
            deciding.stops.stopping = True
        elif way == "out of the lead":
            deciding.stops.leads = lambda: False
        elif way == "paused":
            speaking = [asyncio.create_task(bench.coordinator.pause("wait", by="ann"))]
        else:
            speaking = [asyncio.create_task(deciding.abort(name, by="ann", reason="wait")) for name in deciding.docket.cases]
        await bench.settle()
        said.set()
        await asyncio.gather(look, *speaking)
        await deciding.idle()
        assert noting.targets == []
        runs = [case.run for case in deciding.docket.cases.values()]
        assert [run.steps[0].attempts for run in runs if run is not None] == [0, 0]
        assert not any(deciding.stops.is_aborted(name) for name in deciding.docket.cases)


async def test_a_pause_that_the_store_refuses_holds_nothing(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        await found(bench)
        store = bench.coordinator.store
        store.set_setting = after(1, Retry("no connection"), store.set_setting)  # type: ignore[method-assign]  # once
        with pytest.raises(Retry):
            await bench.coordinator.pause("wait", by="ann")
        await bench.round()
        assert len(noting.targets) == 2


async def test_nothing_is_decided_while_this_replica_does_not_lead(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        deciding.stops.leads = lambda: False
        await bench.round()
        assert all(case.run is None for case in deciding.docket.cases.values())
        deciding.stops.leads = lambda: True
        await bench.round()
        assert len(noting.targets) == 2


async def test_what_is_left_in_doubt_is_taken_back_before_this_process_ends(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        bench.side.read = after(2, ValueError("nobody reads this"), bench.side.read)  # type: ignore[method-assign]  # once
        await deciding.round()
        deciding.stops.stopping = True
        await deciding.run()
        runs = [case.run for case in (await deciding.docket.store.load_open()).cases]
        assert [run.steps[0].attempts for run in runs if run is not None] == [0, 0]
    assert noting.targets == []


async def test_a_poisoned_finding_holds_no_call_and_is_shown_for_as_long_as_it_is_there(tmp_path: Path) -> None:
    world, noting = irreversible(tmp_path)
    bad = replace(world.finding(broken(2), Kind.CHIP_LOST), also=cast("tuple[ChipId, ...]", 5))
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        deciding.looks.alerts = lambda _cluster: {bad.id: bad}
        with capture_logs() as lines:
            await found(bench)
            await bench.round()
        assert (len(noting.targets), set(deciding.loop.set_aside)) == (2, {f"finding {bad.id}"})
        assert [line["event"] for line in lines].count("findings cannot be folded together") == 1
        deciding.looks.alerts = lambda _cluster: {}
        world.clock.pass_(120)
        await bench.round()
        assert deciding.loop.set_aside == {}


@pytest.mark.parametrize("meanwhile", ["pause", "abort", "mended"])
async def test_what_is_said_while_the_store_is_asked_who_leads_is_heard_before_anything_is_called(
    tmp_path: Path, meanwhile: str
) -> None:
    world, noting = irreversible(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        asked, may_go_on, asks = asyncio.Event(), asyncio.Event(), deciding.stops.asks

        async def slowly() -> None:
            asked.set()
            await may_go_on.wait()
            await asks()

        deciding.stops.asks = slowly
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            tasks.create_task(deciding.round())
            await asked.wait()
            match meanwhile:
                case "pause":
                    tasks.create_task(bench.coordinator.pause("a storm", by="ann"))
                case "abort":
                    for name in deciding.docket.cases:
                        tasks.create_task(deciding.abort(name, by="ann", reason="no"))
                case _:
                    for number in range(2):
                        world.tell(world.finding(broken(number), Kind.CHIP_LOST, State.RESOLVED))
                    await bench.settle()
            for _ in range(9):
                await asyncio.sleep(0)
            may_go_on.set()
        await deciding.idle()
        assert noting.targets == []
