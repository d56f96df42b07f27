"""``approve``, ``abort``, ``pause``, ``resume``: they ask, tell, are refused, and stand in the audit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sliceward.playbooks.schema import Mode
from tests.daemons.stage import a_story, a_world, on_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.daemons.cli.conftest import Sliceward
    from tests.daemons.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Give a coordinator whose playbooks wait for a person's yes."""
    with on_stage(a_world(tmp_path, Mode.APPROVE)) as stage:
        monkeypatch.setenv("SLICEWARD_SERVER", stage.address)
        yield stage


@pytest.fixture
def incident(stage: Stage) -> str:
    """Give the id of an incident that waits for approval."""
    return a_story(stage, rounds=14)


def _audit(sliceward: Sliceward) -> list[tuple[str, str, str]]:
    rows = json.loads(sliceward("get", "audit", "-o", "json").out)
    return [(row["what"], row["about"], row["reason"]) for row in rows]


def test_approving_shows_what_it_is_about_asks_and_lets_it_go_on(stage: Stage, incident: str, sliceward: Sliceward) -> None:
    assert "waiting-for-approval" in sliceward("get", "incidents").out
    no = sliceward("approve", incident, "--reason", "looked at it", typed="n\n")
    assert no.code == 1
    assert "IciLinkDegraded on c1/link/cube-0-host-05/0~cube-0-host-05/1, waiting-for-approval" in no.err
    assert "mark, checkpoint, suspend" in no.err
    assert "about gang c1/gang/default/JobSet/train and 16 hosts" in no.err
    assert _audit(sliceward) == []
    yes = sliceward("approve", f"incident/{incident}", "--reason", "looked at it", typed="y\n")
    assert (yes.code, yes.out.startswith(f"{incident}: ")) == (0, True)
    stage.do(stage.rounds(3))
    assert "mark (domain.mark): done" in sliceward("explain", incident).out
    assert _audit(sliceward) == [("approve", incident, "looked at it")]
    again = sliceward("approve", incident, "--reason", "again", "--yes")
    assert (again.code, "Refused" in again.err) == (1, True)


def test_aborting_stops_it_and_a_person_goes_on(stage: Stage, incident: str, sliceward: Sliceward) -> None:
    ran = sliceward("abort", incident, "--reason", "ours to do", "--yes", "-o", "json")
    assert ran.code == 0
    assert json.loads(ran.out)["abort_reason"] == "ours to do"
    stage.do(stage.rounds(3))
    assert "needs human" in sliceward("explain", incident).out
    assert _audit(sliceward) == [("abort", incident, "ours to do")]


def test_pause_and_resume_are_told_and_audited(stage: Stage, sliceward: Sliceward) -> None:
    assert sliceward("pause", "--reason", "storm").out == "paused: harm is stopped, healing goes on\n"
    assert stage.bench.coordinator.deciding.stops.paused
    assert sliceward("resume", "--reason", "over").out == "acting again\n"
    assert json.loads(sliceward("pause", "--reason", "b", "-o", "json").out)["why_paused"] == "local: b"
    assert [what for what, _, _ in _audit(sliceward)] == ["pause", "resume", "pause"]


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("verb", ["approve", "abort"])
def test_nothing_is_done_about_an_incident_that_is_not_there(sliceward: Sliceward, verb: str) -> None:
    ran = sliceward(verb, "inc-none", "--reason", "x")
    assert (ran.code, "there is no incident 'inc-none'" in ran.err) == (1, True)
    assert _audit(sliceward) == []


@pytest.mark.parametrize("arguments", [("approve", "inc-1"), ("abort", "inc-1"), ("pause",), ("resume",)])
def test_a_reason_must_be_given(sliceward: Sliceward, arguments: tuple[str, ...]) -> None:
    ran = sliceward(*arguments)
    assert (ran.code, "--reason" in ran.err) == (2, True)
