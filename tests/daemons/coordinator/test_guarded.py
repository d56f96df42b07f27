"""A leader that was frozen in the middle of a call wakes up and writes nothing more, wherever it was."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.coordinator.guarded import Guard, Turns
from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.kubernetes.calls import WRITES_AT_ONCE
from sliceward.remediations.outcome import Done
from sliceward.remediations.ports import NODE, POD, Ports
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.ids import HostId
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_deciding import _Noting
from tests.daemons.coordinator.test_sweep import HOST, an_incident_that_is_over, mark
from tests.daemons.coordinator.test_uncalled import found, irreversible, mended
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, marked, some_rounds
from tests.fakes.cluster import FakeCluster
from tests.fakes.provider import FakeProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from sliceward.remediations.action import Target
    from sliceward.remediations.outcome import Outcome
    from tests.daemons.coordinator.bench import Bench

PART_HOST = HostId("c1", "cube-3-host-05")
THEN = datetime(2026, 11, 22, tzinfo=UTC)
HOSTS_OF_A_CUBE = 16


class Lead:
    """Holds until it is taken away, or for ``looks`` looks at it."""

    def __init__(self, *, looks: int | None = None) -> None:
        self.held, self.looks = True, looks

    def __call__(self) -> bool:
        if self.looks is not None:
            self.held, self.looks = self.looks > 0, self.looks - 1
        return self.held


class NotedHosts:
    """Agents that hear and never answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, host: HostId, request: str, *, request_id: str, deadline: datetime, facts: Mapping[str, Any]) -> None:
        del request, request_id, deadline, facts
        self.asked.append(host.name)

    async def answer(self, request_id: str) -> None:
        del request_id


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, actions=ACTIONS)
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.fill(the_fleet())
    return world


async def test_a_cube_is_not_marked_any_further_once_the_lead_is_gone_and_the_intent_stands(world: World) -> None:
    lead = Lead(looks=3 + 3)  # deciding, after the save, before the call, and before three of its writes
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        bench.coordinator.deciding.stops.leads = lead
        await some_rounds(bench, 4)
        (case,) = bench.coordinator.deciding.docket.cases.values()
        assert len(marked(world)) == 3
        assert case.run is not None
        assert case.run.open, "a lead that is gone is no failure of the step"
        (intent,) = await bench.coordinator.store.history.intents(case.incident.id)
        assert intent.result is None
        lead.held, lead.looks = True, None
        await some_rounds(bench, 4)
        assert len(marked(world)) == HOSTS_OF_A_CUBE


async def test_an_orphaned_mark_is_not_given_back_by_who_does_not_lead_any_more(world: World) -> None:
    world.book = load_book({"repair-chip.yaml": PLAYBOOK.replace("Enforce", "Observe")}, ACTIONS)
    async with a_bench(world) as bench:
        mark(world, await an_incident_that_is_over(bench))
        await bench.settle()
        lead = Lead()
        bench.coordinator.deciding.stops.leads = lead
        lead.held = False
        assert await bench.coordinator.sweep.round() == 0
        assert marked(world) == {HOST}
        lead.held = True
        assert await bench.coordinator.sweep.round() == 1


WRITES: dict[str, Callable[[Ports], Awaitable[object]]] = {
    "create": lambda ports: ports.cluster.create(POD, {"metadata": {"name": "p"}}, "default"),
    "patch": lambda ports: ports.cluster.patch(NODE, "n", {"metadata": {"labels": {"a": "b"}}}),
    "delete": lambda ports: ports.cluster.delete(NODE, "n"),
    "request": lambda ports: ports.hosts.ask(PART_HOST, "checkpoint", request_id="r", deadline=THEN, facts={}),
    "repair": lambda ports: ports.provider.request_repair(PART_HOST, instance_id="i", behavior="", text="", operation_id="o"),
}


@pytest.mark.parametrize("held", [True, False], ids=["leads", "leads no more"])
@pytest.mark.parametrize("name", WRITES)
async def test_every_write_of_every_port_is_looked_at_and_no_read_is(name: str, *, held: bool) -> None:
    cluster, hosts, provider, lead = FakeCluster(), NotedHosts(), FakeProvider(), Lead()
    cluster.put(NODE, {"metadata": {"name": "n"}})
    guard = Guard(lead, Turns().of("c1"))
    ports = guard.ports(Ports(cluster, hosts, provider))
    lead.held = held
    if held:
        await WRITES[name](ports)
    else:
        with pytest.raises(Refused, match="lead ran out"):
            await WRITES[name](ports)
    assert (len(cluster.writes) + len(hosts.asked) + provider.calls, bool(guard.held)) == (held, not held)
    assert await ports.cluster.list(POD) is not None
    assert await ports.cluster.get(NODE, "none") is None
    assert await ports.hosts.answer("r") is None
    assert await ports.provider.repair("none") is None


