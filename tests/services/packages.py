"""The wheel and the sdist of this tree, built once per session in a copy, and fresh environments to try them in.

===================  =====================================================================================
``wheel``            path of the wheel
``sdist``            path of the sdist
``environment``      function: ``environment("agent")`` makes a venv with requirements/agent.txt and the wheel
===================  =====================================================================================
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services.processes import need_services

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
_OFFLINE = re.compile(
    r"dns error|failed to lookup|network is unreachable|error sending request|Connection refused", re.IGNORECASE
)


def _call(*command: str | Path, cwd: Path) -> None:
    told = subprocess.run([str(word) for word in command], cwd=cwd, check=False, capture_output=True, text=True)  # noqa: S603 (commands of our own)
    if told.returncode and _OFFLINE.search(told.stderr):
        pytest.skip("no package registry can be reached")
    assert told.returncode == 0, f"{command}\n{told.stdout[-1500:]}\n{told.stderr[-1500:]}"


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_services()  # neither is a registry of packages part of this project
    folder = tmp_path_factory.mktemp("packaging")
    hidden = shutil.ignore_patterns(
        ".git", ".venv", ".types", "__pycache__", "*.egg-info", "build", "dist", ".*_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, folder / "tree", ignore=hidden, symlinks=True)
    _call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", cwd=folder / "tree")
    return folder / "dist"


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    return next(distributions.glob("*.whl"))


@pytest.fixture(scope="session")
def sdist(distributions: Path) -> Path:
    return next(distributions.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a venv with what one extra is locked to and the wheel, and nothing else; give its ``bin`` folder. Made once each."""
    made: dict[str, Path] = {}

    def make(extra: str) -> Path:
        if extra not in made:
            folder = tmp_path_factory.mktemp(f"venv-{extra}")
            uv = [sys.executable, "-m", "uv", "--quiet"]
            _call(*uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
            install: list[str | Path] = [*uv, "pip", "install", "--python", folder / "venv" / "bin" / "python"]
            _call(*install, "--require-hashes", "--requirements", ROOT / "requirements" / f"{extra}.txt", cwd=folder)
            _call(*install, "--no-deps", wheel, cwd=folder)
            made[extra] = folder / "venv" / "bin"
        return made[extra]

    return make
