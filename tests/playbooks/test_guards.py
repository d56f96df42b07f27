"""Guards and budgets: each says no for its own reason, and the invariants that live here hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks import record
from sliceward.playbooks import turn as turns
from sliceward.playbooks.decide import decide
from sliceward.playbooks.decision import Hold, RunStep
from sliceward.playbooks.incident import How, Needs, Phase
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Bound, BudgetSpec, Level, Mode, Rate
from sliceward.playbooks.shipped import shipped
from sliceward.playbooks.world import Started, Usage
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Failed, Wait
from sliceward.topology.errors import Refused
from sliceward.topology.gangs import ManagedBy
from sliceward.topology.ids import HostId
from tests.builders import NOW, a_fleet, gang_id
from tests.playbooks.stage import Stage, a_finding, chip, done, inner_link, outer_link, seconds, two_gangs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident


def settled(stage: Stage) -> Incident:
    stage.fold()
    stage.now += seconds(10)
    return stage.incidents[0]


def decided(stage: Stage, incident: Incident | None = None) -> Any:  # noqa: ANN401 (a Decision)
    return decide(incident or settled(stage), None, stage.book, stage.world(), stage.now)


KUEUE = two_gangs().gang_edited(
    "llm", lambda gang: gang["metadata"].setdefault("labels", {}).update({"kueue.x-k8s.io/queue-name": "q"})
)
LINK = a_finding(Kind.ICI_LINK_DOWN, inner_link())


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
    known = stage.fleet.hosts[HostId("c1", "cube-0-host-00")].instance_id
    if known:
        assert any(one.name == "same-machine" and not one.ok for one in decision.guards)
    assert isinstance(decision.verdict, Hold) == bool(known)


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


def test_invariant_10_a_pause_stops_harm_and_never_healing() -> None:
    before = Stage().see(LINK)
    before.more["paused"] = "storm"
    before.play(30)
    assert before.actions == [], "nothing begins"
    moving = Stage().see(LINK).until("gang.suspend")
    moving.more["paused"] = "storm"
    moving.play(30)
    assert moving.actions[-1] == "gang.verify", "a gang that we stopped runs again; the repair waits"
    moving.more["paused"] = ""
    moving.become(State.UNKNOWN).play(30)
    assert moving.incident.how is How.HEALED
    repaired = Stage().see(LINK).until("host.repair")
    repaired.more["paused"] = "storm"
    repaired.become(State.UNKNOWN).play(30)
    assert repaired.incident.how is How.HEALED, "what is repaired is proven and given back under a pause"


def test_a_pause_holds_a_mark_that_is_not_made_yet_and_the_cause_may_go() -> None:
    stage = Stage().see(LINK).until("gang.plan")
    stage.more["paused"] = "storm"
    stage.play(20)
    assert "domain.mark" not in stage.actions
    assert stage.incident.phase is Phase.HELD
    stage.become(State.RESOLVED).play(3)
    assert stage.incident.how is How.RESOLVED_ITSELF


def test_a_lowered_ceiling_observes_what_was_to_be_enforced() -> None:
    stage = Stage(more={"ceiling": Mode.OBSERVE}).see(LINK).play(30)
    assert stage.actions == []
    assert stage.incident.mode == "Observe"
    moving = Stage().see(LINK).until("domain.mark")
    moving.more["ceiling"] = Mode.OBSERVE
    moving.play(20)
    assert "gang.suspend" not in moving.actions


APPROVED = load_book(shipped(), ACTIONS, modes=Mode.APPROVE)


def test_approve_waits_for_a_person_and_then_acts() -> None:
    stage = Stage(book=APPROVED).see(LINK).play(30)
    assert (stage.actions, stage.incident.phase, stage.incident.needs) == ([], Phase.WAITING_FOR_APPROVAL, Needs.APPROVAL)
    assert "approve" in stage.pages[0].facts["what a human must decide"]
    stage.save(turns.approve(stage.incident, by="ada", reason="go", now=stage.now))
    stage.play()
    assert stage.actions[-1] == "domain.give_back"
    with pytest.raises(Refused, match="does not wait"):
        turns.approve(stage.incident, by="bob", reason="", now=stage.now)


def test_a_yes_to_one_playbook_is_no_yes_to_the_next() -> None:
    part = chip("cube-0-host-00")
    stage = Stage(book=APPROVED).see(a_finding(Kind.HBM_UNCORRECTABLE, part)).play(15)
    stage.save(turns.approve(stage.incident, by="ada", reason="go", now=stage.now))
    stage.see(a_finding(Kind.CHIP_LOST, part)).play(5)
    assert (stage.incident.playbook, stage.incident.needs) == ("host-or-chip-lost", Needs.APPROVAL)
    assert stage.actions == []


def with_approval(when: str) -> Any:  # noqa: ANN401 (a Book)
    text = shipped()["ici-link-in-cube.yaml"].replace(
        "  timeout: 30h", f"  timeout: 30h\n  approval: {{when: '{when}', timeout: 5m}}"
    )
    return load_book({"a.yaml": text}, ACTIONS, modes=Mode.ENFORCE)


@pytest.mark.parametrize(
    ("when", "asks"),
    [("gang.chips > 100", True), ("gang.chips > 1000", False), ("gang.rate > 1.0", True)],
    ids=["true", "false", "error"],
)
def test_a_playbook_can_ask_a_person_for_what_is_large_or_unknown(when: str, asks: bool) -> None:  # noqa: FBT001 (a table)
    stage = Stage(book=with_approval(when)).see(LINK).play(12)
    assert (stage.incident.needs is Needs.APPROVAL) is asks
    stage.play(10, seconds(60))
    assert not asks or stage.incident.needs is Needs.HUMAN


# ── budgets ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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
            world = world.after(decision)
            turn = turns.take(incident, decision, stage.now)
            stage.save(turn)
            if turn.call is not None and turn.call.step.action != "host.repair":
                stage.perform(incident.id, turn.call)
        stage.now += seconds(1)
        out = [host for host in stage.fleet.hosts.values() if host.our_marks]
        assert len(out) <= hosts
        assert len(stage.world().runs) <= runs
        assert len({host.our_marks[0].value for host in out}) <= runs


# ── choosing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("finding", "why"),
    [
        (a_finding(Kind.ICI_LINK_DEGRADED, inner_link(), score=0.3), "condition sure is false"),
        (a_finding(Kind.HBM_UNCORRECTABLE, chip("cube-0-host-00"), score=0.2), "condition sure is false"),
    ],
    ids=["link", "memory"],
)
def test_what_is_not_sure_is_held_and_after_a_while_shown_to_a_human(finding: Finding, why: str) -> None:
    stage = Stage().see(finding).play(20)
    assert (stage.actions, stage.incident.phase, stage.incident.needs) == ([], Phase.HELD, Needs.NOTHING)
    assert why in stage.incident.why
    assert stage.pages == []
    stage.play(20, seconds(60))
    assert stage.incident.needs is Needs.HUMAN
    assert len(stage.pages) == 1


def test_a_condition_that_cannot_be_evaluated_stops_the_search() -> None:
    broken = (
        shipped()["ici-link-in-cube.yaml"]
        .replace("finding.score >= 0.5", "gang.rate > 1.0")
        .replace('finding.kind == "IciLinkDown" || ', "")
    )
    texts = {"a": broken, "b": shipped()["ici-link-in-cube.yaml"].replace("name: ici-link-in-cube", "name: second")}
    stage = Stage(book=load_book(texts, ACTIONS, modes=Mode.ENFORCE)).see(LINK)
    decision = decided(stage)
    assert isinstance(decision.verdict, Hold)
    assert "cannot be evaluated (gang.rate is not known now)" in decision.verdict.why
    assert [one.playbook for one in decision.candidates] == ["ici-link-in-cube"]


def test_a_false_condition_goes_on_to_the_next_playbook() -> None:
    decision = decided(Stage().see(a_finding(Kind.ICI_LINK_DOWN, outer_link())))
    assert decision.playbook == "ici-link-between-cubes"
    (passed,) = (one for one in decision.candidates if one.playbook == "ici-link-in-cube")
    assert passed.why_not == "condition inside-one-cube is false"
    assert [(one.name, one.value) for one in decision.conditions] == [("between-cubes", True)]


@pytest.mark.parametrize(
    ("match", "why"),
    [("clusters: [other]", "is not for cluster c1"), ("generations: [v4]", "is not for generation tpu7x")],
    ids=["cluster", "generation"],
)
def test_a_playbook_for_elsewhere_is_dismissed_by_name(match: str, why: str) -> None:
    text = shipped()["ici-link-in-cube.yaml"].replace("  correlate:", f"  match: {{{match}}}\n  correlate:")
    stage = Stage(book=load_book({"a": text}, ACTIONS, modes=Mode.ENFORCE)).see(LINK)
    assert decided(stage).candidates[0].why_not == why


def test_a_chip_that_somebody_holds_is_not_lost() -> None:
    part = chip("cube-0-host-00")
    stage = Stage().see(a_finding(Kind.CHIP_LOST, part), a_finding(Kind.DEVICE_OCCUPIED, part)).play(20)
    assert stage.incident.playbook == "device-occupied"
    assert "domain.mark" not in stage.actions


def test_every_decision_names_every_playbook_that_was_looked_at() -> None:
    stage = Stage().see(a_finding(Kind.TELEMETRY_LOST, HostId("c1", "cube-0-host-00"))).play(40, seconds(10))
    names = {one.playbook for one in stage.decisions[0].candidates}
    assert names == {playbook.name for playbook in stage.book.playbooks}
