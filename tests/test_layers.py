"""The contracts of import-linter see what they are there for: each is broken on purpose in a copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("daemons", "detectors", "playbooks", "remediations", "scheduling", "simulation", "topology", "workload")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "siblings.py", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".types").mkdir()
    (tmp_path / ".types" / "sliceward").symlink_to("..")
    return tmp_path


def told_of(tree: Path, contract: str) -> str:
    """Give what import-linter says of one contract."""
    code = (
        "import sys; from importlinter.cli import lint_imports;"
        f"sys.exit(lint_imports(no_cache=True, limit_to_contracts=({contract!r},)))"
    )
    environ = {**os.environ, "PYTHONPATH": str(tree / ".types")}
    return subprocess.run([sys.executable, "-c", code], cwd=tree, env=environ, check=False, capture_output=True, text=True).stdout  # noqa: S603 (our own interpreter)


def test_neither_actions_nor_playbooks_reach_the_network_by_way_of_an_adapter(tree: Path) -> None:
    assert "1 kept, 0 broken" in told_of(tree, "adapters")
    (tree / "remediations/host_greet.py").write_text("from sliceward.remediations.kubernetes import connect\n\nprint(connect)\n")
    (tree / "playbooks/greeting.py").write_text("from sliceward.remediations import kubernetes\n\nprint(kubernetes)\n")
    (tree / "remediations/gangs/greeting.py").write_text("from sliceward.remediations.paging import plan\n\nprint(plan)\n")
    told = told_of(tree, "adapters")
    assert "0 kept, 1 broken" in told
    assert [
        name for name in ("remediations.host_greet", "playbooks.greeting", "remediations.gangs.greeting") if name not in told
    ] == []
