"""The version of this program: from the clone it runs in, else from what is installed."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

_PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def version() -> str:
    """Give the version, e.g. ``0.1.0``; ``0+unknown`` where neither clone nor installation tells it."""
    if _PYPROJECT.is_file():
        project = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "sliceward":
            return str(project["version"])
    try:
        return metadata.version("sliceward")
    except metadata.PackageNotFoundError:
        return "0+unknown"
