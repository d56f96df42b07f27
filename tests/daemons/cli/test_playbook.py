"""``playbook lint|plan|list|schema``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from tests.daemons.stage import a_story, a_world, on_stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemons.cli.conftest import Sliceward, Told

GOOD = shipped()["ici-link-in-cube.yaml"]


def test_the_shipped_playbooks_have_no_error(sliceward: Sliceward) -> None:
    ran = sliceward("playbook", "lint")
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[-1].startswith(f"{len(shipped())} files: 0 errors")


def test_a_folder_and_files_are_linted_together(sliceward: Sliceward, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(GOOD)
    (tmp_path / "two.yml").write_text(GOOD.replace("domain.mark,", "domain.mrak,"))
    (tmp_path / "three.yaml").write_text(GOOD.replace("  priority:", "  priorty:"))
    ran = sliceward("playbook", "lint", str(tmp_path))
    assert ran.code == 1
    assert f"{tmp_path}/two.yml:" in ran.out
    assert "spec.steps[2].action: 'domain.mrak' is no action" in ran.out
    assert "Did you mean 'domain.mark'?" in ran.out
    assert "priorty: is a key that does not exist" in ran.out
    assert "Did you mean 'priority'?" in ran.out
    found = json.loads(sliceward("playbook", "lint", str(tmp_path), "-o", "json").out)
    assert {one["level"] for one in found[:2]} == {"error"}
    assert all(one["where"] and one["why"] and one["what_to_do"] for one in found)
    names = sliceward("playbook", "lint", str(tmp_path), "-o", "name")
    assert (names.code, len(names.lines)) == (1, len(found))


def test_a_doubt_fails_only_where_it_was_asked_to(sliceward: Sliceward, tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(GOOD.replace("mode: Observe", "mode: Enforce"))
    ran = sliceward("playbook", "lint", str(file))
    assert (ran.code, "warning: " in ran.out, "begins in mode Enforce" in ran.out) == (0, True, True)
    assert sliceward("playbook", "lint", "--strict", str(file)).code == 1


@pytest.mark.parametrize(
    ("verb", "name"),
    [("lint", "nowhere.yaml"), ("lint", "empty"), ("list", "nowhere.yaml"), ("list", "empty"), ("list", "binary.yaml")],
)
def test_a_path_that_cannot_be_read_is_told(sliceward: Sliceward, tmp_path: Path, verb: str, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    ran = sliceward("playbook", verb, str(tmp_path / name))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {tmp_path / name}")


def test_a_file_that_is_no_text_is_one_error_among_others(sliceward: Sliceward, tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"ab\xff\xfe\x00")
    (tmp_path / "odd.yaml").write_text("a: [", encoding="utf-8")
    ran = sliceward("playbook", "lint", str(tmp_path))
    assert (ran.code, ran.err) == (1, "")
    assert f"{tmp_path / 'binary.yaml'}: is not UTF-8: invalid start byte after 2 bytes" in ran.out
    assert "2 files: 2 errors" in ran.out


def test_a_plan_names_every_change_in_order(sliceward: Sliceward, tmp_path: Path) -> None:
    by_name = sliceward("playbook", "plan", "ici-link-in-cube")
    assert (by_name.code, by_name.err) == (0, "")
    actions = [line.split()[1] for line in by_name.lines if line.strip()[:1].isdecimal()]
    assert actions[:3] == ["evidence.keep", "gang.plan", "domain.mark"]
    assert actions[-2:] == ["domain.give_back", "gang.resume"]
    assert "if a step fails:" in by_name.out
    assert "undone by domain.give_back" in by_name.out
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    assert sliceward("playbook", "plan", str(file)).out == by_name.out
    (planned,) = json.loads(sliceward("playbook", "plan", str(file), "-o", "json").out)
    assert [change["action"] for change in planned["changes"]] == actions
    assert planned["changes"][1]["applies"] == 'gang.id != ""'
    two = sliceward("playbook", "plan", "throttled", "device-occupied", "-o", "name")
    assert two.lines == ["throttled", "device-occupied"]


def test_the_plan_of_an_incident_comes_from_its_coordinator(told: Told, sliceward: Sliceward) -> None:
    ran = sliceward("playbook", "plan", told.incident)
    assert ran.lines[0] == f"{told.incident}: ici-link-in-cube (mode Enforce)"
    states = {line.split()[1]: line.split()[-1] for line in ran.lines if line.strip()[:1].isdecimal()}
    assert (states["domain.mark"], states["gang.checkpoint"]) == ("done", "running")
    ran = sliceward("playbook", "plan", "inc-none")
    assert (ran.code, "there is no incident" in ran.err) == (1, True)


def test_an_incident_that_waits_is_planned_with_what_is_known_of_it(
    sliceward: Sliceward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_stage(a_world(tmp_path, Mode.OBSERVE)) as stage:
        monkeypatch.setenv("SLICEWARD_SERVER", stage.address)
        incident = a_story(stage, rounds=14)
        (planned,) = json.loads(sliceward("playbook", "plan", f"incident/{incident}", "-o", "json").out)
        assert (planned["playbook"], planned["mode"]) == ("ici-link-in-cube", "Observe")
        assert all(change["applies"] is True for change in planned["changes"])


def test_an_unknown_playbook_is_told_with_the_known_ones(sliceward: Sliceward) -> None:
    ran = sliceward("playbook", "plan", "ici-link")
    assert (ran.code, "ici-link-in-cube" in ran.err) == (2, True)


def test_list_and_schema(sliceward: Sliceward) -> None:
    names = [row["name"] for row in json.loads(sliceward("playbook", "list", "-o", "json").out)]
    assert sorted(names) == sorted(name.removesuffix(".yaml") for name in shipped())
    assert sliceward("playbook", "list").lines[0].split() == ["NAME", "PRIORITY", "MODE", "KINDS", "SUMMARY"]
    assert "steps" in json.dumps(json.loads(sliceward("playbook", "schema").out)["$defs"]["Spec"])


@pytest.mark.parametrize("verb", ["lint", "plan", "list", "schema"])
def test_each_tells_its_help(sliceward: Sliceward, verb: str) -> None:
    ran = sliceward("playbook", verb, "--help")
    assert (ran.code, "Usage:" in ran.out) == (0, True)
