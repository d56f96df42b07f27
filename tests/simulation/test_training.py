"""How fast a simulated gang goes, and what it keeps when it is stopped."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from sliceward.simulation.hosts import HostState
from sliceward.simulation.hosts.state import UNUSABLE
from sliceward.simulation.training import Program, Training, pace_of
from sliceward.simulation.world import Pacing, running_hosts
from sliceward.topology.generations import GENERATIONS
from sliceward.topology.plan import fleet_of
from sliceward.topology.planned import ClusterPlan, plans_from_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from sliceward.simulation.hosts import SimulatedHost
    from sliceward.topology.gangs import Gang

ONE_POOL = """
clusters:
  - name: c1
    generation: v6e
    pools: [{name: pool-0, topology: 4x4}]
    gangs: [{name: llm, namespace: ml, cubes: [pool-0]}]
"""
TPU7X = GENERATIONS["tpu7x"]


def a_state(change: Callable[[HostState], object] = lambda _state: None) -> HostState:
    state = HostState(node="n", generation=TPU7X, chips=4, instance_id="1", boot_id="b")
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "pace"),
    [
        pytest.param(lambda _state: None, 1.0, id="all well"),
        pytest.param(lambda state: state.links.update({(0, 1): 7}), 0.6, id="a sick link"),
        pytest.param(lambda state: state.links.update({(0, 1): 5}), 1.0, id="a transient problem"),
        pytest.param(lambda state: state.links.update({(0, 1): UNUSABLE}), 0.0, id="an unusable link"),
        pytest.param(lambda state: state.throttle.update({2: 6}), 0.4, id="a throttled chip"),
        pytest.param(lambda state: state.missing.add(3), 0.0, id="a missing chip"),
        pytest.param(lambda state: setattr(state, "is_dead", True), 0.0, id="a dead host"),
    ],
)
def test_the_pace_is_that_of_the_slowest_part(change: Callable[[HostState], object], pace: float) -> None:
    assert pace_of(a_state(change)) == pytest.approx(pace)


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


async def go(training: Training, gang: Gang, hosts: dict[str, SimulatedHost], clock: Clock, *, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        clock.seconds += 0.1
        await training.round(gang, hosts, now=clock.seconds, passed=0.1)


def hosts_up(plan: ClusterPlan, folder: Path) -> AbstractAsyncContextManager[dict[str, SimulatedHost]]:
    return running_hosts(plan, folder, folder, Pacing().reporter)


def a_plan() -> ClusterPlan:
    return plans_from_yaml(ONE_POOL)[0]


async def test_a_gang_that_is_told_to_end_saves_and_goes_on_where_it_saved(tmp_path: Path) -> None:
    plan, clock = a_plan(), Clock()
    (gang,) = fleet_of(plan, clock.now()).gangs.values()
    training = Training(gang.id, Program(rate=10, checkpoint_every=1000, start_up=0.5), clock.now, {})
    async with hosts_up(plan, tmp_path) as hosts:
        await go(training, gang, hosts, clock, seconds=3)
        before = training.step
        ending = replace(gang, members=tuple(replace(member, terminating=True) for member in gang.members))
        await go(training, ending, hosts, clock, seconds=1)
        assert not training.stepping
        assert training.saved == int(before)
        await go(training, gang, hosts, clock, seconds=1)
    assert training.step > before
    assert training.lost == 0


@pytest.mark.parametrize("slices", [1, 2])
async def test_each_host_knows_how_many_slices_its_gang_has(tmp_path: Path, slices: int) -> None:
    pools = [f"pool-{n}" for n in range(slices)]
    shown = ", ".join(f"{{name: {pool}, topology: 2x4}}" for pool in pools)
    gang = f"{{name: llm, namespace: ml, slices: {slices}, cubes: [{', '.join(pools)}]}}"
    plan = plans_from_yaml(f"clusters: [{{name: c1, generation: v6e, pools: [{shown}], gangs: [{gang}]}}]")[0]
    clock = Clock()
    (running,) = fleet_of(plan, clock.now()).gangs.values()
    training = Training(running.id, Program(), clock.now, {})
    async with hosts_up(plan, tmp_path) as hosts:
        await go(training, running, hosts, clock, seconds=0.1)
        assert {host.state.job.slices for host in hosts.values() if host.state.job is not None} == {slices}


async def test_a_gang_that_loses_a_host_does_the_steps_since_its_checkpoint_again(tmp_path: Path) -> None:
    plan, clock = a_plan(), Clock()
    (gang,) = fleet_of(plan, clock.now()).gangs.values()
    training = Training(gang.id, Program(rate=10, checkpoint_every=15, start_up=0.0), clock.now, {})
    async with hosts_up(plan, tmp_path) as hosts:
        await go(training, gang, hosts, clock, seconds=2)
        lost = next(iter(hosts.values()))
        lost.state.is_dead = True
        await go(training, gang, hosts, clock, seconds=1)
        done = int(training.step)
        await go(training, replace(gang, members=gang.members[1:]), hosts, clock, seconds=0.2)
        lost.state.is_dead = False
        await go(training, gang, hosts, clock, seconds=0.2)
    assert training.saved == 15
    assert training.lost == done - 15 > 0
    assert training.restarts == 1
