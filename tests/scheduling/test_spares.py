"""Spares: how many, and who may sit on them meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.gangs import request_of
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.place import place
from sliceward.scheduling.plan import Plan
from sliceward.scheduling.request import Request
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.spares import USUAL_RISK, spares_of
from sliceward.topology.errors import Misconfigured
from tests.builders import NOW as AT
from tests.builders import a_fleet, gang_id
from tests.scheduling.cubes.builders import CUBE, NOW, drawn, gang


def a_pod(cubes: int, used: int, *spares: int, lent: tuple[int, ...] = ()) -> Snapshot:
    there = drawn(cubes)
    kept = tuple(replace(cube, spare=n in spares) for n, cube in enumerate(there.cubes))
    snapshot = Snapshot.of(NOW, [replace(there, cubes=kept).block])
    gangs = [(gang(f"g{n}"), n, 0) for n in range(used)] + [(gang(f"low{n}"), n, -1) for n in lent]
    return snapshot.with_gangs(
        Running(name, "t", "tpu7x", (HeldSlice("s", 0, CUBE, there.cubes[n].hosts),), priority) for name, n, priority in gangs
    )


def test_a_block_in_use_wants_some_spares_and_an_idle_one_none() -> None:
    (idle,) = spares_of(a_pod(6, 0, 4, 5))
    assert (idle.used, idle.kept, idle.wanted, idle.odds, idle.short) == (0, 2, 0, 1.0, False)
    (busy,) = spares_of(a_pod(20, 16, 18, 19))
    assert (busy.used, busy.kept) == (16, 2)
    assert busy.wanted is not None
    (surer,) = spares_of(a_pod(20, 16, 18, 19), target=0.99999)
    assert surer.wanted is not None
    assert surer.wanted > busy.wanted >= 1


def test_with_as_many_as_are_wanted_it_is_as_sure_as_was_asked() -> None:
    (found,) = spares_of(a_pod(20, 16), target=0.9999)
    assert found.wanted is not None
    kept = range(16, 16 + found.wanted)
    assert spares_of(a_pod(20, 16, *kept), target=0.9999)[0].odds >= 0.9999
    assert spares_of(a_pod(20, 16, *kept[1:]), target=0.9999)[0].odds < 0.9999


def test_known_risks_count_and_a_block_may_have_too_few_cubes() -> None:
    snapshot = a_pod(6, 4, 4, 5)
    risky = {host: Standing(risk=0.2) for ground in snapshot.grounds.values() for host in ground.hosts}
    (found,) = spares_of(snapshot.with_standings(risky))
    assert found.wanted is None
    assert found.short
    assert found.odds < spares_of(snapshot)[0].odds


def test_a_spare_that_is_lent_is_still_kept_and_one_that_is_sick_is_none() -> None:
    (found,) = spares_of(a_pod(5, 2, 2, 3, 4, lent=(3,)))
    assert (found.used, found.kept, found.lent) == (2, 3, 1)
    snapshot = a_pod(5, 2, 2, 3, 4)
    host = next(iter(snapshot.grounds.values())).parts[drawn(5).cubes[4].id][0]
    assert spares_of(snapshot.with_standing(host, Standing(Grade.SICK, "x")))[0].kept == 2


@pytest.mark.parametrize("target", [0.0, 1.0, 1.5, float("nan")])
def test_what_is_no_target_is_refused(target: float) -> None:
    with pytest.raises(Misconfigured):
        spares_of(a_pod(1, 0), target)
    assert 0 < USUAL_RISK < 0.01


@pytest.mark.parametrize(("priority", "cube"), [(0, "cube-0"), (100, "cube-0"), (-1, "cube-3")])
def test_only_who_sits_by_favour_is_put_on_a_spare(priority: int, cube: str) -> None:
    fleet = a_fleet().spare("cube-3").with_gang("new").waiting().build()
    waiting = replace(fleet.gangs[gang_id("new")], priority=priority)
    request = request_of(fleet, waiting, AT)
    assert isinstance(request, Request)
    plan = place(snapshot_of(fleet, AT), request)
    assert isinstance(plan, Plan)
    assert [each.name for each in plan.cubes] == [cube]
