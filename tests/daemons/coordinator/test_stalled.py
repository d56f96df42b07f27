"""A coordinator that was away past the time of a step looks once more before it gives up: a stall of our own ages nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.playbooks.run import StepState
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Done, Wait
from tests.daemons.coordinator.bench import a_bench
from tests.daemons.coordinator.test_deciding import PLAYBOOK, _Noting, a_world, broken

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.remediations.action import Target
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports


class _Waiting(_Noting):
    def __init__(self, *, harm: bool, irreversible: bool) -> None:
        super().__init__()
        self.harm, self.irreversible, self.there = harm, irreversible, False

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        await super().__call__(target, ports)
        return Done("there after all") if self.there else Wait(timedelta(seconds=1), "not yet")


@pytest.mark.parametrize("kind", ["harmless", "harm", "irreversible"])
async def test_one_more_look_is_due_to_every_kind_of_step(tmp_path: Path, kind: str) -> None:
    world, _ = a_world(tmp_path)
    act = _Waiting(harm=kind == "harm", irreversible=kind == "irreversible")
    world.actions = {**ACTIONS, "domain.mark": act}
    world.book = load_book({"mark.yaml": PLAYBOOK.replace("RATE", "9").replace("WINDOW", "1h")}, world.actions)
    world.tell(world.finding(broken(0), Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        for _ in range(4):
            await bench.round()
            world.clock.pass_(2)
    before = len(act.targets)
    assert before >= 1
    world.clock.pass_(7_200)
    act.there = True
    async with a_bench(world) as bench:
        for _ in range(4):
            world.tell(world.finding(broken(0), Kind.CHIP_LOST))
            await bench.round()
            world.clock.pass_(1)
        (case,) = bench.coordinator.deciding.docket.cases.values()
        assert len(act.targets) > before
        assert case.run is not None
        assert case.run.steps[0].state is StepState.DONE
