"""A whole incident on the bench: seen, marked, repaired, given back, closed; crashed at every step; paused; approved."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Wait
from sliceward.remediations.page import PageEvent
from sliceward.remediations.ports import NODE
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.ids import ChipId, HostId
from sliceward.topology.names import NAMES
from tests.builders import a_fleet
from tests.daemons.coordinator.bench import World, a_bench, the_fleet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sliceward.daemons.coordinator.deciding import Deciding
    from sliceward.playbooks.incident import Incident
    from sliceward.remediations.action import Target, Verb
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports
    from tests.daemons.coordinator.bench import Bench

PLAYBOOK = """
apiVersion: sliceward.dev/v1alpha1
kind: Playbook
metadata: {name: repair-chip}
spec:
  summary: A chip is broken on a cube without a gang.
  mode: Enforce
  trigger: {findings: [{kinds: [ChipLost]}]}
  correlate: {settle: 2s}
  budget: {hosts: {cluster: 64}}
  steps:
  - {name: mark, action: domain.mark}
  - {name: repair, action: host.repair, phase: repairing, timeout: 1h, with: {poll: 1s}}
  - {name: give-back, action: domain.give_back}
"""

HOST = "cube-3-host-05"
PART = ChipId("c1", HOST, 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, actions=ACTIONS)
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.fill(the_fleet())
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    return world


def marked(world: World) -> set[str]:
    return {
        node["metadata"]["name"]
        for node in world.cluster.of(NODE)
        for taint in node["spec"].get("taints") or []
        if taint["key"] == NAMES.out_of_service
    }


async def some_rounds(bench: Bench, count: int) -> None:
    for _ in range(count):
        bench.world.tell(bench.world.finding(PART, Kind.CHIP_LOST, _state(bench.world)))
        await bench.round()
        bench.world.clock.pass_(1)


def _state(world: World) -> State:
    repaired = any(repair.state == "done" for repair in world.provider._repairs.values())  # noqa: SLF001 (the fake's own state)
    return State.RESOLVED if repaired else State.FIRING


async def closed_incident(bench: Bench) -> dict[str, Any]:
    rows = (await bench.coordinator.store.history.incidents({"state": "closed"})).items
    assert len(rows) == 1, [row["phase"] for row in (await bench.coordinator.store.history.incidents()).items]
    return dict(rows[0])


async def test_a_broken_chip_is_marked_repaired_proven_and_given_back(world: World) -> None:
    async with a_bench(world) as bench:
        await some_rounds(bench, 8)
        (case,) = bench.coordinator.deciding.docket.cases.values()
        assert marked(world) == {f"cube-3-host-{n:02}" for n in range(16)}
        assert case.incident.phase == "repairing"
        assert [page.event for page in world.pager.pages] == [PageEvent.TRIGGER]
        world.provider.now_all("done")
        await some_rounds(bench, 10)
        row = await closed_incident(bench)
        assert row["how"] == "healed"
        assert marked(world) == set()
        assert [page.event for page in world.pager.pages] == [PageEvent.TRIGGER, PageEvent.RESOLVE]
        assert len({page.dedup_key for page in world.pager.pages}) == 1
        assert len(world.provider.requests) == 1


class _Crash(BaseException):
    """The process is gone."""


SAVES = 23
"""Writes of the whole incident: found by counting; a crash beyond the last one never comes, and the test says so."""


@pytest.mark.parametrize("save", range(1, SAVES + 1))
async def test_a_crash_before_any_save_reaches_the_same_end_with_one_repair(world: World, save: int) -> None:
    """What was done since the last write is done, its answer is lost; a new coordinator goes on from store and cluster."""
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        saves, real = 0, deciding.docket.save

        async def dying(*turns: Any) -> None:  # noqa: ANN401 (turns)
            nonlocal saves
            saves += 1
            if saves >= save:
                raise _Crash
            await real(*turns)

        deciding.docket.save = dying  # type: ignore[method-assign]  # the place where the process dies
        with contextlib.suppress(_Crash):
            await _until_closed(bench)
        assert saves >= save
        await deciding._calls.drop()  # noqa: SLF001 (nothing of a dead process goes on)
    async with a_bench(world) as bench:
        await _until_closed(bench)
        assert (await closed_incident(bench))["how"] == "healed"
    assert len(world.provider.requests) == 1
    assert marked(world) == set()
    assert [page.event for page in world.pager.delivered.values()] == [PageEvent.TRIGGER, PageEvent.RESOLVE]


async def _until_closed(bench: Bench) -> None:
    for number in range(40):
        if number > 10:
            bench.world.provider.now_all("done")
        await some_rounds(bench, 1)
        if not bench.coordinator.deciding.docket.cases and number > 12:
            return


async def test_a_lost_answer_of_the_provider_makes_no_second_repair(world: World) -> None:
    world.provider.fail_after = Retry("connection reset")
    async with a_bench(world) as bench:
        await some_rounds(bench, 10)
        assert world.provider.calls > 1
        assert len(world.provider.requests) == 1


async def test_a_pause_stops_harm_and_not_healing(world: World) -> None:
    async with a_bench(world) as bench:
        await bench.coordinator.pause("storm", by="ann")
        await some_rounds(bench, 6)
        assert marked(world) == set()
        (case,) = bench.coordinator.deciding.docket.cases.values()
        assert case.incident.phase == "held"
        assert "storm" in case.incident.why
        await bench.coordinator.resume("over", by="ann")
        await some_rounds(bench, 6)
        assert len(marked(world)) == 16
        world.provider.now_all("done")
        await bench.coordinator.pause("again", by="ann")
        await some_rounds(bench, 10)
        assert marked(world) == set()


async def test_a_pause_outlives_a_restart(world: World) -> None:
    async with a_bench(world) as bench:
        await bench.coordinator.pause("storm", by="ann")
    async with a_bench(world) as bench:
        await some_rounds(bench, 6)
        assert marked(world) == set()


async def test_in_mode_approve_nothing_is_done_before_a_persons_yes(world: World) -> None:
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS, modes=Mode.APPROVE)
    async with a_bench(world) as bench:
        await some_rounds(bench, 5)
        (case,) = bench.coordinator.deciding.docket.cases.values()
        assert (case.incident.phase, marked(world)) == ("waiting-for-approval", set())
        await bench.coordinator.deciding.approve(case.incident.id, by="ann", reason="go")
        await some_rounds(bench, 4)
        assert len(marked(world)) == 16
        with pytest.raises(Refused):
            await bench.coordinator.deciding.approve(case.incident.id, by="ann", reason="again")


async def test_in_mode_observe_nothing_is_done_at_all(world: World) -> None:
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS, modes=Mode.OBSERVE)
    async with a_bench(world) as bench:
        await some_rounds(bench, 8)
        assert world.cluster.writes == []
        assert world.provider.calls == 0


async def test_strangers_marks_and_a_persons_cordon_are_still_there_at_the_end(world: World) -> None:
    world.cluster.edit(NODE, HOST, {"spec": {"unschedulable": True, "taints": [{"key": "team/x", "effect": "NoSchedule"}]}})
    async with a_bench(world) as bench:
        await _until_closed(bench)
    node = world.cluster.see(NODE, HOST)
    assert node["spec"]["unschedulable"] is True
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["team/x"]


class _Bad:
    """An action that nobody expected to raise what it raises."""

    name, about, irreversible, harm, inverse = "domain.mark", "", False, True, ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = ()

    def __init__(self, real: Any) -> None:  # noqa: ANN401 (an action)
        self.real, self.bad_for = real, "cube-3"

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        if any(self.bad_for in host.name for host in target.domain):
            raise ZeroDivisionError("a mistake of ours")
        answer: Outcome = await self.real(target, ports)
        return answer


async def test_an_incident_that_raises_is_set_aside_by_name_and_the_others_go_on(world: World) -> None:
    other = "cube-2-host-01"
    world.cluster = type(world.cluster)("c1", now=world.clock())
    world.fill(_two_spares())
    world.actions = {**ACTIONS, "domain.mark": _Bad(ACTIONS["domain.mark"])}
    async with a_bench(world) as bench:
        world.tell(world.finding(ChipId("c1", other, 0), Kind.CHIP_LOST))
        await some_rounds(bench, 8)
        deciding = bench.coordinator.deciding
        assert {name.rsplit("-", 2)[0] for name in marked(world)} == {"cube-2"}
        bad = _incident_about(deciding, HOST)
        assert "ZeroDivisionError" in deciding.loop.set_aside[bad.id]
        assert _incident_about(deciding, other).id not in deciding.loop.set_aside


def _two_spares() -> Any:  # noqa: ANN401 (a builder)
    return a_fleet().with_cubes(4).with_gang("train", slices=2).on("cube-0", "cube-1")


def _incident_about(deciding: Deciding, host: str) -> Incident:
    return next(case.incident for case in deciding.docket.cases.values() if HostId("c1", host) in case.incident.domain)


class _Slow:
    """An action that never answers."""

    name, about, irreversible, harm, inverse = "domain.mark", "", False, True, ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = ()

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        del target, ports
        raise TimeoutError


class _Refusing(_Slow):
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        del target, ports
        raise Refused("forbidden")


@pytest.mark.parametrize(("action", "state"), [(_Slow(), "running"), (_Refusing(), "failed")])
async def test_a_time_out_is_unknown_and_only_a_no_is_failure(world: World, action: Any, state: str) -> None:  # noqa: ANN401 (an action)
    world.actions = {**ACTIONS, "domain.mark": action}
    async with a_bench(world) as bench:
        await some_rounds(bench, 6)
        (case,) = bench.coordinator.deciding.docket.cases.values()
        assert case.run is not None
        assert case.run.steps[0].state == state


async def test_a_finding_that_resolves_while_the_intent_is_saved_stops_the_call(world: World) -> None:
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        real = deciding.docket.save

        async def slow(*turns: Any) -> None:  # noqa: ANN401 (turns)
            await real(*turns)
            if any(turn.call is not None for turn in turns):
                world.tell(world.finding(PART, Kind.CHIP_LOST, State.RESOLVED))
                await bench.settle()

        deciding.docket.save = slow  # type: ignore[method-assign]  # the world changes while it writes
        await bench.round()
        world.clock.pass_(5)
        await bench.round()
        assert marked(world) == set()
        assert world.cluster.writes == []


async def test_a_coordinator_that_lost_the_lead_stops_and_does_nothing_more(world: World) -> None:
    async with a_bench(world) as old:
        await some_rounds(old, 2)
        async with a_bench(world):
            await some_rounds(old, 3)
            assert "epoch 1 is over" in old.coordinator.deciding.stops.fenced
            assert world.cluster.writes == []
            with pytest.raises(Refused, match="epoch 1 is over"):
                await old.coordinator.run()


async def test_after_a_stop_no_new_step_begins(world: World) -> None:
    async with a_bench(world) as bench:
        await some_rounds(bench, 1)
        bench.coordinator.stop()
        await some_rounds(bench, 5)
        assert world.cluster.writes == []


class _Watching(_Slow):
    """An action that notes how many calls are under way at once on any one host."""

    name = "domain.mark"

    def __init__(self) -> None:
        self.under_way: list[HostId] = []
        self.most_at_once = self.most_on_a_host = 0
        self.two = asyncio.Event()

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        del ports
        self.under_way += target.domain
        self.most_at_once = max(self.most_at_once, len(set(self.under_way)))
        self.most_on_a_host = max(self.most_on_a_host, *(self.under_way.count(host) for host in target.domain))
        if self.most_at_once > len(target.domain):
            self.two.set()
        await asyncio.wait_for(self.two.wait(), 30)
        for host in target.domain:
            self.under_way.remove(host)
        return Wait(timedelta(0), "again")


async def test_steps_run_side_by_side_but_never_two_on_one_host(world: World) -> None:
    world.cluster = type(world.cluster)("c1", now=world.clock())
    world.fill(_two_spares())
    action = _Watching()
    world.actions = {**ACTIONS, "domain.mark": action}
    async with a_bench(world) as bench:
        for host in ("cube-3-host-05", "cube-3-host-06", "cube-2-host-01"):
            world.tell(world.finding(ChipId("c1", host, 0), Kind.CHIP_LOST))
        for _ in range(5):
            await bench.round()
            world.clock.pass_(1)
        assert action.most_at_once == 32
        assert action.most_on_a_host == 1


async def test_a_cluster_that_cannot_be_read_does_not_stop_the_loop(world: World) -> None:
    async with a_bench(world) as bench:
        bench.side.presence.findings = None  # type: ignore[method-assign, assignment]  # spoilt, to be unreadable
        await bench.coordinator.deciding.round()
        assert "TypeError" in bench.coordinator.deciding.loop.set_aside["cluster c1"]


async def test_a_store_that_is_away_holds_everything_and_nothing_is_called(world: World) -> None:
    async with a_bench(world) as bench:
        await some_rounds(bench, 1)
        store = bench.coordinator.store

        async def away(*_: object, **__: object) -> tuple[int, ...]:
            raise Retry("the store did not answer")

        real, store.save = store.save, away  # type: ignore[method-assign]  # the store goes away while it is in use
        for _ in range(4):
            world.clock.pass_(1)
            await bench.coordinator.deciding.round()
            await bench.coordinator.deciding.idle()
        assert world.cluster.writes == []
        assert bench.coordinator.deciding.loop.error == "the store did not answer"
        store.save = real  # type: ignore[method-assign]  # and comes back
        await some_rounds(bench, 3)
        assert len(marked(world)) == 16
