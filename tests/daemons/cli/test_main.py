"""The command table: each entry is there, help loads none of them, and what is wrong is said with what to do."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from sliceward.daemons.cli import main as module
from sliceward.daemons.cli.main import COMMANDS, Entry, Table, cli
from sliceward.daemons.version import version
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_of_the_table_is_there_and_tells_its_help(name: str) -> None:
    where, _, attribute = COMMANDS[name].target.partition(":")
    assert isinstance(getattr(importlib.import_module(where), attribute), click.Command)
    told = CliRunner().invoke(cli, [name, "--help"])
    assert told.exit_code == 0, told.output
    assert "Usage:" in told.output


def test_help_names_each_command_and_loads_none() -> None:
    code = (
        "import sys\nfrom sliceward.daemons.cli.main import cli\n"
        "try:\n    cli(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('aiohttp', 'pydantic', 'rich', 'yaml', 'asyncio', 'sqlalchemy')])"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT / ".types")}
    told = subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True).stdout  # noqa: S603 (our own interpreter)
    assert [name for name in COMMANDS if f"\n  {name} " not in told] == []
    assert told.endswith("[]\n")


@pytest.mark.parametrize(("name", "spared"), [(name, what) for name, entry in COMMANDS.items() for what in entry.spared])
def test_a_command_loads_nothing_that_it_is_to_be_spared_and_others_still_find_it(name: str, spared: str) -> None:
    code = (
        f"import sys\nfrom sliceward.daemons.cli.main import cli\n"
        f"try:\n    cli([{name!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        f"before = {spared!r} in sys.modules\nimport {spared}\nprint(before)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT / ".types")}
    told = subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True).stdout  # noqa: S603 (our own interpreter)
    assert "Usage:" in told
    assert told.endswith("False\n")


def test_the_version_is_that_of_the_project() -> None:
    told = CliRunner().invoke(cli, ["--version"])
    assert told.output == f"sliceward {version()}\n"
    assert f'version = "{version()}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    told = CliRunner().invoke(cli, ["explane", "inc-1"])
    assert told.exit_code == 2
    assert "There is no command 'explane'. Did you mean 'explain'?" in told.output


def test_a_missing_package_is_answered_with_the_extra_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_much.py").write_text("import a_package_that_nobody_has\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    told = CliRunner().invoke(
        Table("t", entries={"much": Entry("needs_much:command", "", "agent")}, about="", params=[]), ["much"]
    )
    assert told.exit_code == 1
    assert "`sliceward much` needs the package a_package_that_nobody_has" in told.output
    assert 'pip install "sliceward[agent]"' in told.output


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            Misconfigured("agent.yaml: period", "is too short", "Use 1s or more"),
            2,
            "error: agent.yaml: period: is too short. Use 1s or more",
        ),
        (Refused("not allowed"), 1, "error: not allowed"),
        (Retry("nobody answers"), 1, "error: nobody answers"),
    ],
)
def test_an_error_of_ours_is_one_line_and_an_exit_code(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def command() -> None:
        raise error

    main_module: ModuleType = module
    monkeypatch.setattr(main_module, "cli", command)
    monkeypatch.setattr(sys, "argv", ["sliceward"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == code
    assert capsys.readouterr().err == said + "\n"
