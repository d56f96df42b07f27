"""``rules lint|test|docs``: an operator writes a rule without code, tries it beside its file, and reads what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.detectors.scene import shipped

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemons.cli.conftest import Sliceward

RULE = """\
- name: too-busy
  kind: AgentUnwell
  part: host
  severity: warning
  says: "{value:.0f} % busy"
  about: A host is busy.
  limits: Ours.
  sources: [ours]
  advice: Wait.
  when: {threshold: {metric: host_cpu_percent, op: ">=", value: 90 %, k: 1, n: 1}, for: 20s}
"""
CASES = """\
- name: busy for a while
  readings: {"host_cpu_percent n1": 5x2 95 5x9, "host_cpu_percent n2": 5x2 95x9}
  expect:
    - {at: 40s, findings: []}
    - {at: 1m, findings: [{rule: too-busy, part: n2, says: 95 %}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(RULE)
    (tmp_path / "mine.test.yaml").write_text(CASES)
    return tmp_path


def test_the_shipped_rules_have_nothing_wrong_or_doubtful_and_their_cases_hold(sliceward: Sliceward) -> None:
    ran = sliceward("rules", "lint", "--strict")
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[-1].endswith("files: 0 errors, 0 warnings")
    ran = sliceward("rules", "test")
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[-1].endswith("hold, 0 do not")


def test_an_operator_tries_a_rule_beside_its_file(sliceward: Sliceward, folder: Path) -> None:
    for path in (folder, folder / "mine.yaml"):
        ran = sliceward("rules", "test", str(path))
        assert (ran.code, ran.out) == (0, "1 cases: 1 hold, 0 do not\n")
        assert sliceward("rules", "lint", "--strict", str(path)).out == "2 files: 0 errors, 0 warnings\n"


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        ("95x9", "5x9", "mine.test.yaml:5:7: busy for a while: at 60 s: too-busy should be firing for n2, and is nothing"),
        ("5x2 95 5x9", "95", "too-busy fires for n1, which is not expected: 95 % busy"),
        ("95 %", "96 %", "says '95 % busy', and not '96 %'"),
        ("part: n2", "part: n2, state: resolved", "should be resolved for n2, and is firing"),
    ],
)
def test_a_case_that_does_not_hold_is_named(sliceward: Sliceward, folder: Path, was: str, becomes: str, why: str) -> None:
    (folder / "mine.test.yaml").write_text(CASES.replace(was, becomes, 1))
    ran = sliceward("rules", "test", str(folder))
    assert ran.code == 1
    assert why in ran.out
    misses = json.loads(sliceward("rules", "test", str(folder), "-o", "json").out)
    assert {miss["case"] for miss in misses} == {"busy for a while"}


def test_a_rule_without_a_case_is_no_success(sliceward: Sliceward, folder: Path) -> None:
    (folder / "mine.test.yaml").unlink()
    ran = sliceward("rules", "test", str(folder))
    assert ran.code == 1
    assert "no case was found" in ran.err
    assert "is expected by no case" in sliceward("rules", "lint", str(folder)).out


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        ("too-busy, part", "too-busi, part", "at 60 s: no rule is named too-busi; did you mean 'too-busy'?"),
        ("readings:", "radings:", "2:3: busy for a while: radings: is not a key that is known here; did you mean 'readings'?"),
        ("95x9", "95y9", "'95y9' is no value of a series"),
        ("95x9", "0x99999", "more than 10000 samples"),
        (
            '{"host_cpu_percent n1": 5x2 95 5x9, "host_cpu_percent n2": 5x2 95x9}',
            '{"host_cpu_percent n1": 0x99999}',
            "more than 10000 samples",
        ),
        ('{"host_cpu_percent n1": 5x2 95 5x9, "host_cpu_percent n2": 5x2 95x9}', "{}", "at least 1 item"),
        ("host_cpu_percent n2", "host_cpu_percnt n2", "did you mean 'host_cpu_percent'?"),
        ("host_cpu_percent n2", "host_cpu_percent n2/1", "is about no host: write host_cpu_percent HOST"),
        ("at: 40s", "at: 40 parsecs", "is no time"),
        ("at: 40s", "at: 5 periods", "is no time of a case"),
        ("at: 40s", "att: 40s", "did you mean 'at'?"),
        ("  expect:", "  hosts: {n3: {}}\n  expect:", "'n3' says nothing: give it a reading"),
        ("  expect:", "  hosts: {n1: {generation: v9}}\n  expect:", "no generation 'v9'"),
        ("  expect:", "  fleet: {clusters: 5}\n  expect:", "clusters"),
        ("- name: busy for a while", "- 5\n- name: busy", "is not a case"),
        ("- name", "name", "is no list of cases"),
        ("- name", "- [", "mine.test.yaml:"),
        ('{"host_cpu_percent n1": 5x2 95 5x9, "host_cpu_percent n2": 5x2 95x9}', "5", "keys with values"),
        ("5x2 95x9}", "[]}", "is no series"),
    ],
)
def test_a_bad_case_is_named_with_its_place(sliceward: Sliceward, folder: Path, was: str, becomes: str, why: str) -> None:
    text = "name: busy\n" if becomes == "name" else CASES.replace(was, becomes, 1)
    (folder / "mine.test.yaml").write_text(text)
    ran = sliceward("rules", "test", str(folder))
    assert ran.code != 0
    assert why in ran.out + ran.err


