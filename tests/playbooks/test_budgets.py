"""Budgets: level and rate, for each scope, counted from what is there; never exceeded."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.detectors.finding import Kind
from sliceward.playbooks import record
from sliceward.playbooks import turn as turns
from sliceward.playbooks.decide import decide
from sliceward.playbooks.decision import Hold, RunStep
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Bound, BudgetSpec, Level, Mode, Rate
from sliceward.playbooks.shipped import shipped
from sliceward.playbooks.world import Started, Usage, World
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Failed, Wait
from sliceward.topology.ids import HostId
from tests.builders import NOW, a_fleet
from tests.contracts.stored import a_run
from tests.playbooks.stage import LINK, Stage, a_finding, chip, decided, done, seconds, two_gangs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.playbooks.run import Run


def limited(**budget: Any) -> dict[str, object]:  # noqa: ANN401 (fields)
    free: dict[str, Any] = {"runs": Level(), "hosts": Level(), "rate": None, "cooldown": timedelta(0)}
    return {"limits": BudgetSpec(**(free | budget))}


def begun(at: timedelta, **more: Any) -> Started:  # noqa: ANN401 (fields)
    return replace(Started(NOW - at, "inc-x", "c1", "ici-link-in-cube", frozenset(), NOW - at), **more)


CUBE_0 = frozenset({HostId("c1", "cube-0-host-00")})


@pytest.mark.parametrize(
    ("more", "name"),
    [
        (limited(hosts=Level(fleet=Bound(max=15))), "limits.hosts.fleet"),
        (limited(hosts=Level(cluster=Bound(max=64, percent=24))), "limits.hosts.cluster c1"),
        (limited(hosts=Level(pod=Bound(max=15))), "limits.hosts.pod c1/pod/c1-block-0"),
        (limited(hosts=Level(cube=Bound(max=15))), "limits.hosts.cube c1/cube/cube-0"),
        (limited(hosts=Level(tenant=Bound(max=15))), "limits.hosts.tenant default"),
        (limited(runs=Level(fleet=Bound(max=0))), "limits.runs.fleet"),
        (limited(runs=Level(tenant=Bound(max=0))), "limits.runs.tenant default"),
        (limited(rate=Rate(max=0, window=timedelta(hours=1))), "limits.starts.cluster"),
        (
            limited(rate=Rate(max=1, window=timedelta(hours=1), per="fleet"))
            | {"started": (begun(timedelta(minutes=5), cluster="c2"),)},
            "limits.starts.fleet",
        ),
        (
            limited(rate=Rate(max=1, window=timedelta(hours=1), per="playbook")) | {"started": (begun(timedelta(minutes=5)),)},
            "limits.starts.playbook",
        ),
        (limited(cooldown=timedelta(hours=1)) | {"started": (begun(timedelta(minutes=40), domain=CUBE_0),)}, "limits.cooldown"),
        ({"started": tuple(begun(timedelta(minutes=n)) for n in range(4))}, "starts.cluster"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_budget_that_is_spent_holds_with_its_numbers(more: Mapping[str, object], name: str) -> None:
    decision = decided(Stage(more=dict(more)).see(LINK))
    assert isinstance(decision.verdict, Hold)
    (over,) = (one for one in decision.budgets if not one.ok)
    assert over.name == name
    assert decision.verdict.until > decision.at


def test_a_budget_tells_when_there_is_room_again() -> None:
    decision = decided(Stage(more={"started": tuple(begun(timedelta(minutes=10 + n)) for n in range(4))}).see(LINK))
    assert isinstance(decision.verdict, Hold)
    assert decision.verdict.until == NOW - timedelta(minutes=13) + timedelta(hours=1)


@pytest.mark.parametrize(
    "more",
    [
        limited(hosts=Level(fleet=Bound(max=16))),
        limited(rate=Rate(max=1, window=timedelta(hours=1), per="playbook"))
        | {"started": (begun(timedelta(minutes=5), playbook="other"),)},
        limited(rate=Rate(max=1, window=timedelta(hours=1))) | {"started": (begun(timedelta(minutes=65)),)},
        limited(cooldown=timedelta(hours=1)) | {"started": (begun(timedelta(minutes=5)),)},
    ],
    ids=["just enough hosts", "another playbook", "out of the window", "another domain"],
)
def test_a_budget_with_room_lets_it_begin(more: dict[str, object]) -> None:
    assert isinstance(decided(Stage(more=more).see(LINK)).verdict, RunStep)


def test_an_action_budget_bounds_what_is_under_way_at_once() -> None:
    text = shipped()["host-or-chip-lost.yaml"].replace("  budget:", "  budget:\n    actions: {evidence.keep: 0}")
    stage = Stage(book=load_book({"a": text}, ACTIONS, modes=Mode.ENFORCE)).see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00")))
    decision = decided(stage)
    assert [one.name for one in decision.budgets if not one.ok] == ["actions.evidence.keep"]


def test_an_action_budget_bounds_a_repair_too_though_its_run_has_gone_far() -> None:
    fleet = a_fleet().with_cubes(8).with_gang("llm").on("cube-0").with_gang("vision").on("cube-1")
    stage = Stage(fleet, more={"limits": BudgetSpec(actions={"host.repair": 1}, rate=None, runs=Level(), hosts=Level())})
    stage.answer = lambda call: Wait(seconds(5), "under way") if call.step.action == "host.repair" else done(call)
    stage.see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00")), a_finding(Kind.CHIP_LOST, chip("cube-1-host-00"))).play(60)
    assert len({name for name, action in stage.calls if action == "host.repair"}) == 1
    held = next(one for one in stage.incidents if "budget" in one.why)
    assert "limits.actions.host.repair" in held.why


def test_hosts_that_an_ended_run_left_out_of_service_count_for_its_tenant() -> None:
    stage = Stage().see(LINK)
    stage.answer = lambda call: Failed("no spare parts") if call.step.action == "host.repair" else done(call)
    stage.play(40)
    runs = [record.run(row) for row in stage.runs.values()]
    assert [run.open for run in runs] == [False]
    assert Usage.of([stage.fleet], runs).out["tenant", "default"] == 16


def test_invariant_1_budgets_are_counted_from_our_own_marks_also_without_a_record() -> None:
    stage = Stage(two_gangs().marked("inc-lost", "cube-2-host-00"), more=limited(hosts=Level(fleet=Bound(max=16)))).see(LINK)
    (over,) = (one for one in decided(stage).budgets if one.name == "limits.hosts.fleet")
    assert (over.used, over.asked, over.limit, over.ok) == (1, 16, 16, False)


def test_a_human_mark_and_cordon_count_for_nobody() -> None:
    fleet = two_gangs().cordoned("cube-0-host-02").tainted("team/x", "cube-0-host-03")
    stage = Stage(fleet, more=limited(hosts=Level(fleet=Bound(max=16)))).see(LINK)
    assert isinstance(decided(stage).verdict, RunStep)


def test_budgets_are_checked_again_between_steps() -> None:
    stage = Stage().see(LINK).until("gang.plan")
    stage.more |= limited(hosts=Level(fleet=Bound(max=1)))
    stage.play(10)
    assert "domain.mark" not in stage.actions
    assert "limits.hosts.fleet" in stage.incident.why


@given(
    st.lists(st.sampled_from([f"cube-{n}" for n in range(8)]), min_size=1, max_size=8, unique=True),
    st.integers(0, 128),
    st.integers(0, 5),
)
@settings(max_examples=25)
def test_invariant_1_no_storm_takes_more_than_the_budget(cubes: list[str], hosts: int, runs: int) -> None:
    stage = Stage(a_fleet().with_cubes(8))
    stage.more |= limited(hosts=Level(fleet=Bound(max=hosts)), runs=Level(cluster=Bound(max=runs)))
    stage.see(*(a_finding(Kind.CHIP_LOST, chip(f"{cube}-host-00")) for cube in cubes))
    for _ in range(16):
        stage.fold()
        world = stage.world()
        for incident in stage.incidents:
            run = None if not incident.run else stage.world().runs
            mine = next((one for one in run or () if one.id == incident.run), None)
            decision = decide(incident, mine, stage.book, world, stage.now)
            turn = turns.take(incident, decision, stage.now)
            world = world.after(turn.run)
            stage.save(turn)
            if turn.call is not None and turn.call.step.action != "host.repair":
                stage.perform(incident.id, turn.call)
        stage.now += seconds(1)
        out = [host for host in stage.fleet.hosts.values() if host.our_marks]
        assert len(out) <= hosts
        assert len(stage.world().runs) <= runs
        assert len({host.our_marks[0].value for host in out}) <= runs


def test_marks_of_a_run_that_ended_in_this_look_count_for_its_tenant_when_the_next_begins() -> None:
    def of(incident: str, cube: int) -> Run:
        hosts = tuple(HostId("c1", f"cube-{cube}-host-{number:02}") for number in range(16))
        return a_run(incident, domain=hosts, tenant="ann")

    ended, begun = replace(of("inc-1", 0), ended=NOW), of("inc-2", 1)
    fleet = a_fleet().with_cubes(4).marked("inc-1", *(host.name for host in ended.domain)).build(NOW)
    world = World(fleet=fleet, usage=Usage.of([fleet], [of("inc-1", 0)]), runs=(of("inc-1", 0),))
    then = world.after(ended).after(begun)
    assert then.runs == (begun,)
    assert then.usage.out["tenant", "ann"] == Usage.of([fleet], [ended, begun]).out["tenant", "ann"] == 32
