"""What a call answered is taken in, whatever else happens: a stop, a look that fails, a store that is away for another's look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Done
from sliceward.topology.errors import Retry
from tests.daemons.coordinator.bench import World, a_bench
from tests.daemons.coordinator.test_deciding import _Noting, a_world, broken
from tests.daemons.coordinator.test_uncalled import after, found

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sliceward.detectors.finding import Finding
    from sliceward.remediations.action import Target
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports
    from tests.daemons.coordinator.bench import Bench


def marked(folder: Path) -> World:
    """Give a world with one broken chip, whose hosts are marked as soon as it is asked for."""
    world, _ = a_world(folder)
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    return world


async def called(bench: Bench) -> None:
    """Let the call be made and answered; its answer waits."""
    await found(bench)
    await bench.coordinator.deciding.round()
    await bench.settle()


async def results(bench: Bench) -> list[str | None]:
    """Give what the store knows of the calls."""
    deciding = bench.coordinator.deciding
    (incident,) = deciding.docket.cases
    return [intent.result for intent in await deciding.docket.store.history.intents(incident)]


async def test_an_answer_that_waits_when_it_is_stopped_is_saved(tmp_path: Path) -> None:
    async with a_bench(marked(tmp_path)) as bench:
        await called(bench)
        assert await results(bench) == [None]
        bench.coordinator.deciding.stops.stopping = True
        await bench.coordinator.deciding.run()
        assert await results(bench) == ["done: noted"]


class _Slow(_Noting):
    """Answers its first call at once, and a later one when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        await super().__call__(target, ports)
        if len(self.targets) > 1:
            await self.go.wait()
        return Done("noted")


async def test_an_answer_that_waits_when_it_is_stopped_does_not_wait_for_another_call(tmp_path: Path) -> None:
    slow, world = _Slow(), marked(tmp_path)
    world.actions = {**ACTIONS, "domain.mark": slow}
    world.tell(world.finding(broken(1), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await called(bench)
        assert len(slow.targets) == 2
        deciding.stops.stopping = True
        running = asyncio.create_task(deciding.run())
        saved = asyncio.Event()
        deciding.docket.told = lambda _seq: saved.set()
        async with asyncio.timeout(60):
            await saved.wait()
        running.cancel()  # the patience with the other one is over
        await asyncio.wait([running])
        found = [await deciding.docket.store.history.intents(name) for name in deciding.docket.cases]
        assert sorted(str(intent.result) for (intent,) in found) == ["None", "done: noted"]


async def test_an_answer_is_saved_where_the_findings_cannot_be_asked_for(tmp_path: Path) -> None:
    def spoilt(_cluster: str) -> Mapping[str, Finding]:
        raise KeyError("nobody expected that")

    async with a_bench(marked(tmp_path)) as bench:
        await called(bench)
        bench.coordinator.deciding.looks.alerts = spoilt
        await bench.round()
        assert await results(bench) == ["done: noted"]
        assert "nobody expected that" in bench.coordinator.deciding.loop.set_aside["cluster c1"]


async def test_an_answer_is_saved_where_the_cluster_cannot_be_read(tmp_path: Path) -> None:
    async with a_bench(marked(tmp_path)) as bench:
        await called(bench)
        bench.side.read = after(1, ValueError("nobody reads this"), bench.side.read)  # type: ignore[method-assign]  # once
        await bench.coordinator.deciding.go_on()
        assert await results(bench) == ["done: noted"]


async def test_an_answer_that_no_look_had_taken_out_yet_outlives_one_that_came_to_nothing(tmp_path: Path) -> None:
    async with a_bench(marked(tmp_path)) as bench:
        deciding = bench.coordinator.deciding
        await called(bench)
        deciding.docket.store.started = after(1, Retry("no connection"), deciding.docket.store.started)  # type: ignore[method-assign]  # once
        bench.world.clock.pass_(-60)  # so that the starts are read again
        await deciding.round()
        assert deciding.loop.error == "no connection"
        await deciding.round()
        assert await results(bench) == ["done: noted"]


async def test_an_answer_that_cannot_be_taken_in_keeps_nobody_from_ending(tmp_path: Path) -> None:
    async def away(*_given: object) -> None:
        raise Retry("no connection")

    async with a_bench(marked(tmp_path)) as bench:
        deciding = bench.coordinator.deciding
        await called(bench)
        deciding.docket.store.started = away  # type: ignore[method-assign,assignment]  # for good
        bench.world.clock.pass_(-60)  # so that the starts are read again
        deciding.stops.stopping = True
        async with asyncio.timeout(60):
            await deciding.run()
        assert await results(bench) == [None]
