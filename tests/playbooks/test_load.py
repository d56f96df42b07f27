"""Playbook files: what is right loads, what is wrong is refused with file, line, key and what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import jsonschema
import pytest
import yaml

from sliceward.detectors.finding import Finding, Kind, State
from sliceward.playbooks.load import Playbook, load_book, load_playbook
from sliceward.playbooks.schema import Bound, Mode, duration, json_schema
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import HostId
from tests.playbooks.stage import a_finding, chip

GOOD = """\
apiVersion: sliceward.dev/v1alpha1
kind: Playbook
metadata:
  name: p
spec:
  summary: s
  trigger:
    findings:
      - kinds: [HostLost]
        parts: [host]
        labels: {a: b}
  variables:
    - {name: half, expression: finding.score / 2.0}
  conditions:
    - {name: sure, expression: half > 0.2}
  budget:
    actions: {domain.mark: 1}
    hosts: {cluster: 4}
  approval: {when: gang.chips > 64, timeout: 5m}
  timeout: 1h30m
  steps:
    - {name: mark, action: domain.mark, timeout: 2m}
    - {name: ask, action: gang.checkpoint, with: {deadline: 90s}, when: gang.id != "", onError: continue}
    - {name: back, action: domain.give_back}
  onFailure:
    - {name: undo, action: domain.give_back}
