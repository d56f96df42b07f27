"""``silence add|list|end``: says what it fits, is listed with the windows, and ends with a reason."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from sliceward.playbooks.silences import Matches, Once, Window
from tests.daemons.stage import a_story, a_world, on_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.daemons.cli.conftest import Sliceward
    from tests.daemons.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    world = a_world(tmp_path)
    begins = world.clock() + timedelta(hours=3)
    world.windows = (Window("power", Matches(cubes=("cube-2",)), "power work", Once(begins, begins + timedelta(hours=1))),)
    with on_stage(world) as stage:
        monkeypatch.setenv("SLICEWARD_SERVER", stage.address)
        yield stage


def begun(sliceward: Sliceward, *more: str) -> str:
    ran = sliceward("silence", "add", "--reason", "new optics", "-o", "name", *more)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def test_a_silence_says_what_it_fits_and_explain_tells_that_it_holds(stage: Stage, sliceward: Sliceward) -> None:
    ran = sliceward("silence", "add", "--cube", "cube-0", "--cube", "cube-1", "--for", "2h", "--reason", "new optics")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("sil-")
    assert "; fits 2 cubes" in ran.out
    incident = a_story(stage, rounds=14)
    told = sliceward("explain", incident).out
    assert "guard not-silenced: NO, silenced by sil-" in told
    assert "of local until" in told


@pytest.mark.usefixtures("stage")
def test_what_fits_nothing_is_warned_of(sliceward: Sliceward) -> None:
    ran = sliceward("silence", "add", "--host", "cube-0-hots-1", "--gang", "default/train", "--for", "2h", "--reason", "x")
    assert ran.code == 0
    assert ran.err == "warning: of the hosts that are known now none fits cube-0-hots-1\n"
    assert "fits 0 hosts, 1 gangs" in ran.out


@pytest.mark.usefixtures("stage")
def test_the_list_has_what_is_in_force_to_come_and_with_all_what_is_over(sliceward: Sliceward) -> None:
    first = begun(sliceward, "--playbook", "ici-*", "--for", "2h")
    over = begun(sliceward, "--host", "a", "--for", "1h")
    ended = sliceward("silence", "end", over, "--reason", "done")
    assert (ended.code, ended.out) == (0, f"{over}: ended\n")
    rows = json.loads(sliceward("silence", "list", "-o", "json").out)
    assert [(row["id"], row["state"]) for row in rows] == [(first, "active"), ("window/power", "pending")]
    shown = sliceward("silence", "list").lines
    assert shown[0].split()[:3] == ["ID", "STATE", "WHAT"]
    assert "playbooks ici-*" in shown[1]
    assert sliceward("silence", "list", "-o", "name").lines == [first, "window/power"]
    every = sliceward("silence", "list", "--all").out
    assert "new optics (ended by local: done)" in every


@pytest.mark.usefixtures("stage")
def test_it_can_be_given_to_programs(sliceward: Sliceward) -> None:
    ran = sliceward("silence", "add", "--host", "a", "--for", "2h", "--reason", "x", "-o", "yaml")
    made = yaml.safe_load(ran.out)
    assert (made["why"], made["matches"]["hosts"]) == ("x", ["a"])
    ended = sliceward("silence", "end", made["id"], "--reason", "y", "-o", "json")
    assert json.loads(ended.out)["ended_why"] == "y"
    assert sliceward("silence", "end", begun(sliceward, "--host", "b", "--for", "2h"), "--reason", "y", "-o", "name").code == 0


@pytest.mark.usefixtures("stage")
def test_it_may_begin_later_and_end_at_a_time(stage: Stage, sliceward: Sliceward) -> None:
    now = stage.bench.world.clock()
    times = ("--from", (now + timedelta(hours=1)).isoformat(), "--until", (now + timedelta(hours=2)).isoformat())
    ran = sliceward("silence", "add", "--host", "a", "--reason", "x", *times)
    assert ": pending until " in ran.out


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("add", "--for", "2h", "--reason", "x"), 2, "Say what"),
        (("add", "--host", "a", "--reason", "x"), 2, "Say how long"),
        (("add", "--host", "a", "--for", "1h", "--until", "x", "--reason", "x"), 2, "Say how long"),
        (("add", "--host", "a", "--for", "1h"), 2, "--reason"),
        (("add", "--host", "a", "--for", "soon", "--reason", "x"), 2, "no duration"),
        (("add", "--host", "a", "--for", "60d", "--reason", "x"), 1, "longer than 30 days"),
        (("end", "sil-none", "--reason", "x"), 1, "there is no silence"),
        (("end", "window/power", "--reason", "x"), 1, "stands in the configuration"),
        (("end", "sil-none"), 2, "--reason"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_with_its_reason(
    sliceward: Sliceward, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = sliceward("silence", *arguments)
    assert (ran.code, said in ran.err) == (code, True), ran.err
