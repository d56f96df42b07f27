"""What people order stops harm and never healing: a pause, a lower ceiling, an approval that is not given."""

from __future__ import annotations

from typing import Any

import pytest

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks import turn as turns
from sliceward.playbooks.incident import How, Needs, Phase
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Refused
from tests.playbooks.stage import LINK, Stage, a_finding, chip, seconds


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
