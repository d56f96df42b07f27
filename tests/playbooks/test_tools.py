"""Lint, plan, explain, pages and records: what people read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sliceward.detectors.finding import Evidence, Kind, State
from sliceward.playbooks import record
from sliceward.playbooks import turn as turns
from sliceward.playbooks.advance import begun
from sliceward.playbooks.explain import explain
from sliceward.playbooks.incident import EntryKind, How
from sliceward.playbooks.lint import lint
from sliceward.playbooks.load import load_book, load_playbook
from sliceward.playbooks.plan import plan
from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Failed
from sliceward.remediations.page import PageEvent
from sliceward.topology.complaint import Level
from sliceward.topology.health import Severity
from sliceward.topology.ids import HostId, LinkId
from tests.builders import NOW, gang_id
from tests.playbooks.stage import ENFORCED, Stage, a_finding, chip, done, inner_link, seconds

LINK = a_finding(Kind.ICI_LINK_DOWN, inner_link(), gang=gang_id("llm"))
GOOD = shipped()["ici-link-in-cube.yaml"]
DOCS = Path(__file__).parents[2] / "docs" / "playbooks"


# ── the shipped library ───────────────────────────────────────────────────────────────────────────────────────────────


def test_shipped_playbooks_are_clean_and_begin_in_observe() -> None:
    assert lint(shipped(), ACTIONS) == ()
    assert {playbook.mode for playbook in load_book(shipped(), ACTIONS).playbooks} == {Mode.OBSERVE}


def test_every_kind_of_finding_has_a_shipped_playbook() -> None:
    assert {kind for kind in Kind if not ENFORCED.for_kind(kind)} == set()


@pytest.mark.parametrize("name", [name.removesuffix(".yaml") for name in shipped()])
def test_every_shipped_playbook_has_its_page(name: str) -> None:
    playbook = ENFORCED.named(name)
    assert playbook is not None
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8").startswith(f"# {name}\n")
    assert playbook.runbook == f"docs/playbooks/{name}.md"


def test_invariant_4_no_shipped_playbook_repairs_before_the_gang_is_gone() -> None:
    for playbook in ENFORCED.playbooks:
        actions = [step.spec.action for step in playbook.steps]
        if "host.repair" in actions:
            assert actions.index("gang.wait_gone") < actions.index("host.repair") < actions.index("domain.give_back")
            assert actions.index("domain.mark") < actions.index("gang.suspend")


# ── lint ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("    sliceward.dev/runbook", "    other"), "names no runbook"),
        (("mode: Observe", "mode: Enforce"), "begins in mode Enforce"),
        (("timeout: 30h", "timeout: 1h"), "has a step of"),
        (("    - {name: give-back, action: domain.give_back, timeout: 10m, phase: repairing}\n", ""), "nothing takes mark back"),
        (("    rate: {max: 4, window: 1h}", "    rate: null"), "has no limit on starts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lint_warns_of_what_is_doubtful(change: tuple[str, str], why: str) -> None:
    assert change[0] in GOOD
    (complaint,) = lint({"p.yaml": GOOD.replace(*change)}, ACTIONS)
    assert (complaint.level, complaint.where) == (Level.WARNING, "p.yaml")
    assert why in complaint.why
    assert complaint.what_to_do


def test_lint_tells_of_every_file_that_cannot_be_used() -> None:
    found = lint({"a.yaml": "x: 1", "b.yaml": "[", "c.yaml": GOOD, "d.yaml": GOOD}, ACTIONS)
    errors = [one for one in found if one.level is Level.ERROR]
    assert [one.where.partition(":")[0] for one in errors] == ["a.yaml", "b.yaml", "d.yaml"]


def test_lint_finds_a_playbook_that_is_never_reached() -> None:
    throttled = shipped()["throttled.yaml"]
    late = throttled.replace("name: throttled", "name: late").replace("priority: 110", "priority: 900")
    (complaint,) = lint({"a.yaml": throttled, "b.yaml": late}, ACTIONS)
    assert "never reached" in complaint.why


def test_lint_warns_of_acting_without_a_condition() -> None:
    start, end = GOOD.index("  conditions:"), GOOD.index("  budget:")
    (complaint,) = lint({"a.yaml": GOOD[:start] + GOOD[end:]}, ACTIONS)
    assert "without any condition" in complaint.why


# ── plan ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_plan_lists_the_changes_in_order_with_what_they_mean() -> None:
    playbook = load_playbook(GOOD, "p.yaml", ACTIONS)
    changes = plan(playbook, ACTIONS)
    assert [change.action for change in changes if not change.on_failure_only][2] == "domain.mark"
    assert "undone by domain.give_back" in str(changes[2])
    assert '[if: gang.id != ""]' in str(changes[1])
    assert changes[-1].on_failure_only
    alone = plan(playbook, ACTIONS, {"gang.id": ""})
    assert str(alone[1]).endswith("[skipped]")
    assert plan(playbook, ACTIONS, {"gang.id": "g"})[1].applies is True


# ── explain ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def as_shown(stage: Stage) -> dict[str, object]:
    """The incident as the HTTP API shows it: JSON, and nothing that JSON does not hold."""
    row = record.incident_row(stage.incident) | {
        "timeline": [record.plain(entry) for entry in stage.entries],
        "decisions": [record.plain(decision) for decision in stage.decisions],
        "steps": record.plain(stage.run.steps) if stage.incident.run else [],
        "pages": [record.plain(page) | {"pager": "web", "state": "sent"} for page in stage.pages],
    }
    found: dict[str, object] = json.loads(record.text(row))
    return found


def test_invariant_9_a_story_is_told_from_its_record_alone() -> None:
    evidence = Evidence("link_health", 10, 5, "1", NOW, "cube-0-host-00", "")
    stage = Stage().see(replace(LINK, evidence=(evidence,))).until("gang.wait_gone").become(State.UNKNOWN).play()
    story = explain(as_shown(stage))
    for told in (
        "What was seen", "link_health of cube-0-host-00 was 10", "gang c1/gang/default/JobSet/llm", "16 hosts",
        "condition inside-one-cube: true", "finding.betweenCubes=False", "guard one-owner: yes", "budget hosts.cluster c1: 0 used + 16 asked",
        "host-or-chip-lost: is for other findings", "suspend (gang.suspend): done", "trigger to web", "healed at",
    ):  # fmt: skip
        assert told in story, told


def test_why_not_is_told_for_an_incident_that_nothing_is_done_about() -> None:
    story = explain(as_shown(Stage().see(a_finding(Kind.ICI_LINK_DEGRADED, inner_link(), score=0.1)).play(20)))
    assert "condition sure is false" in story
    assert "condition between-cubes is false" in story
    assert "open, held" in story


def test_a_story_that_waits_for_people_says_so() -> None:
    stage = Stage().see(replace(LINK, gang=None))
    stage.answer = lambda call: Failed("no room") if call.step.action == "gang.plan" else done(call)
    story = explain(as_shown(stage.play()))
    assert "needs human" in story
    assert "no room" in story


def test_a_bare_record_is_told_too() -> None:
    bare = {
        "id": "i",
        "kind": "k",
        "part": "p",
        "severity": "error",
        "decisions": [{"at": "t", "outcome": "hold", "conditions": []}],
    }
    assert "no playbook" in explain(bare)


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_page_says_what_is_broken_who_is_hurt_what_is_done_and_what_to_decide() -> None:
    stage = (
        Stage().see(LINK, a_finding(Kind.COLLECTIVE_STUCK, gang_id("llm"))).until("gang.wait_gone").become(State.UNKNOWN).play()
    )
    opened, resolved = stage.pages
    assert str(inner_link()) in opened.facts["what is broken"]
    assert "llm" in opened.facts["who is hurt"]
    assert "suspend" in opened.facts["what is done"]
    assert "CollectiveStuck" in opened.facts["seen with it"]
    assert opened.facts["what a human must decide"].startswith("nothing")
    assert opened.facts["runbook"] == "docs/playbooks/ici-link-in-cube.md"
    assert resolved.facts["how it ended"] == "healed"
    assert (opened.delivery_id, resolved.delivery_id) == (f"{stage.incident.id}-open", f"{stage.incident.id}-resolve")


def test_a_runbook_on_the_web_is_a_link() -> None:
    text = GOOD.replace("docs/playbooks/ici-link-in-cube.md", "https://runbooks.example.test/x")
    stage = Stage(book=load_book({"a": text}, ACTIONS, modes=Mode.ENFORCE)).see(LINK).play(12)
    assert stage.pages[0].links == {"runbook": "https://runbooks.example.test/x"}


def test_what_is_only_information_pages_nobody() -> None:
    stage = Stage().see(a_finding(Kind.CHIP_THROTTLED, chip("cube-0-host-00"), severity=Severity.INFO)).play(60)
    assert stage.actions == ["evidence.keep", "human.hand_over"]
    assert stage.pages == []


def test_a_long_hold_is_paged_once() -> None:
    stage = Stage(more={"paused": "storm"}).see(LINK).play(200, seconds(5))
    assert [page.event for page in stage.pages] == [PageEvent.TRIGGER]
    assert "paused: storm" in stage.pages[0].facts["what a human must decide"]


def test_a_hold_is_told_once_however_long_it_lasts() -> None:
    stage = Stage(more={"paused": "storm"}).see(LINK).play(100)
    assert len([entry for entry in stage.entries if entry.kind is EntryKind.HELD]) == 1
    assert len(stage.decisions) == 1


def test_an_incident_that_was_paged_and_folded_away_is_resolved_at_the_pager() -> None:
    two = LinkId.between(chip("cube-0-host-00", 2), chip("cube-0-host-01", 3))
    stage = Stage(more={"paused": "storm"}).see(LINK, a_finding(Kind.ICI_LINK_DOWN, two)).play(200, seconds(5))
    assert len(stage.pages) == 2
    stage.see(a_finding(Kind.HOST_LOST, HostId("c1", "cube-0-host-00"), since=NOW - seconds(9))).play(2)
    gone = next(incident for incident in stage.incidents if incident.how is How.FOLDED)
    assert [page.event for page in stage.pages if page.dedup_key == gone.id] == [PageEvent.TRIGGER, PageEvent.RESOLVE]


def test_a_withdrawn_intent_is_decided_again() -> None:
    stage = Stage().see(LINK).until("gang.checkpoint")
    turn = stage.decide(stage.incident)
    assert turn.call is not None
    assert turn.run is not None
    assert turn.run.committed
    back = turns.withdraw(turn.incident, turn.run, stage.now)
    assert back.run is not None
    assert not back.run.committed
    assert back.answered is not None
    assert (back.answered.operation, back.answered.text) == (turn.call.operation, "withdrawn: never called")
    stage.save(turn)
    stage.save(back)
    stage.become(State.RESOLVED).play(5)
    assert "gang.suspend" not in stage.actions


def test_of_a_later_try_that_is_withdrawn_nobody_says_that_it_was_never_called() -> None:
    stage = Stage().see(LINK).until("gang.checkpoint")
    turn = stage.decide(stage.incident)
    assert turn.run is not None
    again = begun(turn.run, stage.now).run
    back = turns.withdraw(turn.incident, again, stage.now)
    assert back.run is not None
    assert back.run.committed
    assert back.answered is None


# ── records ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_values_survive_the_record() -> None:
    stage = Stage().see(LINK).until("gang.wait_gone")
    assert record.incident(record.text(stage.incident)) == stage.incident
    assert record.run(record.text(stage.run)) == stage.run
    assert record.page(record.text(stage.pages[0])) == stage.pages[0]
    row = record.incident_row(stage.incident)
    assert (row["part_kind"], row["state"], row["domain"][0]) == ("link", "open", "cube-0-host-00")


@pytest.mark.parametrize("body", ["", "{}", "[]", "null", "1", '{"findings": []}'])
def test_what_is_no_record_is_said_to_be_none(body: str) -> None:
    for read in (record.incident, record.run, record.page):
        with pytest.raises(record.BadRecord):
            read(body)


def test_a_record_with_a_wrong_id_or_no_finding_is_refused() -> None:
    stage = Stage().see(LINK).play(12)
    row = json.loads(record.text(stage.incident))
    wrongs: tuple[dict[str, object], ...] = (
        {"gang": "c1/host/x"},
        {"findings": []},
        {"opened": "yesterday"},
        {"phase": "dancing"},
    )
    for wrong in wrongs:
        with pytest.raises(record.BadRecord):
            record.incident(json.dumps(row | wrong))


def test_a_time_is_read_or_none() -> None:
    assert record.when(NOW.isoformat()) == NOW
    assert record.when("soon") is None


def test_sets_are_recorded_in_order() -> None:
    assert record.plain({"x": {"b", "a"}}) == {"x": ["a", "b"]}
