"""The layouts of the two images, made of the same wheel and locks by what the Dockerfile says, without a builder of images."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Stage:
    """One stage: its name, what it starts from, and its instructions with their arguments, in order."""

    name: str
    base: str
    steps: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        return [arguments for one, arguments in self.steps if one == instruction]

    @property
    def locks(self) -> list[str]:
        """Give the locks that it installs."""
        return re.findall(r"--requirement (requirements/\S+)", " ".join(self.all("RUN")))


def stages() -> dict[str, Stage]:
    """Read the Dockerfile."""
    text = re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)
    lines = [line.split(maxsplit=1) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    found: dict[str, Stage] = {}
    for instruction, arguments in lines:
        if instruction == "FROM":
            base, _, name = arguments.partition(" AS ")
            found[name] = Stage(name, base, ())
        elif found:
            last = next(reversed(found.values()))
            found[last.name] = Stage(last.name, last.base, (*last.steps, (instruction, arguments)))
    return found


def layout(image: str, wheel: Path, folder: Path) -> Path:
    """Make the environment of an image; give its program ``sliceward``."""
    packages = stages()[f"{image}-packages"]
    uv, python = [sys.executable, "-m", "uv", "--quiet"], folder / "bin" / "python"
    install = [*uv, "pip", "install", "--python", str(python)]
    locked = [word for lock in packages.locks for word in ("--requirements", str(ROOT / lock))]
    _call(*uv, "venv", "--python", sys.executable, str(folder))
    _call(*install, "--require-hashes", *locked)
    _call(*install, "--no-deps", "--no-index", str(wheel))
    return folder / "bin" / "sliceward"


def _call(*command: str) -> None:
    told = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (ours)
    if told.returncode and re.search("dns error|network is unreachable|error sending request", told.stderr, re.IGNORECASE):
        pytest.skip("no package registry can be reached")
    assert told.returncode == 0, told.stderr[-1500:]
