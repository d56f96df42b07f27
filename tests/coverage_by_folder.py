"""``coverage_by_folder.py REPORT GOAL FOLDER…``: branch and line coverage of each folder from coverage's JSON; fails where either is below the goal."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Share:
    """Percent of the branches and of the lines that ran. What was not measured is 0."""

    branches: float
    lines: float


def _percent(covered: int, known: int, *, measured: bool) -> float:
    return 100 * covered / known if known else 100.0 * measured


def share(report: dict[str, Any], folder: str) -> Share:
    """Give what ran of ``folder``."""
    found = [file["summary"] for name, file in report["files"].items() if folder in Path(name).parts[:-1]]

    def total(key: str) -> int:
        return sum(int(summary[key]) for summary in found)

    return Share(
        branches=_percent(total("covered_branches"), total("num_branches"), measured=bool(found)),
        lines=_percent(total("covered_lines"), total("num_statements"), measured=bool(found)),
    )


def main(report: str, goal: str, *folders: str) -> int:
    """Print one line per folder; 1 where one is below the goal."""
    measured = json.loads(Path(report).read_text(encoding="utf-8"))
    shares = {folder: share(measured, folder) for folder in folders}
    for folder, of in shares.items():
        print(f"coverage {folder:12} branches {of.branches:6.2f} %, lines {of.lines:6.2f} % (goal {goal} %)")  # noqa: T201 (its output)
    return int(any(min(of.branches, of.lines) < float(goal) for of in shares.values()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