"""


def load(text: str = GOOD) -> Playbook:
    return load_playbook(text, "p.yaml", ACTIONS)


def test_a_good_file_loads_with_all_it_says() -> None:
    playbook = load()
    assert (playbook.name, playbook.mode, playbook.harms) == ("p", Mode.OBSERVE, True)
    assert playbook.spec.timeout == timedelta(minutes=90)
    assert [(step.spec.name, step.harm, step.inverse) for step in playbook.steps] == [
        ("mark", True, "domain.give_back"),
        ("ask", False, ""),
        ("back", False, ""),
    ]
    assert playbook.spec.budget.hosts.cluster == Bound(max=4)


@pytest.mark.parametrize(
    ("old", "new", "where", "why"),
    [
        ("summary: s", "sumary: s", "p.yaml:6: spec.sumary", "Did you mean 'summary'"),
        ("timeout: 2m}", "timout: 2m}", "p.yaml:22: spec.steps[0].timout", "Did you mean 'timeout'"),
        ("timeout: 2m}", "timeout: 120}", "spec.steps[0].timeout", "no duration"),
        ("timeout: 2m}", "timeout: 0s}", "spec.steps[0].timeout", "longer than nothing"),
        ("[HostLost]", "[HostLots]", "p.yaml:9: spec.trigger.findings[0].kinds[0]", "Input should be"),
        ("action: domain.mark,", "action: domain.mrk,", "p.yaml:22: spec.steps[0].action", "Did you mean 'domain.mark'"),
        ("with: {deadline", "with: {deadlin", "spec.steps[1].with.deadlin", "Did you mean 'deadline'"),
        ("cluster: 4", 'cluster: "4"', "spec.budget.hosts.cluster", "Input should be"),
        ("cluster: 4", "cluster: {max: 4, atLest: 2}", "spec.budget.hosts.cluster.atLest", "Did you mean 'atLeast'"),
        ("{domain.mark: 1}", "{domain.mrk: 1}", "p.yaml", "Did you mean 'domain.mark'"),
        ("half > 0.2", "hal > 0.2", "condition 'sure'", "undeclared reference"),
        ("name: ask", "name: mark", "p.yaml", "two steps are named 'mark'"),
        ("kind: Playbook", "kind: Playbok", "p.yaml:2: kind", "Input should be"),
        ("v1alpha1", "v9", "p.yaml:1: apiVersion", "Input should be"),
        ("metadata:\n  name: p\n", "", "metadata", "Field required"),
        ("name: p\n", "name: P P\n", "metadata.name", "pattern"),
        ("summary: s", "summary: s\n  summary: t", "p.yaml:7", "stands twice"),
        ("summary: s", "summary: &a s\n  handOver: *a", "p.yaml:7", "aliases are not allowed"),
        ("summary: s", "summary: !!python/object:os.system s", "p.yaml:6", "constructor"),
        ("summary: s", "summary: {" + "a: {" * 30 + "}" * 31, "p.yaml:6", "nested too deeply"),
        ("summary: s", "summary: 'open", "p.yaml", "end of stream"),
        ("name: undo, action: domain.give_back", "name: undo, action: gang.suspend", "spec.onFailure[0].action", "does harm"),
        ("approval: {when: gang.chips > 64, timeout: 5m}", "handOver: look", "spec.handOver", "steps that harm"),
        ("summary: s", "summary: " + "s" * 300_000, "p.yaml", "larger than 262144"),
        ("summary: s", "summary: \x00", "p.yaml", "no YAML"),
    ],
    ids=lambda value: value[:24],
)
def test_a_mistake_is_refused_with_line_key_and_what_to_do(old: str, new: str, where: str, why: str) -> None:
    assert old in GOOD
    with pytest.raises(Misconfigured) as refused:
        load(GOOD.replace(old, new, 1))
    assert where in refused.value.where
    assert why in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "text", "1", "--- a\n--- b"], ids=repr)
def test_what_is_no_playbook_at_all_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        load(text)


def test_an_action_whose_inverse_is_unknown_is_refused() -> None:
    with pytest.raises(Misconfigured, match="inverse"):
        load_playbook(GOOD, "p.yaml", {k: v for k, v in ACTIONS.items() if k != "domain.give_back"})


@pytest.mark.parametrize(
    ("finding", "taken"),
    [
        (a_finding(Kind.HOST_LOST, HostId("c1", "h"), labels={"a": "b", "c": "d"}), True),
        (a_finding(Kind.HOST_LOST, HostId("c1", "h")), False),
        (a_finding(Kind.HOST_LOST, chip("h"), labels={"a": "b"}), False),
        (a_finding(Kind.CHIP_LOST, HostId("c1", "h"), labels={"a": "b"}), False),
        (a_finding(Kind.HOST_LOST, HostId("c1", "h"), labels={"a": "b"}, state=State.RESOLVED), False),
        (a_finding(Kind.HOST_LOST, HostId("c1", "h"), labels={"a": "b"}, state=State.UNKNOWN), False),
    ],
    ids=["all", "no label", "other part", "other kind", "resolved", "unknown"],
)
def test_a_trigger_takes_what_all_its_selectors_take_and_firing_only(finding: Finding, taken: bool) -> None:  # noqa: FBT001 (a table)
    assert load().triggered_by(finding) is taken


def test_playbooks_are_ordered_by_priority_then_name() -> None:
    texts = {
        "1": GOOD.replace("name: p\n", "name: z\n"),
        "2": GOOD.replace("name: p\n", "name: late\n").replace("summary: s", "summary: s\n  priority: 200"),
        "3": GOOD.replace("name: p\n", "name: a\n"),
    }
    book = load_book(texts, ACTIONS)
    assert [playbook.name for playbook in book.playbooks] == ["a", "z", "late"]
    assert book.for_kind(Kind.HOST_LOST) == book.playbooks
    assert book.for_kind(Kind.CHIP_LOST) == ()
    assert book.named("z") is book.playbooks[1]
    assert book.named("nobody") is None


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(Misconfigured, match="Rename one"):
        load_book({"a.yaml": GOOD, "b.yaml": GOOD}, ACTIONS)


def test_configuration_overrides_modes_for_all_by_name_and_for_the_others() -> None:
    texts = {"1": GOOD, "2": GOOD.replace("name: p\n", "name: q\n")}
    assert {p.mode for p in load_book(texts, ACTIONS, modes=Mode.ENFORCE).playbooks} == {Mode.ENFORCE}
    book = load_book(texts, ACTIONS, modes={"p": Mode.ENFORCE, "*": Mode.APPROVE}, settle_at_most=timedelta(seconds=1))
    assert [(p.name, p.mode) for p in book.playbooks] == [("p", Mode.ENFORCE), ("q", Mode.APPROVE)]
    assert {p.spec.correlate.settle for p in book.playbooks} == {timedelta(seconds=1)}
    with pytest.raises(Misconfigured, match="names no playbook"):
        load_book(texts, ACTIONS, modes={"pp": Mode.ENFORCE})


def test_the_json_schema_takes_every_shipped_file_and_refuses_a_typo() -> None:
    schema = json_schema()
    for text in (*shipped().values(), GOOD):
        jsonschema.validate(yaml.safe_load(text), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD.replace("summary", "sumary")), schema)


@pytest.mark.parametrize(
    ("text", "is_seconds"), [("45s", 45), ("1h30m", 5400), ("2d", 172_800), ("100ms", 0.1), ("1.5h", 5400), ("0s", 0)]
)
def test_durations_are_read(text: str, is_seconds: float) -> None:
    assert duration(text) == timedelta(seconds=is_seconds)
    assert duration(timedelta(1)) == timedelta(1)


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1w", 5, None, "1" * 20 + "s"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@pytest.mark.parametrize(
    ("bound", "total", "limit"),
    [
        (Bound(max=64), 16, 64),
        (Bound(max=64, percent=25), 64, 16),
        (Bound(max=8, percent=25), 64, 8),
        (Bound(max=64, percent=5), 64, 3),
        (Bound(max=64, percent=1), 64, 0),
        (Bound(max=64, percent=1, atLeast=16), 64, 16),
        (Bound(max=4, percent=1, atLeast=16), 64, 4),
        (Bound(max=64, percent=100), 0, 0),
    ],
)
def test_a_bound_is_the_smaller_of_number_and_share(bound: Bound, total: int, limit: int) -> None:
    assert bound.limit(total) == limit


def test_an_edited_text_has_another_digest() -> None:
    assert load().digest != load(GOOD + "# x\n").digest
    assert replace(load(), mode=Mode.ENFORCE).digest == load().digest
