"""Guards: each says no for its own reason, and the invariants that live here hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.decision import Hold, RunStep
from sliceward.playbooks.incident import How, Needs, Phase
from sliceward.remediations.outcome import Wait
from sliceward.topology.gangs import ManagedBy
from sliceward.topology.ids import HostId
from tests.builders import a_fleet, gang_id
from tests.playbooks.stage import LINK, Stage, a_finding, chip, decided, done, seconds, settled, two_gangs

KUEUE = two_gangs().gang_edited(
    "llm", lambda gang: gang["metadata"].setdefault("labels", {}).update({"kueue.x-k8s.io/queue-name": "q"})
)


@pytest.mark.parametrize(
    ("stage", "guard", "why", "needs"),
    [
        (Stage(more={"paused": "storm"}), "not-paused", "paused: storm", Needs.NOTHING),
        (Stage(more={"fleet_age": timedelta(minutes=5)}), "fresh", "snapshot is stale", Needs.NOTHING),
        (Stage(more={"watcher_age": timedelta(minutes=5)}), "fresh", "watcher is silent", Needs.NOTHING),
        (Stage(more={"watcher_age": None}), "fresh", "watcher is silent", Needs.NOTHING),
        (Stage(KUEUE), "movable", "placed by kueue", Needs.HUMAN),
        (Stage(two_gangs().with_stranger("cube-0-host-07")), "one-gang", "no known gang", Needs.HUMAN),
        (Stage(two_gangs().marked("inc-other", "cube-0-host-09")), "one-owner", "out of service for inc-other", Needs.NOTHING),
        (Stage(two_gangs().without("cube-0-host-00")), "one-domain", "", Needs.HUMAN),
    ],
    ids=["paused", "stale fleet", "stale watcher", "no watcher", "kueue", "stranger", "another's host", "host unknown"],
)
def test_a_guard_holds_and_says_why(stage: Stage, guard: str, why: str, needs: Needs) -> None:
    finding = a_finding(Kind.CHIP_LOST, chip("cube-0-host-00"), gang=gang_id("llm"))
    decision = decided(stage.see(finding))
    assert isinstance(decision.verdict, Hold)
    (no,) = (one for one in decision.guards if one.name == guard)
    assert not no.ok
    assert why in no.why
    assert decision.verdict.needs is needs


def test_a_finding_about_another_incarnation_of_the_host_is_for_a_human() -> None:
    stage = Stage().see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00"), instance_id="a-machine-that-was-replaced"))
    decision = decided(stage)
    assert any(one.name == "same-machine" and not one.ok for one in decision.guards)
    assert isinstance(decision.verdict, Hold)


def test_a_finding_about_the_boot_before_this_one_begins_nothing() -> None:
    stage = Stage().see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00"), boot_id="the-boot-before"))
    decision = decided(stage)
    assert any(one.name == "same-machine" and "started again" in one.why for one in decision.guards)
    assert isinstance(decision.verdict, Hold)


def nameless(node: dict[str, Any]) -> None:
    node["metadata"]["annotations"] = {}
    node["spec"]["providerID"] = ""


def test_a_host_without_an_instance_id_is_for_a_human() -> None:
    stage = Stage(two_gangs().edited("cube-0-host-00", nameless)).see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00")))
    decision = decided(stage)
    assert isinstance(decision.verdict, Hold)
    assert "no instance id" in decision.verdict.why
    assert decision.verdict.needs is Needs.HUMAN


def replaced(node: dict[str, Any]) -> None:
    node["metadata"]["annotations"]["container.googleapis.com/instance_id"] = "another"


def rebooted(node: dict[str, Any]) -> None:
    node["status"]["nodeInfo"]["bootID"] = "another"


def test_hosts_that_were_replaced_since_the_run_began_are_not_touched_and_a_human_is_paged() -> None:
    stage = Stage().see(LINK).until("gang.plan")
    stage.builder = stage.builder.edited("cube-0-host-09", replaced)
    stage.play(10)
    assert "domain.mark" not in stage.actions
    assert "is instance another now" in stage.incident.why
    assert stage.pages[-1].delivery_id.endswith("-held")


@pytest.mark.parametrize("change", [replaced, rebooted], ids=lambda change: change.__name__)
def test_another_machine_in_the_place_of_the_sick_one_is_not_repaired(change: Any) -> None:  # noqa: ANN401 (an edit)
    stage = Stage().see(LINK).until("gang.verify")
    stage.builder = stage.builder.edited("cube-0-host-00", change)
    stage.play(10)
    assert "host.repair" not in stage.actions
    assert stage.incident.needs is Needs.HUMAN
    assert "found sick" in stage.incident.why
    assert stage.pages[-1].delivery_id.endswith("-hand-over")


def test_a_machine_that_reboots_in_its_repair_is_the_machine_that_was_asked_for() -> None:
    stage = Stage().see(LINK)
    stage.answer = lambda call: Wait(seconds(1), "under way") if call.step.action == "host.repair" else done(call)
    stage.until("host.repair")
    stage.builder = stage.builder.edited("cube-0-host-00", rebooted)
    stage.answer = done
    stage.become(State.UNKNOWN).play(10)
    assert stage.incident.how is How.HEALED


def test_a_doubled_identity_anywhere_in_the_domain_is_no_action() -> None:
    stage = Stage(more={"unclear": frozenset({HostId("c1", "cube-0-host-11")})}).see(LINK)
    decision = decided(stage)
    assert isinstance(decision.verdict, Hold)
    assert "two speak for one host" in decision.verdict.why


def test_a_doubled_identity_is_a_finding_and_no_action() -> None:
    stage = Stage().see(
        a_finding(Kind.CHIP_LOST, chip("cube-0-host-00")), a_finding(Kind.IDENTITY_CONFLICT, HostId("c1", "cube-0-host-00"))
    )
    decision = decided(stage)
    assert any(one.name == "clear-identity" and not one.ok for one in decision.guards)
    assert isinstance(decision.verdict, Hold)


def test_an_alert_counts_although_the_watcher_is_silent() -> None:
    stage = Stage(more={"watcher_age": None}).see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00"), source="alert/am"))
    assert isinstance(decided(stage).verdict, RunStep)


@pytest.mark.parametrize("state", [State.UNKNOWN, State.RESOLVED])
def test_invariant_8_unknown_and_resolved_findings_begin_nothing(state: State) -> None:
    stage = Stage().see(LINK)
    incident = settled(stage)
    stage.become(state)
    stage.fold()
    decision = decided(stage, stage.incidents[0])
    assert not isinstance(decision.verdict, RunStep)
    assert incident.open


def test_invariant_8_a_finding_that_turns_unknown_before_the_first_irreversible_step_holds_it() -> None:
    stage = Stage().see(LINK).until("gang.checkpoint").become(State.UNKNOWN).play(30)
    assert "gang.suspend" not in stage.actions
    assert stage.incident.phase is Phase.HELD
    stage.become(State.FIRING).play()
    assert "gang.suspend" in stage.actions


def test_invariant_2_two_incidents_of_one_gang_never_act_at_once() -> None:
    stage = Stage(a_fleet().with_cubes(8).with_gang("llm", slices=2).on("cube-0", "cube-1"))
    stage.see(LINK, a_finding(Kind.CHIP_LOST, chip("cube-1-host-00"))).until("gang.resume")
    assert len({name for name, _ in stage.calls}) == 1
    held = next(i for i in stage.incidents if i.id != stage.calls[0][0])
    assert "is being moved for" in held.why or "is promised" in held.why


def test_a_gang_that_runs_again_is_moved_for_its_second_fault_while_the_first_is_still_repaired() -> None:
    stage = Stage(a_fleet().with_cubes(8).with_gang("llm", slices=2).on("cube-0", "cube-1"))
    stage.answer = lambda call: Wait(seconds(60), "for days") if call.step.action == "host.repair" else done(call)
    stage.see(LINK, a_finding(Kind.CHIP_LOST, chip("cube-1-host-00"))).play(60)
    assert stage.actions.count("gang.suspend") == 2
    suspended = [place for place, action in enumerate(stage.actions) if action == "gang.suspend"]
    assert "gang.verify" in stage.actions[suspended[0] : suspended[1]]


def test_invariant_2_a_host_that_is_promised_to_a_gang_is_not_taken_out_under_it() -> None:
    stage = Stage().see(LINK)
    stage.answer = lambda call: Wait(seconds(1), "not yet") if call.step.action == "gang.place" else done(call)
    stage.until("gang.place")
    stage.see(a_finding(Kind.CHIP_LOST, chip("cube-3-host-02"))).play(11)
    other = next(i for i in stage.incidents if i.part == chip("cube-3-host-02"))
    assert other.run == ""
    assert "is promised to" in other.why


def test_a_second_gang_in_the_failure_domain_is_for_a_human() -> None:
    stage = Stage()
    fleet = stage.fleet
    one = fleet.gangs[gang_id("llm")]
    twin = replace(one, id=gang_id("two"))
    stage.built = (stage.builder, replace(fleet, gangs={**fleet.gangs, twin.id: twin}))
    host = min(one.hosts)
    stage.see(a_finding(Kind.CHIP_LOST, chip(host.name), gang=one.id))
    decision = decided(stage)
    assert any(guard.name == "one-gang" and not guard.ok and "two" in guard.why for guard in decision.guards)


def test_a_gang_that_another_controller_places_is_never_suspended_by_us() -> None:
    stage = Stage()
    fleet = stage.fleet
    slow = replace(fleet.gangs[gang_id("llm")], managed_by=ManagedBy.SLICE_CONTROLLER)
    stage.built = (stage.builder, replace(fleet, gangs={**fleet.gangs, slow.id: slow}))
    stage.see(LINK).play(40)
    assert stage.actions == []
    assert stage.incident.needs is Needs.HUMAN
