"""A restart at any step of the shipped playbooks reaches the same end, against the emulated Kubernetes and the real store.

The coordinator is killed, not stopped: from one instant on nothing of it reaches the world. A new one begins on the same
store and cluster. The invariants are looked at on every change meanwhile (`tests.flows.invariants`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from tests.flows.incident import OnceAt, an_incident, cubes, small_pools

if TYPE_CHECKING:
    from pathlib import Path

PLAYBOOK = load_book(shipped(), ACTIONS).named("ici-link-in-cube")
assert PLAYBOOK is not None
STEPS = {step.spec.name: step.spec.action for step in PLAYBOOK.steps}
IRREVERSIBLE = [step.spec.name for step in PLAYBOOK.steps if step.irreversible]
MOMENTS = ("before intent", "after intent", "before call", "after call", "before answer", "after answer")
OUTSIDE_OF_STEPS = {
    f"{when} {what}"
    for when in ("before", "after")
    for what in ("save of observing", "save of closed", "page trigger", "page resolve")
}


def moments_of(step: str) -> set[str]:
    return {f"{moment} of {STEPS[step] if 'call' in moment else step}" for moment in MOMENTS}


@pytest.mark.parametrize("step", STEPS)
async def test_a_coordinator_that_dies_at_every_moment_of_one_step_reaches_the_same_end(tmp_path: Path, step: str) -> None:
    wanted = moments_of(step)
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(wanted.__contains__)
        await incident.see_through(strikes)
        assert set(strikes.struck) == wanted
        assert incident.lives == len(wanted) + 1
        await incident.check()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_coordinator_that_dies_at_one_moment_of_every_step_reaches_the_same_end(tmp_path: Path, moment: str) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(lambda now: now.startswith(f"{moment} of"))
        await incident.see_through(strikes)
        assert len(strikes.struck) == len(STEPS)
        await incident.check()


@pytest.mark.parametrize("step", IRREVERSIBLE)
@pytest.mark.parametrize("moment", ["after intent", "after call", "after answer"])
async def test_one_death_at_an_irreversible_step_makes_no_second_call(tmp_path: Path, step: str, moment: str) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(lambda now: now in moments_of(step) and now.startswith(moment))
        await incident.see_through(strikes)
        assert len(strikes.struck) == 1
        await incident.check()


async def test_a_coordinator_that_dies_at_opening_closing_and_paging_pages_once_each(tmp_path: Path) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(OUTSIDE_OF_STEPS.__contains__)
        await incident.see_through(strikes)
        assert set(strikes.struck) == OUTSIDE_OF_STEPS
        await incident.check()
        assert Counter(page.event for page in incident.stage.pager.pages) == {"trigger": 2, "resolve": 2}


async def test_a_coordinator_that_dies_before_and_after_every_write_to_the_cluster_reaches_the_same_end(tmp_path: Path) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(lambda now: any(word in now for word in (" patch of ", " request for ")))
        await incident.see_through(strikes)
        before = {moment.removeprefix("before ") for moment in strikes.struck if moment.startswith("before ")}
        after = {moment.removeprefix("after ") for moment in strikes.struck if moment.startswith("after ")}
        marks = {f"patch of nodes/{incident.pool}-host-{n:02} taints annotations" for n in range(4)}
        returns = {f"{mark} -sliceward.dev/incident" for mark in marks}
        assert marks | returns <= before
        # The hosts of a pool are written at once: of those that are under way when one is done, what lands is found done.
        assert after & marks
        assert after & returns
        one_by_one = before - marks - returns
        assert one_by_one <= after
        assert len(one_by_one) == 3 + 8 + len(incident.sick), "suspend, place, resume; labels of 8 hosts; repairs"
        await incident.check()


async def test_a_coordinator_that_never_lives_past_a_new_moment_moves_a_gang_of_cubes(tmp_path: Path) -> None:
    """It dies the first time at everything: each save, call, page and request, on a fleet of 64 hosts."""
    async with an_incident(tmp_path, cubes()) as incident:
        strikes = OnceAt(lambda now: " patch of nodes/" not in now)
        await incident.see_through(strikes)
        assert set(strikes.struck) >= OUTSIDE_OF_STEPS.union(*map(moments_of, STEPS))
        await incident.check()


@pytest.mark.parametrize("kind", [Kind.HOST_LOST, Kind.CHIP_LOST, Kind.HBM_UNCORRECTABLE])
async def test_other_playbooks_that_move_a_gang_reach_their_end_too(tmp_path: Path, kind: Kind) -> None:
    async with an_incident(tmp_path, small_pools(), kind) as incident:
        strikes = OnceAt(lambda now: now.startswith(("after call of", "after request for")))
        await incident.see_through(strikes)
        assert len(strikes.struck) == len(STEPS) + len(incident.sick)
        await incident.check()


async def test_a_coordinator_that_never_dies_reaches_that_end(tmp_path: Path) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        await incident.see_through(OnceAt(lambda _moment: False))
        assert incident.lives == 1
        await incident.check()
        assert incident.stage.invariants.seen.keys() >= {"nodes", "pods", "jobsets"}
