"""Golden tables: one parameter for each row of a table in the folder that ``SLICEWARD_GOLDEN`` names.

A file is ``{"feature_gate_defaults": {...}, "cases": [{"name", "given", "want"}]}``; the folder's README says what each table means.
Where the variable is not set, or the folder or table is not there, one test stands for the table and is skipped by its name.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

Object = dict[str, Any]

MARK_LIFTED = "the mark would stay only because the table's API server cannot clear a list: a pod that runs there lifts it"
DEVIATIONS = {
    ("node_failure_decision", "Node NotReady, delay passed, pod running, fixed-time marking enabled - marked"): MARK_LIFTED,
}
"""Rows that are not equal on purpose; each stands in docs/decisions/0021-kueue-tables.md."""


def rows(*tables: str) -> list[ParameterSet]:
    """Give the rows of tables as parameters (given, want); feature gates are filled in from the table's defaults."""
    return [row for table in tables for row in _rows(table)]


def _rows(table: str) -> list[ParameterSet]:
    named = os.environ.get("SLICEWARD_GOLDEN", "")
    file = Path(named) / f"{table}.json"
    if not named or not file.is_file():
        reason = f"no golden table {table} (set SLICEWARD_GOLDEN to a folder that has it)"
        return [pytest.param({}, {}, id=f"golden-{table}", marks=pytest.mark.skip(reason=reason))]
    told = json.loads(file.read_text(encoding="utf-8"))
    return [_row(table, told.get("feature_gate_defaults") or {}, case) for case in told["cases"]]


def _row(table: str, defaults: Object, case: Object) -> ParameterSet:
    given = {**case["given"], "feature_gates": {**defaults, **case["given"].get("feature_gates", {})}}
    reason = DEVIATIONS.get((table, case["name"]))
    marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason is not None else []
    return pytest.param(given, case["want"], id=f"golden-{table}-{case['name']}", marks=marks)
