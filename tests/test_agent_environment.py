"""The agent's environment, made from its lock alone, has nothing heavy in it and the agent runs there."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAVY = ("numpy", "sklearn", "scipy", "pandas", "sqlalchemy", "alembic", "cel_expr_python", "kubernetes_asyncio")


@pytest.fixture(scope="session")
def agent_bin(environment: Callable[[str], Path]) -> Path:
    return environment("agent")


def test_nothing_heavy_is_installed(agent_bin: Path, tmp_path: Path) -> None:
    code = f"import importlib.util, json; print(json.dumps([n for n in {HEAVY!r} if importlib.util.find_spec(n)]))"
    told = subprocess.run([agent_bin / "python", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)  # noqa: S603
    assert json.loads(told.stdout) == []


def test_the_agent_tells_its_help(agent_bin: Path, tmp_path: Path) -> None:
    told = subprocess.run(  # noqa: S603 (made by the fixture)
        [agent_bin / "sliceward", "agent", "--help"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert "Usage: sliceward agent" in told.stdout
