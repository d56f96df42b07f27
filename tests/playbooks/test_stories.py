"""Whole stories of shipped playbooks on values: what is called, in which order, and how each ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sliceward.detectors.finding import Finding, Kind, State
from sliceward.playbooks import turn as turns
from sliceward.playbooks.incident import How, Needs, Phase
from sliceward.playbooks.load import load_book
from sliceward.playbooks.run import Ending
from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Done, Failed, Wait
from sliceward.remediations.page import PageEvent
from sliceward.remediations.ports import Progress
from sliceward.topology.errors import Refused
from sliceward.topology.health import Severity
from sliceward.topology.ids import HostId
from tests.builders import NOW, a_fleet, gang_id
from tests.playbooks.stage import OBSERVED, Stage, a_finding, chip, inner_link, outer_link, seconds

if TYPE_CHECKING:
    from sliceward.playbooks.run import Call

MOVE = [
    "evidence.keep", "gang.plan", "domain.mark", "gang.checkpoint", "gang.suspend", "gang.end_dead", "gang.wait_gone",
    "gang.place", "gang.resume", "gang.verify", "host.repair", "host.burn_in", "domain.give_back",
]  # fmt: skip


def link_down() -> Stage:
    return Stage().see(a_finding(Kind.ICI_LINK_DOWN, inner_link(), gang=gang_id("llm")))


@pytest.mark.parametrize(
    ("finding", "playbook"),
    [
        (a_finding(Kind.ICI_LINK_DOWN, inner_link()), "ici-link-in-cube"),
        (a_finding(Kind.ICI_LINK_DEGRADED, inner_link()), "ici-link-in-cube"),
        (a_finding(Kind.HOST_LOST, HostId("c1", "cube-0-host-03")), "host-or-chip-lost"),
        (a_finding(Kind.CHIP_LOST, chip("cube-0-host-03", 2)), "host-or-chip-lost"),
        (a_finding(Kind.HBM_UNCORRECTABLE, chip("cube-0-host-03", 2)), "uncorrectable-memory"),
        (a_finding(Kind.PART_CONDEMNED, chip("cube-0-host-03", 2)), "part-condemned"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_a_sick_part_inside_a_cube_leads_to_a_move_a_repair_and_a_clean_end(finding: Finding, playbook: str) -> None:
    stage = Stage().see(finding).until("gang.wait_gone")
    stage.become(State.UNKNOWN)  # the job that reported it is gone
    stage.play()
    assert stage.actions == MOVE
    assert stage.incident.playbook == playbook
    assert stage.incident.how is How.HEALED
    assert [page.event for page in stage.pages] == [PageEvent.TRIGGER, PageEvent.RESOLVE]
    assert {page.dedup_key for page in stage.pages} == {stage.incident.id}
    assert not any(host.our_marks for host in stage.fleet.hosts.values())


def test_the_whole_cube_of_the_fault_is_marked_and_no_other_host() -> None:
    stage = link_down().until("gang.checkpoint")
    marked = {host.id for host in stage.fleet.hosts.values() if host.our_marks}
    assert marked == set(stage.incident.domain) == {HostId("c1", f"cube-0-host-{n:02}") for n in range(16)}


@pytest.mark.parametrize(
    ("finding", "playbook"),
    [
        (a_finding(Kind.ICI_LINK_DOWN, outer_link()), "ici-link-between-cubes"),
        (a_finding(Kind.CHIP_THROTTLED, chip("cube-0-host-00")), "throttled"),
        (a_finding(Kind.DEVICE_OCCUPIED, chip("cube-0-host-00")), "device-occupied"),
        (a_finding(Kind.TELEMETRY_LOST, HostId("c1", "cube-0-host-00")), "telemetry-lost"),
        (a_finding(Kind.AGENT_UNWELL, HostId("c1", "cube-0-host-00")), "telemetry-lost"),
        (a_finding(Kind.COLLECTIVE_STUCK, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.MEMORY_ERRORS_RISING, chip("cube-0-host-00")), "hardware-warning"),
        (a_finding(Kind.PCIE_AER_STORM, chip("cube-0-host-00")), "hardware-warning"),
        (a_finding(Kind.IDENTITY_CONFLICT, HostId("c1", "cube-0-host-00")), "identity-conflict"),
        (a_finding(Kind.SHORT_DEATHS, HostId("c1", "cube-0-host-00")), "host-in-doubt"),
        (a_finding(Kind.PROVIDER_DISAGREES, HostId("c1", "cube-0-host-00")), "host-in-doubt"),
        (a_finding(Kind.HOST_DYING, HostId("c1", "cube-0-host-00")), "host-in-doubt"),
        (a_finding(Kind.PORT_HELD, HostId("c1", "cube-0-host-00")), "device-occupied"),
        (a_finding(Kind.INPUT_STARVED, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.GANG_DISAGREES, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.PROGRAMS_DIFFER, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.CHIP_HUNG, HostId("c1", "cube-0-host-00")), "chip-in-doubt"),
        (a_finding(Kind.COMPILE_STALLED, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.CHECKPOINT_STALLED, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.NO_FIRST_STEP, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.GANG_FAILED, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.PROGRAM_FATAL, gang_id("llm")), "job-stuck"),
        (a_finding(Kind.SLICE_FAILURE, gang_id("llm")), "chip-in-doubt"),
        (a_finding(Kind.CHIP_FATAL, HostId("c1", "cube-0-host-00")), "chip-in-doubt"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
def test_what_is_no_reason_to_drain_is_named_kept_and_handed_over(finding: Finding, playbook: str, mode: str) -> None:
    stage = Stage(book=OBSERVED) if mode == "Observe" else Stage()
    stage.see(finding).play(20, seconds(30))
    assert stage.incident.playbook == playbook
    assert stage.actions == ["evidence.keep", "human.hand_over"]
    assert (stage.incident.phase, stage.incident.needs) == (Phase.HANDED_OVER, Needs.HUMAN)
    assert [page.event for page in stage.pages] == [PageEvent.TRIGGER]
    assert stage.pages[0].facts["what a human must decide"]
    stage.become(State.RESOLVED).play(3)
    assert stage.incident.how is How.HANDED_OVER
    assert [page.event for page in stage.pages] == [PageEvent.TRIGGER, PageEvent.RESOLVE]


def test_a_suspect_is_watched_and_neither_drained_nor_paged_nor_taken_for_the_root_of_what_is_certain() -> None:
    suspect = replace(a_finding(Kind.PART_SUSPECT, chip("cube-0-host-03", 2)), severity=Severity.INFO)
    stage = Stage().see(suspect).play(20, seconds(30))
    assert stage.incident.playbook == "part-suspected"
    assert (stage.actions, stage.pages) == (["evidence.keep", "human.hand_over"], [])
    stage.see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-03", 2))).until("gang.wait_gone")
    assert stage.incident.root.kind is Kind.CHIP_LOST
    assert stage.incident.playbook == "host-or-chip-lost"


def test_a_kind_that_no_playbook_is_for_is_handed_to_a_human_and_never_acted_on() -> None:
    book = type(OBSERVED)()
    stage = Stage(book=book).see(a_finding(Kind.HOST_LOST, HostId("c1", "cube-0-host-00"))).play(30)
    assert stage.actions == []
    assert stage.incident.needs is Needs.HUMAN
    assert "no playbook" in stage.pages[0].facts["what a human must decide"]


def test_in_observe_a_moving_playbook_changes_nothing_and_says_what_it_would_do() -> None:
    stage = Stage(book=OBSERVED).see(a_finding(Kind.ICI_LINK_DOWN, inner_link())).play(30)
    assert stage.actions == []
    assert stage.incident.phase is Phase.OBSERVING
    assert "mode Observe" in stage.incident.why


def test_a_spare_cube_without_a_gang_is_marked_repaired_and_given_back() -> None:
    stage = Stage().see(a_finding(Kind.CHIP_LOST, chip("cube-3-host-05"))).play()
    assert stage.actions == ["evidence.keep", "domain.mark", "host.repair", "host.burn_in", "domain.give_back"]
    stage.become(State.RESOLVED).play(3)
    assert stage.incident.how is How.HEALED


def test_a_mark_that_no_run_knows_of_is_waited_for_and_then_asked_of_a_human() -> None:
    stage = Stage().see(a_finding(Kind.CHIP_LOST, chip("cube-3-host-05"))).until("domain.give_back")
    clean = stage.builder
    stage.builder = clean.marked(stage.incident.id, "cube-3-host-05")  # a write that was long under way
    stage.become(State.RESOLVED).play(10)
    assert (stage.incident.open, stage.incident.needs) == (True, Needs.NOTHING)
    stage.play(20, seconds(60))
    assert (stage.incident.open, stage.incident.needs) == (True, Needs.HUMAN)
    assert f"cube-3-host-05; waiting to see them gone: `sliceward abort {stage.incident.id}` takes it off" in stage.incident.why
    stage.builder = clean
    stage.play(3)
    assert stage.incident.how is How.HEALED
    assert stage.pages[-1].event is PageEvent.RESOLVE


def test_marks_that_no_run_knows_of_are_taken_off_once_a_human_stops_the_incident() -> None:
    stage = Stage().see(a_finding(Kind.CHIP_LOST, chip("cube-3-host-05"))).until("domain.give_back")
    stage.builder = stage.builder.marked(stage.incident.id, "cube-3-host-05")
    stage.become(State.RESOLVED).play(30, seconds(60))
    assert (stage.incident.open, stage.actions.count("domain.give_back")) == (True, 1)
    stage.save(turns.abort(stage.incident, stage.run, by="ada", reason="it is well", now=stage.now))
    stage.play(3)
    assert stage.actions.count("domain.give_back") == 2
    assert stage.incident.how is How.ABORTED


def test_a_fault_that_resolves_before_anything_irreversible_is_given_back_and_closed() -> None:
    stage = link_down().until("gang.checkpoint")
    stage.become(State.RESOLVED).play()
    assert "gang.suspend" not in stage.actions
    assert stage.actions[-1] == "domain.give_back"
    assert stage.incident.how is How.RESOLVED_ITSELF
    assert not any(host.our_marks for host in stage.fleet.hosts.values())


def test_a_fault_that_resolves_after_something_irreversible_is_finished() -> None:
    stage = link_down().until("gang.suspend")
    stage.become(State.RESOLVED).play()
    assert stage.actions == MOVE
    assert stage.incident.how is How.HEALED


def test_a_fault_that_resolves_while_it_settles_is_closed_without_a_page() -> None:
    stage = link_down().play(3)
    stage.become(State.RESOLVED).play(3)
    assert stage.incident.how is How.RESOLVED_ITSELF
    assert stage.pages == []


def test_a_plan_that_does_not_fit_marks_nothing_and_asks_a_human() -> None:
    stage = link_down()
    stage.answer = lambda call: Failed("no cube is free") if call.step.action == "gang.plan" else Done("done")
    stage.play()
    assert stage.actions == ["evidence.keep", "gang.plan", "gang.resume"]
    assert stage.incident.needs is Needs.HUMAN
    assert "no cube is free" in stage.incident.why
    assert [page.delivery_id.rpartition("-")[2] for page in stage.pages] == ["open", "over"]


def test_a_failure_after_the_mark_and_before_the_move_takes_the_mark_back() -> None:
    stage = link_down()
    stage.answer = lambda call: Failed("API said no") if call.step.action == "gang.suspend" else Done("done")
    stage.play()
    # The suspension was tried, so what it did is unknown: the gang is made to run, and the sick cube stays marked.
    assert stage.actions[-2:] == ["gang.suspend", "gang.resume"]
    assert stage.incident.needs is Needs.HUMAN
    assert any(host.our_marks for host in stage.fleet.hosts.values())


@pytest.mark.parametrize("failing", ["gang.suspend", "host.repair", "host.burn_in"])
def test_silence_that_the_drain_bought_gives_nothing_back_until_a_person_says_so(failing: str) -> None:
    stage = Stage().see(a_finding(Kind.HBM_UNCORRECTABLE, chip("cube-0-host-00")))
    stage.answer = lambda call: Failed("no spare parts") if call.step.action == failing else Done("done")
    stage.play()
    assert stage.run.ending is Ending.HANDED_OVER
    stage.become(State.RESOLVED).play(30, seconds(60))
    assert any(host.our_marks for host in stage.fleet.hosts.values())
    assert (stage.incident.open, stage.incident.needs) == (True, Needs.HUMAN)
    assert f"sliceward abort {stage.incident.id}" in stage.incident.why
    stage.save(turns.abort(stage.incident, stage.run, by="ada", reason="repaired by hand", now=stage.now))
    stage.play()
    assert stage.actions.count(failing) == 1
    assert stage.incident.how is How.ABORTED
    assert not any(host.our_marks for host in stage.fleet.hosts.values())


def test_a_gang_that_has_left_the_sick_cube_is_not_touched() -> None:
    moved = a_fleet().with_cubes(6).with_gang("llm", slices=2).on("cube-1", "cube-3")
    stage = Stage(builder=moved).see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00"), gang=gang_id("llm"))).play(60)
    assert stage.incident.gang is None
    assert "domain.mark" in stage.actions
    assert not {"gang.checkpoint", "gang.suspend", "gang.place"} & set(stage.actions)


def test_a_step_whose_time_ran_out_while_nobody_was_there_is_asked_once_more() -> None:
    stage = link_down()
    gone = False
    stage.answer = lambda call: Done("done") if gone or call.step.action != "gang.wait_gone" else Wait(seconds(2), "31 pods left")
    stage.until("gang.wait_gone").play(3, seconds(2))
    stage.now += seconds(3600)
    gone = True
    stage.become(State.UNKNOWN).play()
    assert stage.incident.how is How.HEALED


def test_a_second_fault_in_a_cube_just_given_back_does_not_wait_out_its_rest() -> None:
    stage = Stage().see(a_finding(Kind.ICI_LINK_DOWN, inner_link())).play(14)
    stage.see(a_finding(Kind.HBM_UNCORRECTABLE, chip("cube-0-host-09"), since=stage.now))
    stage.until("domain.give_back").become(State.RESOLVED, Kind.ICI_LINK_DOWN).play(20)
    first, second = stage.incidents
    assert first.how is How.HEALED
    assert stage.actions.count("domain.mark") == 2, second.why


def test_what_a_playbook_forgot_to_give_back_is_given_back_before_the_story_ends() -> None:
    lines = shipped()["uncorrectable-memory.yaml"].splitlines(keepends=True)
    text = "".join(line for line in lines if "domain.give_back" not in line)
    book = load_book({"a": text}, ACTIONS, modes=Mode.ENFORCE)
    stage = Stage(book=book).see(a_finding(Kind.HBM_UNCORRECTABLE, chip("cube-0-host-00"))).play(40)
    stage.become(State.RESOLVED).play(20)
    assert stage.incident.how is How.HEALED
    assert not any(host.our_marks for host in stage.fleet.hosts.values())


def test_a_playbook_that_failed_is_not_tried_again_by_itself() -> None:
    stage = link_down()
    stage.answer = lambda call: Failed("no") if call.step.action == "gang.plan" else Done("done")
    stage.play(300, seconds(60))
    assert stage.actions.count("gang.plan") == 1


def test_a_person_can_stop_a_run_and_what_can_be_taken_back_is() -> None:
    stage = link_down().until("gang.suspend")
    stage.save(turns.abort(stage.incident, stage.run, by="ada", reason="maintenance", now=stage.now))
    stage.play()
    assert stage.actions[-2:] == ["gang.resume", "domain.give_back"]
    assert "host.repair" not in stage.actions
    assert stage.incident.open
    assert stage.incident.needs is Needs.HUMAN
    stage.become(State.RESOLVED).play(3)
    assert stage.incident.how is How.ABORTED


def test_an_incident_is_aborted_once() -> None:
    stage = link_down().play(15)
    stage.save(turns.abort(stage.incident, stage.run, by="ada", reason="", now=stage.now))
    with pytest.raises(Refused, match="aborted by ada"):
        turns.abort(stage.incident, None, by="bob", reason="", now=stage.now)


def test_a_time_out_is_told_as_unknown_and_goes_on_where_the_playbook_says_so() -> None:
    stage = link_down()
    stage.answer = lambda call: Wait(seconds(5), "no answer yet") if call.step.action == "gang.checkpoint" else Done("done")
    stage.play(200, seconds(5))
    assert "unknown" in next(s.text for s in stage.run.steps if s.action == "gang.checkpoint")
    assert "gang.suspend" in stage.actions


def test_a_run_past_its_own_time_goes_to_a_human() -> None:
    stage = link_down()
    stage.answer = lambda call: Wait(seconds(3600), "still repairing") if call.step.action == "host.repair" else Done("done")
    stage.play(60).play(40, seconds(3600))
    assert stage.run.ending is Ending.HANDED_OVER


def test_what_fires_on_after_healing_goes_to_a_human_and_is_not_repaired_in_circles() -> None:
    stage = link_down().play(40).play(60, seconds(60))
    assert stage.actions.count("host.repair") == 1
    assert stage.incident.needs is Needs.HUMAN
    assert "still firing" in stage.incident.why
    assert [page.event for page in stage.pages] == [PageEvent.TRIGGER, PageEvent.TRIGGER]
    assert "still firing" in stage.pages[-1].summary


def test_the_incident_of_a_healed_fault_stays_open_while_our_mark_is_seen() -> None:
    stage = link_down().until("host.burn_in")
    builder = stage.builder
    stage.until("domain.give_back").become(State.RESOLVED)
    stage.builder = builder  # the snapshot is older than the patch
    stage.play(10)
    assert stage.incident.open
    assert stage.incident.closed is None


def test_a_fault_of_another_kind_on_a_handed_over_part_gets_its_own_playbook() -> None:
    part = chip("cube-0-host-00")
    stage = Stage().see(a_finding(Kind.CHIP_THROTTLED, part)).play(50)
    assert stage.incident.playbook == "throttled"
    stage.see(a_finding(Kind.CHIP_LOST, part, since=NOW + seconds(50))).play()
    assert stage.incident.playbook == "host-or-chip-lost"
    assert "domain.give_back" in stage.actions


def test_a_gang_that_nobody_runs_is_not_woken() -> None:
    fleet = a_fleet().with_gang("llm").on("cube-0").suspended("llm")
    stage = Stage(fleet).see(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00"), gang=gang_id("llm"))).play()
    assert not [action for action in stage.actions if action.startswith("gang.")]


class Crashing(Stage):
    """Loses the process once, between an action and the saving of its answer."""

    crash_at = -1
    lost = ""

    def perform(self, name: str, call: Call) -> None:
        if len(self.calls) == self.crash_at and not self.lost:
            self.lost = call.operation
            self.calls.append((name, call.step.action))
            return
        super().perform(name, call)


@pytest.mark.parametrize("crash_at", range(len(MOVE)), ids=MOVE)
def test_a_restart_asks_the_lost_step_again_and_reaches_the_same_end(crash_at: int) -> None:
    stage = Crashing().see(a_finding(Kind.ICI_LINK_DOWN, inner_link(), gang=gang_id("llm")))
    assert isinstance(stage, Crashing)
    stage.crash_at = crash_at
    stage.until("gang.wait_gone").become(State.UNKNOWN).play()
    assert stage.incident.how is How.HEALED
    again = [action for place, action in enumerate(stage.actions) if place != crash_at]
    assert again == MOVE, "the lost step is asked again, and no other"
    assert stage.lost == f"{stage.run.id}.{crash_at}", "under the same operation id"


def test_taking_back_that_fails_is_tried_again_after_a_while_and_shown() -> None:
    stage = link_down()
    refused = {"gang.checkpoint", "domain.give_back"}
    stage.answer = lambda call: Failed("API down") if call.step.action in refused else Done("done")
    stage.until("domain.mark").become(State.RESOLVED).play(20)
    assert stage.actions.count("domain.give_back") == 1
    assert (stage.incident.needs, stage.incident.open) == (Needs.HUMAN, True)
    refused.clear()
    stage.play(10, seconds(60))
    assert stage.actions.count("domain.give_back") == 2
    assert stage.incident.how is How.HANDED_OVER


def test_a_cancelled_run_may_begin_anew_when_the_fault_comes_back() -> None:
    stage = link_down().until("domain.mark")
    stage.become(State.RESOLVED).step()
    stage.become(State.FIRING).play()
    assert stage.run.id.endswith("-r2")
    assert stage.incident.how is not How.RESOLVED_ITSELF
    assert "host.repair" in stage.actions


def test_a_playbook_of_which_no_step_applies_is_for_a_human() -> None:
    text = shipped()["throttled.yaml"].replace("onError: continue", "when: 'gang.id == \"x\"'")
    text = text.replace("      timeout: 1m\n", "      when: 'gang.id == \"x\"'\n")
    stage = Stage(book=load_book({"a": text}, ACTIONS)).see(a_finding(Kind.CHIP_THROTTLED, chip("cube-0-host-00"))).play(40)
    assert stage.actions == []
    assert "no step of throttled applies" in stage.incident.why


def test_conditions_read_the_progress_of_the_gang_and_its_host() -> None:
    wanted = 'gang.rate < gang.rateBefore && gang.checkpointAge < duration("10m") && host.ready == "healthy" && slice.chips == 64'
    text = shipped()["throttled.yaml"].replace(
        "  handOver:", f"  conditions: [{{name: slow, expression: '{wanted}'}}]\n  handOver:"
    )
    progress = Progress(gang_id("llm"), NOW, 100, 0.5, 1.0, 90, 60.0, 32)
    stage = Stage(book=load_book({"a": text}, ACTIONS), more={"progress": {gang_id("llm"): progress}})
    stage.see(a_finding(Kind.CHIP_THROTTLED, chip("cube-0-host-00"))).play(40)
    assert stage.decisions[0].conditions[0].value is True
    silent = Stage(
        book=stage.book, more={"progress": {gang_id("llm"): Progress(gang_id("llm"), NOW, None, None, None, None, None, 0)}}
    )
    silent.see(a_finding(Kind.CHIP_THROTTLED, chip("cube-0-host-00"))).play(40)
    assert "not known now" in silent.incident.why