def test_a_folder_of_bad_rules_is_told_whole(sliceward: Sliceward, folder: Path) -> None:
    (folder / "bad.yaml").write_text(RULE.replace("busy\n", "bussy\n").replace("severity", "sevrity").replace("n: 1}", "n: 0}"))
    (folder / "worse.yml").write_text("- [\n")
    ran = sliceward("rules", "lint", str(folder))
    assert ran.code == 1
    assert f"{folder}/bad.yaml:4:3: too-bussy: sevrity: is not a key that is known here; did you mean 'severity'?" in ran.out
    assert f"{folder}/bad.yaml:10:" in ran.out
    assert f"{folder}/worse.yml:" in ran.out
    found = json.loads(sliceward("rules", "lint", str(folder), "-o", "json").out)
    assert {one["level"] for one in found if "bad.yaml" in one["where"]} == {"error"}
    assert sliceward("rules", "test", str(folder)).code == 2


def test_doubts_are_told_and_are_no_error(sliceward: Sliceward, folder: Path) -> None:
    body = RULE.replace("  advice: Wait.\n", "  yields_to: [too-busy, host-lost]\n")
    rate = "{rate: {metric: host_kernel_faults_total, increase: 5, within: 1h}}"
    (folder / "mine.yaml").write_text(body.partition("  when:")[0] + f"  when: {rate}\n")
    ran = sliceward("rules", "lint", str(folder))
    assert ran.code == 0
    for why in ("has no advice", "yields to itself", "looks back 3600 s, and the watcher remembers 720 s"):
        assert why in ran.out
    assert "looks back" not in sliceward("rules", "lint", "--memory", "2h", str(folder)).out
    assert sliceward("rules", "lint", "--strict", str(folder)).code == 1
    assert "Write 720s" in sliceward("rules", "lint", "--memory", "long", str(folder)).err


def test_pages_are_printed_and_written(sliceward: Sliceward, folder: Path) -> None:
    ran = sliceward("rules", "docs", str(folder / "mine.yaml"))
    assert ran.out.startswith("# too-busy\n\nA host is busy.\n")
    out = folder / "pages"
    assert "pages in" in sliceward("rules", "docs", "--out", str(out)).out
    assert {file.stem for file in out.iterdir()} == {rule.name for rule in shipped()}
    (folder / "file").write_text("")
    assert "cannot be written" in sliceward("rules", "docs", "--out", str(folder / "file" / "x")).err


def test_what_cannot_be_read_is_refused(sliceward: Sliceward, tmp_path: Path) -> None:
    assert "cannot be read" in sliceward("rules", "lint", str(tmp_path / "none.yaml")).err
    assert "holds no YAML file" in sliceward("rules", "lint", str(tmp_path)).err
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in sliceward("rules", "lint", str(tmp_path / "bytes.yaml")).err
