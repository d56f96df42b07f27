"""``coverage_by_folder.py REPORT GOAL FOLDER…``: branch coverage of each folder from coverage's JSON; fails below the goal.

Lines and branches count alike, as coverage's own total does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def share(report: dict[str, dict[str, dict[str, dict[str, int]]]], folder: str) -> float:
    """Give the percentage of lines and branches of ``folder`` that ran; 0 where nothing of it was measured."""
    covered = known = 0
    for name, file in report["files"].items():
        if folder in Path(name).parts[:-1]:
            summary = file["summary"]
            covered += summary["covered_lines"] + summary["covered_branches"]
            known += summary["num_statements"] + summary["num_branches"]
    return 100 * covered / known if known else 0.0


def main(report: str, goal: str, *folders: str) -> int:
    """Print one line per folder; 1 where one is below the goal."""
    measured = json.loads(Path(report).read_text(encoding="utf-8"))
    shares = {folder: share(measured, folder) for folder in folders}
    for folder, percent in shares.items():
        print(f"coverage {folder:12} {percent:6.2f} % (goal {goal} %)")  # noqa: T201 (its output)
    return int(any(percent < float(goal) for percent in shares.values()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
