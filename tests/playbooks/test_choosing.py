"""Which playbook an incident gets, and why not the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.detectors.finding import Kind
from sliceward.playbooks.decision import Hold
from sliceward.playbooks.incident import Needs, Phase
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.ids import HostId
from tests.playbooks.stage import LINK, Stage, a_finding, chip, decided, inner_link, outer_link, seconds

if TYPE_CHECKING:
    from sliceward.detectors.finding import Finding


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
    stage = Stage().see(a_finding(Kind.PART_SUSPECT, HostId("c1", "cube-0-host-00"))).play(40, seconds(10))
    names = {one.playbook for one in stage.decisions[0].candidates}
    assert names == {playbook.name for playbook in stage.book.playbooks}
