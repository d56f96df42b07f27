"""What every action promises, and that each has its file and its test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.gangs.catalog import GANG_KINDS

if TYPE_CHECKING:
    from sliceward.remediations.action import Action

ROOT = Path(__file__).parents[2]
WRITES = {"patch", "create", "delete", "update"}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_each_action_declares_what_it_is(action: Action) -> None:
    assert action.about.endswith(".")
    assert not action.inverse or action.inverse in ACTIONS
    assert all(help_line for help_line in action.parameters.values())
    assert not (action.irreversible and not action.harm), "what cannot be undone is stopped by a pause"


@pytest.mark.parametrize("name", ACTIONS)
def test_each_action_has_a_file_and_a_test_of_its_name(name: str) -> None:
    file = name.replace(".", "_")
    assert (ROOT / "remediations" / f"{file}.py").exists()
    assert (ROOT / "tests" / "remediations" / f"test_{file}.py").exists()


@pytest.mark.parametrize("name", ["domain.give_back", "node.uncordon", "gang.resume"])
def test_healing_is_never_stopped(name: str) -> None:
    assert not ACTIONS[name].harm


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_an_action_that_only_looks_declares_no_write(action: Action) -> None:
    writes = {verb for line in action.verbs for verb in line.verbs} & WRITES
    if action.name in {"gang.plan", "gang.checkpoint", "gang.wait_gone", "gang.verify", "evidence.keep", "host.repair"}:
        assert not writes


def test_each_kind_of_gang_is_listed_by_the_kind_of_its_owner() -> None:
    assert set(GANG_KINDS) == {"JobSet", "Job"}
