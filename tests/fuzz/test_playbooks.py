"""Playbooks that are none: files broken in every way, at our own reader, our own command, and a coordinator that would start with them.

What is drawn is read here first, for hypothesis; then one process of ours reads all of it, and must say the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sliceward.playbooks.load import load_playbook
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Misconfigured
from tests.fuzz.ground import FUZZ
from tests.fuzz.junk import JUNK, broken_bytes, broken_tree
from tests.fuzz.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = dict(sorted(shipped().items()))
TREES = {where: yaml.safe_load(text) for where, text in SHIPPED.items()}
LONGEST = 1_000
"""Characters of one clause of an error."""
BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
DEEP_CEL = {
    "brackets": "(" * 900 + "true" + ")" * 900,
    "nots": "!" * 2_000 + "true",
    "lists": "[" * 900 + "1" + "]" * 900 + " == []",
    "chain": " && ".join(["true"] * 250),
    "comparisons": "[1].all(a, [1].all(b, [1].all(c, [1].all(d, [1].all(e, [1].all(f, true))))))",
    "too long": "true || " * 10_000 + "true",
    "no end": '"' + "x" * 1_000,
    "signs": "\x00\u202e\ufeff true",
    "nothing": "",
}
FIRST = next(iter(SHIPPED))


def refused(text: str) -> Misconfigured | None:
    """Read it as a coordinator does; give the refusal, which says where, why and what to do."""
    try:
        load_playbook(text, "books/odd.yaml", ACTIONS)
    except Misconfigured as error:
        no = error
    else:
        return None
    assert no.where.startswith("books/odd.yaml"), no
    assert 0 < len(no.why) < LONGEST, no.why
    assert no.what_to_do, no
    return no


@dataclass(eq=False)
class Shelf:
    """A folder of playbooks that were drawn, and which of them are none."""

    folder: Path
    bad: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def put(self, body: bytes) -> None:
        name = f"{next(self.numbers):04}.yaml"
        (self.folder / name).write_bytes(body)
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            self.bad.add(name)
        else:
            if refused(text) is not None:
                self.bad.add(name)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


@FUZZ
@given(body=st.sampled_from(sorted(SHIPPED)).flatmap(lambda where: broken_bytes(SHIPPED[where].encode())))
def test_files_that_are_cut_changed_or_of_something_else(shelf: Shelf, body: bytes) -> None:
    shelf.put(body)


@FUZZ
@given(tree=st.sampled_from(sorted(TREES)).flatmap(lambda where: broken_tree(TREES[where], JUNK)))
def test_playbooks_with_what_no_playbook_has(shelf: Shelf, tree: object) -> None:
    shelf.put(yaml.safe_dump(tree, allow_unicode=True).encode())


def test_the_command_refuses_each_of_them_by_name_and_no_other(shelf: Shelf) -> None:
    files = {file.name for file in shelf.folder.iterdir()}
    assert len(files) == 400
    assert len(shelf.bad) >= 200
    told = _run(shelf.folder, "playbook", "lint", "-o", "json", str(shelf.folder))
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    errors = [row for row in json.loads(told.stdout) if row["level"] == "error"]
    assert all(row["why"].strip() and row["what_to_do"].strip() for row in errors)
    named = {Path(row["where"].partition(":")[0]).name for row in errors}
    assert shelf.bad <= named
    # Of sound files one can be named: their names stand twice, for they were drawn from the same ones.
    assert len(named - shelf.bad) <= 1


def with_condition(expression: str) -> str:
    tree = yaml.safe_load(SHIPPED[FIRST])
    tree["spec"]["conditions"] = [{"name": "odd", "expression": expression}]
    return yaml.safe_dump(tree)


@pytest.mark.parametrize("name", sorted(DEEP_CEL))
def test_conditions_that_are_deep_long_or_none_end_in_a_word(name: str) -> None:
    refused(with_condition(DEEP_CEL[name]))


ODD_FILES = {
    "alias bomb": BOMB,
    "deep": "[" * 50_000,
    "deep mapping": "".join(f"{' ' * n}a:\n" for n in range(400)),
    "large": "x: " + "y" * 10_000_000,
    "unknown field": SHIPPED[FIRST].replace("spec:", "spec:\n  colour: red", 1),
    "key twice": SHIPPED[FIRST] + "\nspec: {}\n",
    "two documents": SHIPPED[FIRST] + "\n---\n" + SHIPPED[FIRST],
    "code": "!!python/object/apply:os.system ['true']",
    "no text": "\x00\x01\x02",
    "nothing": "",
    "a list": "- 1",
    **{
        f"condition: {name}": with_condition(text)
        for name, text in DEEP_CEL.items()
        if name in ("brackets", "too long", "no end")
    },
}


@pytest.mark.parametrize("name", sorted(ODD_FILES))
def test_files_that_are_meant_to_harm_are_refused_by_name(name: str) -> None:
    assert refused(ODD_FILES[name]) is not None


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".types"), "HOME": str(folder), "COLUMNS": "300"}
    command = [sys.executable, "-m", "sliceward.daemons.cli", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=120)  # noqa: S603 (our own)


def test_the_command_names_every_bad_file_and_the_good_one_is_read(tmp_path: Path) -> None:
    for number, name in enumerate(sorted(ODD_FILES)):
        (tmp_path / f"{number:02}.yaml").write_text(ODD_FILES[name])
    (tmp_path / "good.yaml").write_text(SHIPPED[FIRST])
    told = _run(tmp_path, "playbook", "lint", str(tmp_path))
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    for number, name in enumerate(sorted(ODD_FILES)):
        assert f"{number:02}.yaml" in told.stdout, name
    assert "good.yaml" not in told.stdout


def test_a_coordinator_does_not_start_with_a_bad_playbook_and_says_which(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books/good.yaml").write_text(SHIPPED[FIRST])
    (tmp_path / "books/odd.yaml").write_text(BOMB)
    whole = {
        "clusters": [{"name": "c1", "kubeconfig": str(tmp_path / "none"), "broker": {"url": "mqtt://127.0.0.1:1"}}],
        "store": {"url": f"sqlite:///{tmp_path}/store.db"},
        "playbooks": {"folders": [str(tmp_path / "books")]},
        "api": {"port": 0},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(whole))
    began = time.monotonic()
    told = _run(tmp_path, "coordinator", "--config", str(tmp_path / "settings.yaml"))
    assert told.returncode not in (0, None), f"after {time.monotonic() - began:.0f} s"
    assert "Traceback" not in told.stderr
    assert "odd.yaml" in told.stderr
    assert "aliases are not allowed" in told.stderr