async def test_writes_that_waited_for_their_turn_while_the_process_was_frozen_do_not_go_out() -> None:
    cluster, lead, thaw = FakeCluster(), Lead(), asyncio.Event()
    several = 3 * WRITES_AT_ONCE
    cluster.put_all(NODE, ({"metadata": {"name": f"n{number}"}} for number in range(several)))

    async def slow(*_: object) -> None:
        await thaw.wait()

    cluster.between = slow
    turns = Turns()

    async def patch(number: int) -> None:
        ports = Guard(lead, turns.of("c1")).ports(Ports(cluster, NotedHosts(), FakeProvider()))
        await ports.cluster.patch(NODE, f"n{number}", {"metadata": {"labels": {"a": "b"}}})

    calls = [asyncio.create_task(patch(number)) for number in range(several)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lead.held = False
    thaw.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert len(cluster.writes) == WRITES_AT_ONCE, "those were on their way"
    assert sum(isinstance(answer, Refused) for answer in answers) == several - WRITES_AT_ONCE


async def test_a_cluster_whose_writes_hang_keeps_no_turn_of_another() -> None:
    turns = Turns()
    for _ in range(WRITES_AT_ONCE):
        await turns.of("c1").acquire()
    async with asyncio.timeout(timedelta(seconds=30).total_seconds()), turns.of("c2"):
        assert turns.of("c1").locked()


class Writing(_Noting):
    """Stands for domain.mark, cannot be taken back, and writes once."""

    irreversible = True

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        del target
        await ports.cluster.patch(NODE, PART_HOST.name, {"metadata": {"labels": {"was": "called"}}})
        return Done("written")


@asynccontextmanager
async def held(bench: Bench, way: str) -> AsyncIterator[None]:
    """Let no write go out, in one way or another."""
    deciding, questions = bench.coordinator.deciding, count(1)
    asks, turns = deciding.stops.asks, deciding.looks._turns.of("c1")  # noqa: SLF001 (as if writes of others hung)

    async def unsaid() -> None:
        if next(questions) == 1 or way == "no turn came":
            return  # the look before the calls
        if way == "nobody knew":
            raise Retry("nobody can say who leads")
        await asyncio.Event().wait()

    if way == "no turn came":
        for _ in range(WRITES_AT_ONCE):
            await turns.acquire()
    if way != "nobody knew":
        soon(bench)
    deciding.stops.asks = unsaid
    yield
    deciding.stops.asks = asks
    while way == "no turn came" and turns.locked():
        for _ in range(WRITES_AT_ONCE):
            turns.release()


def soon(bench: Bench) -> None:
    """Let the time of a call be up soon."""
    looks = bench.coordinator.deciding.looks
    looks.rules = replace(looks.rules, call_timeout=timedelta(milliseconds=30))


@pytest.mark.parametrize("then", ["the fault goes", "a pause", "an abort"])
@pytest.mark.parametrize("way", ["nobody knew", "no answer came", "no turn came"])
async def test_what_could_not_write_for_want_of_a_word_was_not_called_and_is_no_going_on_with_something_begun(
    tmp_path: Path, way: str, then: str
) -> None:
    world, _ = irreversible(tmp_path)
    world.actions = {**ACTIONS, "domain.mark": Writing()}
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        async with held(bench, way):
            await deciding.round()
            await deciding.idle()
        assert len(deciding.loop.set_aside) == len(deciding.docket.cases) == 2
        if then == "the fault goes":
            await mended(bench)
            assert deciding.docket.cases == {}
        elif then == "a pause":
            await bench.coordinator.pause("wait", by="ann")
        else:
            for name in deciding.docket.cases:
                await deciding.abort(name, by="ann", reason="no")
        for _ in range(3):
            world.clock.pass_(5)
            await bench.round()
        assert (world.cluster.writes, deciding.docket.in_doubt) == ([], False)
        if then == "a pause":
            runs = [case.run for case in deciding.docket.cases.values()]
            assert [(run.committed, run.steps[0].attempts) for run in runs if run is not None] == [(False, 0)] * 2
            await bench.coordinator.resume("over", by="ann")
            await bench.round()
            assert len(world.cluster.writes) == 2


async def marks_some_first(bench: Bench, asks: Callable[[], Awaitable[None]], *, why: str) -> None:
    """See three hosts of a cube marked before ``asks`` stops the writes, the intent stand with no result, and the others follow."""
    world, deciding = bench.world, bench.coordinator.deciding
    deciding.stops.asks = asks
    await bench.settle()
    while not marked(world):
        await deciding.round()
        await deciding.idle()
        world.clock.pass_(1)
    assert len(marked(world)) == 3
    (case,) = deciding.docket.cases.values()
    (intent,) = await bench.coordinator.store.history.intents(case.incident.id)
    assert (intent.result, deciding.docket.in_doubt) == (None, False)
    assert why in deciding.loop.set_aside[case.incident.id]
    await some_rounds(bench, 4)
    assert len(marked(world)) == HOSTS_OF_A_CUBE


async def test_where_one_write_went_out_before_nobody_knew_who_leads_the_intent_stands(world: World) -> None:
    asked = count(1)

    async def asks() -> None:
        if 1 + 3 < next(asked) <= 1 + HOSTS_OF_A_CUBE:  # one is before the action, the others before its writes
            raise Retry("nobody can say who leads")

    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        await marks_some_first(bench, asks, why="nobody can say")


async def test_what_a_write_did_whose_answer_did_not_come_in_time_is_unknown_and_was_called(tmp_path: Path) -> None:
    world, _ = irreversible(tmp_path)
    world.actions = {**ACTIONS, "domain.mark": Writing()}

    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    world.cluster.between = hangs
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await found(bench)
        soon(bench)
        await deciding.round()
        await deciding.idle()
        steps = [case.run.steps[0] for case in deciding.docket.cases.values() if case.run is not None]
        assert ["unknown" in step.text for step in steps] == [True, True]
        assert ([step.attempts for step in steps], deciding.docket.in_doubt) == ([1, 1], False)
