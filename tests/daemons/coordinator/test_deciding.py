"""What the deciding loop gives to decisions and to actions: starts of this very round, lost hosts, hosts with other incidents."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from sliceward.daemons.coordinator.aside import ASIDE_FOR
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Done, Wait
from sliceward.topology.errors import Retry
from sliceward.topology.ids import ChipId, HostId
from tests.builders import a_fleet
from tests.daemons.coordinator.bench import World, a_bench

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sliceward.daemons.store import Store
    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.action import Target, Verb
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports
    from tests.daemons.coordinator.bench import Bench

PLAYBOOK = """
apiVersion: sliceward.dev/v1alpha1
kind: Playbook
metadata: {name: mark}
spec:
  summary: A chip is broken.
  mode: Enforce
  trigger: {findings: [{kinds: [ChipLost, HostLost]}]}
  correlate: {settle: 1s}
  budget: {hosts: {cluster: 64}, runs: {cluster: 9}, rate: {max: RATE, window: WINDOW}, cooldown: 0s}
  steps: [{name: mark, action: domain.mark, timeout: 1h}]
"""


class _Noting:
    """Stands for domain.mark and keeps what it was given."""

    name, about, irreversible, harm, inverse = "domain.mark", "", False, True, ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = ()

    def __init__(self) -> None:
        self.targets: list[Target] = []

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        del ports
        self.targets.append(target)
        return Done("noted")


def a_world(folder: Path, *, rate: int = 9, window: str = "1h") -> tuple[World, _Noting]:
    noting = _Noting()
    world = World(folder, actions={**ACTIONS, "domain.mark": noting})
    text = PLAYBOOK.replace("RATE", str(rate)).replace("WINDOW", window)
    world.book = load_book({"mark.yaml": text}, ACTIONS)
    world.fill(a_fleet().with_cubes(4))
    return world, noting


async def rounds(bench: Bench, count: int = 4) -> None:
    for _ in range(count):
        await bench.round()
        bench.world.clock.pass_(1)


def broken(number: int) -> ChipId:
    return ChipId("c1", f"cube-{number}-host-05", 0)


async def test_a_rate_holds_among_runs_that_begin_in_one_round(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path, rate=2)
    for number in range(4):
        world.tell(world.finding(broken(number), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        await rounds(bench)
    assert len(noting.targets) == 2


async def test_a_window_longer_than_a_day_is_looked_at_whole(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path, rate=1, window="72h")
    async with a_bench(world) as bench:
        world.tell(world.finding(broken(0), Kind.CHIP_LOST))
        await rounds(bench)
        world.tell(world.finding(broken(0), Kind.CHIP_LOST, State.RESOLVED))
        await rounds(bench)
        world.clock.pass_(48 * 3600)
        world.tell(world.finding(broken(1), Kind.CHIP_LOST))
        await rounds(bench)
    assert len(noting.targets) == 1


async def test_an_action_is_told_which_hosts_are_lost_and_which_have_another_incident(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path)
    lost = HostId("c1", "cube-1-host-03")
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    world.tell(world.finding(lost, Kind.HOST_LOST))
    async with a_bench(world) as bench:
        await rounds(bench)
    about = {target.part: target for target in noting.targets}
    assert about[broken(0)].lost == {lost}
    assert {host.name.rsplit("-", 2)[0] for host in about[broken(0)].sick} == {"cube-1"}
    assert {host.name.rsplit("-", 2)[0] for host in about[lost].sick} == {"cube-0"}


async def test_a_finding_that_is_not_sure_any_more_proves_no_host_dead(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path)
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    world.tell(world.finding(HostId("c1", "cube-1-host-03"), Kind.HOST_LOST, State.UNKNOWN))
    async with a_bench(world) as bench:
        await rounds(bench)
    assert noting.targets[0].lost == frozenset()


@pytest.mark.parametrize(("state", "acted"), [(State.FIRING, 0), (State.UNKNOWN, 0), (State.RESOLVED, 1)])
async def test_nothing_is_done_to_a_host_whose_identity_is_or_may_be_in_doubt(tmp_path: Path, state: State, acted: int) -> None:
    world, noting = a_world(tmp_path)
    world.tell(world.finding(broken(0), kind=Kind.CHIP_LOST))
    world.tell(world.finding(broken(0).host_id, kind=Kind.IDENTITY_CONFLICT, state=state))
    async with a_bench(world) as bench:
        await rounds(bench)
    assert len(noting.targets) == acted


class _Planning(_Noting):
    """Plans onto the first spare cube that nobody was promised when it was asked, and takes a moment for it."""

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        await super().__call__(target, ports)
        free = [name for name in ("cube-2", "cube-3") if HostId("c1", f"{name}-host-00") not in target.reserved]
        await asyncio.sleep(0.01)
        return Done("planned", {"planned_hosts": [f"{free[0]}-host-{number:02}" for number in range(16)]})


class _Waiting(_Noting):
    """Is never done, so that its run goes on."""

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        await super().__call__(target, ports)
        return Wait(timedelta(hours=1), "resting")


async def test_two_plans_made_in_the_same_moment_do_not_promise_the_same_hosts(tmp_path: Path) -> None:
    world, _ = a_world(tmp_path)
    world.actions = {**ACTIONS, "domain.mark": _Planning(), "node.cordon": _Waiting()}
    text = PLAYBOOK.replace("RATE", "9").replace("WINDOW", "1h").replace("1h}]", "1h}, {name: rest, action: node.cordon}]")
    world.book = load_book({"mark.yaml": text}, ACTIONS)
    world.fill(a_fleet().with_cubes(4).with_gang("one").on("cube-0").with_gang("two").on("cube-1"))
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    world.tell(world.finding(broken(1), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        await rounds(bench, 6)
        runs = [case.run for case in bench.coordinator.deciding.docket.cases.values()]
    promised = [{host.name.rsplit("-", 2)[0] for host in run.promised} for run in runs if run is not None]
    assert sorted(promised, key=str) == [{"cube-2"}, {"cube-3"}]


@dataclass
class _Counting:
    """A store that tells how many turns each save held."""

    real: Store
    saves: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever a store has)
        return getattr(self.real, name)

    async def save(self, *turns: Turn, **more: Any) -> tuple[int, ...]:  # noqa: ANN401 (as a store takes them)
        self.saves.append(len(turns))
        return await self.real.save(*turns, **more)


def counted(bench: Bench) -> list[int]:
    store = _Counting(bench.coordinator.deciding.docket.store)
    bench.coordinator.deciding.docket.store = cast("Store", store)
    return store.saves


def two_steps(world: World, *, more: str = "") -> _Noting:
    """Let the playbook rest after it has marked; gives what notes the rest."""
    resting = _Waiting()
    world.actions = {**world.actions, "node.cordon": resting}
    text = PLAYBOOK.replace("RATE", "9").replace("WINDOW", "1h").replace("cooldown: 0s", f"cooldown: 0s{more}")
    text = text.replace("settle: 1s", "settle: 0s").replace("1h}]", "1h}, {name: rest, action: node.cordon, timeout: 1h}]")
    world.book = load_book({"mark.yaml": text}, ACTIONS)
    return resting


async def test_all_that_a_round_comes_to_is_one_transaction(tmp_path: Path) -> None:
    """Four incidents are found, begun or held for the budget of one run, in one."""
    world, noting = a_world(tmp_path)
    two_steps(world)
    world.book = load_book({"mark.yaml": PLAYBOOK.replace("RATE", "1").replace("WINDOW", "1h").replace("1s", "0s")}, ACTIONS)
    for number in range(4):
        world.tell(world.finding(broken(number), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        saves = counted(bench)
        await bench.settle()
        await bench.coordinator.deciding.round()
        phases = sorted(case.incident.phase for case in bench.coordinator.deciding.docket.cases.values())
        assert phases == ["acting", "held", "held", "held"]
        assert saves == [8], "each is found, and decided about"
        await bench.coordinator.deciding.idle()
    assert len(noting.targets) == 1


async def test_a_run_goes_on_as_soon_as_its_step_has_answered_and_not_with_the_next_round(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path)
    resting = two_steps(world)
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        saves = counted(bench)
        await bench.settle()
        await bench.coordinator.deciding.round()
        await bench.coordinator.deciding.idle()
        assert (len(noting.targets), len(resting.targets)) == (1, 1)
        assert saves == [2, 2, 1], "found and begun; done and the next one begun; waiting"


async def test_what_several_calls_answered_is_taken_in_together(tmp_path: Path) -> None:
    world, _ = a_world(tmp_path)
    resting = two_steps(world)
    for number in range(3):
        world.tell(world.finding(broken(number), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        saves = counted(bench)
        await bench.settle()
        await bench.coordinator.deciding.round()
        await bench.settle()
        await bench.coordinator.deciding.go_on()
        assert saves == [6, 6], "three answers, and the three intents that follow"
        await bench.coordinator.deciding.idle()
    assert len(resting.targets) == 3


async def test_the_budget_of_an_action_holds_among_runs_that_come_to_it_together(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path)
    resting = two_steps(world, more=", actions: {node.cordon: 1}")
    for number in range(3):
        world.tell(world.finding(broken(number), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        await rounds(bench)
    assert (len(noting.targets), len(resting.targets)) == (3, 1)


async def test_an_answer_that_could_not_be_saved_is_asked_for_again_under_the_same_name(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path)
    resting = two_steps(world)
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await bench.settle()
        await deciding.round()
        real, deciding.docket.store = deciding.docket.store, cast("Store", _Away(deciding.docket.store))
        await deciding.idle()
        assert deciding.loop.error == "no connection"
        deciding.docket.store = real
        await rounds(bench)
    assert [target.operation for target in noting.targets] == [noting.targets[0].operation] * 2
    assert len(resting.targets) == 1


@dataclass
class _Away:
    """A store that takes nothing."""

    real: Store

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever a store has)
        return getattr(self.real, name)

    async def save(self, *_turns: Turn, **_more: Any) -> tuple[int, ...]:  # noqa: ANN401 (as a store takes them)
        raise Retry("no connection")


async def test_a_decision_that_cannot_be_saved_stops_neither_the_others_nor_is_called(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path)
    for number in range(2):
        world.tell(world.finding(broken(number), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await bench.round()
        bad = next(case.incident.id for case in deciding.docket.cases.values() if case.incident.part == broken(0))
        real = deciding.docket.store.save

        async def save(*turns: Turn, **more: Any) -> tuple[int, ...]:  # noqa: ANN401 (as a store takes them)
            if any(turn.incident.id == bad for turn in turns):
                raise ValueError("no store takes this")
            return await real(*turns, **more)

        deciding.docket.store.save = save  # type: ignore[method-assign]  # one incident is poisoned
        world.clock.pass_(2)
        await bench.round()
        assert {target.part for target in noting.targets} == {broken(1)}
        assert deciding.loop.set_aside == {bad: "ValueError: no store takes this"}


def unkept(world: World, number: int) -> Finding:
    """Give a finding with a text that no store keeps, as it would be if every door before had let it through."""
    return replace(world.finding(broken(number), Kind.CHIP_LOST), text="bad \ud800 note")


async def test_a_finding_that_cannot_be_saved_is_set_aside_by_name_and_the_others_are_healed(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path)
    bad = unkept(world, 2)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        deciding.looks.alerts = lambda _cluster: {bad.id: bad}
        world.tell(world.finding(broken(0), Kind.CHIP_LOST))
        world.tell(world.finding(broken(1), Kind.CHIP_LOST))
        await rounds(bench)
        assert {target.part for target in noting.targets} == {broken(0), broken(1)}
        assert set(deciding.loop.set_aside) == {f"finding {bad.id}"}
        assert deciding.loop.error == ""
        world.clock.pass_(ASIDE_FOR.total_seconds())
        deciding.looks.alerts = lambda _cluster: {}
        await rounds(bench)
        assert deciding.loop.set_aside == {}


async def test_an_incident_whose_news_cannot_be_saved_is_left_alone_until_they_can(tmp_path: Path) -> None:
    world, noting = a_world(tmp_path)
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        await bench.round()
        (incident,) = deciding.docket.cases
        bad = unkept(world, 0)
        deciding.looks.alerts = lambda _cluster: {bad.id: bad}
        await rounds(bench)
        assert (noting.targets, set(deciding.loop.set_aside)) == ([], {incident})
        deciding.looks.alerts = lambda _cluster: {}
        world.clock.pass_(ASIDE_FOR.total_seconds())
        await rounds(bench)
        assert (len(noting.targets), set(deciding.loop.set_aside)) == (1, set())


@dataclass
class _Deaf:
    """A store that writes, and whose first answer is lost."""

    real: Store
    lost: bool = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever a store has)
        return getattr(self.real, name)

    async def save(self, *turns: Turn, **more: Any) -> tuple[int, ...]:  # noqa: ANN401 (as a store takes them)
        numbers = await self.real.save(*turns, **more)
        if not self.lost:
            self.lost = True
            raise Retry("no answer in time")
        return numbers


async def test_a_new_incident_whose_saving_was_never_confirmed_is_taken_up_and_closed(tmp_path: Path) -> None:
    world, _ = a_world(tmp_path)
    async with a_bench(world) as bench:
        deciding = bench.coordinator.deciding
        deciding.docket.store = cast("Store", _Deaf(deciding.docket.store))
        world.tell(world.finding(broken(0), Kind.CHIP_LOST))
        await bench.round()
        assert not deciding.docket.cases
        world.tell(world.finding(broken(0), Kind.CHIP_LOST, State.RESOLVED))
        await rounds(bench)
        assert not (await deciding.docket.store.load_open()).cases
