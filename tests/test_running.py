"""How tests are run and counted: skips, coverage by folder, claims of benchmarks; and that none hears less for what another did."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from benchmarks.claim import Claim
from benchmarks.run import met, results, section
from sliceward.daemons.logs import configure
from sliceward.daemons.settings import LogSettings
from tests.conftest import COUNTED, GROUPS, MANY
from tests.coverage_by_folder import Share, share
from tests.services.processes import LEFT_OUT

ROOT = Path(__file__).resolve().parents[1]
PROBE = """
import pytest

from tests.services.processes import need_program

def test_that_needs_a_moon():
    pytest.skip("no moon")

def test_that_needs_a_program():
    need_program("sh")

def test_that_runs():
    pass
"""


def run_probe(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run three tests under this project's conftest, in a folder of their own."""
    (folder / "test_probe.py").write_text(PROBE, encoding="utf-8")
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "SLICEWARD_NO_SKIPS", "SLICEWARD_SERVICES", "PYTEST_ADDOPTS")
    }
    path = os.pathsep.join([str(ROOT / ".types"), str(ROOT)])
    return subprocess.run(  # noqa: S603 (pytest itself)
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--rootdir",
            str(folder),
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
        ],
        cwd=folder,
        env={**plain, "PYTHONPATH": path, **environ},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_skipped_test_is_named_and_counted_at_the_end(tmp_path: Path) -> None:
    told = run_probe(tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "1 skipped" in told.stdout
    assert "test_that_needs_a_moon: no moon" in told.stdout


@pytest.mark.parametrize("variable", ["CI", "SLICEWARD_NO_SKIPS"])
def test_a_skipped_test_fails_where_nothing_may_be_skipped(variable: str, tmp_path: Path) -> None:
    told = run_probe(tmp_path, **{variable: "true"})
    assert told.returncode == 1
    assert "1 failed, 2 passed" in told.stdout
    assert "no moon" in told.stdout


def test_what_needs_a_service_is_left_out_where_that_is_asked_for_and_only_counted(tmp_path: Path) -> None:
    told = run_probe(tmp_path, SLICEWARD_SERVICES="none")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "1 passed, 2 skipped" in told.stdout
    assert f"1 skipped: {LEFT_OUT}" in told.stdout
    assert "test_that_needs_a_program" not in told.stdout
    assert "test_that_needs_a_moon: no moon" in told.stdout


def test_nothing_is_left_out_where_nothing_may_be_skipped(tmp_path: Path) -> None:
    told = run_probe(tmp_path, SLICEWARD_SERVICES="none", CI="true")
    assert told.returncode == 1
    assert "2 failed, 1 passed" in told.stdout


@pytest.mark.parametrize("beginning", [*GROUPS, *COUNTED, *MANY])
def test_what_is_said_of_some_tests_names_tests_that_there_are(beginning: str) -> None:
    assert list(ROOT.glob(f"{beginning}*"))


def summary(*, lines: tuple[int, int], branches: tuple[int, int]) -> dict[str, Any]:
    of = {"covered_lines": lines[0], "num_statements": lines[1], "covered_branches": branches[0], "num_branches": branches[1]}
    return {"summary": of}


def test_coverage_is_counted_by_folder_and_what_was_not_measured_is_nothing() -> None:
    files = {
        "topology/ids.py": summary(lines=(9, 10), branches=(1, 2)),
        "topology/deep/torus.py": summary(lines=(10, 10), branches=(2, 2)),
        "tests/test_topology.py": summary(lines=(0, 10), branches=(0, 2)),
    }
    assert share({"files": files}, "topology") == Share(branches=75.0, lines=95.0)
    assert share({"files": files}, "scheduling") == Share(branches=0.0, lines=0.0)


def a_claim(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (any key of a claim)
    return (
        {
            "claim": "it is quick",
            "value": 80.0,
            "unit": "ms",
            "goal": 150,
            "better": "lower",
            "reference": "nothing",
            "reference_value": 20.0,
        }
        | {
            "ratio": 4.0,
            "setup": "here",
        }
        | changes
    )


@pytest.mark.parametrize(
    ("better", "value", "good"), [("lower", 150, True), ("lower", 151, False), ("higher", 150, True), ("higher", 149, False)]
)
def test_a_goal_is_met_in_its_own_direction(better: str, value: float, good: bool) -> None:  # noqa: FBT001 (a table)
    assert met(a_claim(better=better, value=value)) is good


def test_a_claim_says_how_many_times_its_reference_it_is() -> None:
    claim = Claim(claim="x", value=6, unit="s", goal=5, better="lower", reference="y", reference_value=3, setup="")
    assert claim.ratio == pytest.approx(2.0)
    assert not claim.met


def a_section(name: str, *claims: dict[str, Any]) -> str:
    return section(name, list(claims), today=dt.date(2026, 1, 2), load=0.5)


def test_results_say_which_goals_are_missed() -> None:
    told = a_section("it", a_claim(), a_claim(claim="it is small", value=900))
    assert "2026-01-02" in told
    assert [line.split("|")[-2].strip() for line in told.splitlines() if line.startswith("| it")] == ["yes", "**no**"]


def test_what_does_not_run_again_keeps_its_section() -> None:
    both = results("", {"b": a_section("b", a_claim()), "a": a_section("a", a_claim())})
    again = results(both, {"b": a_section("b", a_claim(claim="it is quicker"))})
    assert again.index("## a") < again.index("it is quick") < again.index("## b") < again.index("it is quicker")
    assert results(again, {}) == again


def test_one_test_sets_up_the_logs_as_a_daemon_does() -> None:
    configure(LogSettings(level="error"))
    with capture_logs() as lines:
        structlog.get_logger().debug("quiet")
    assert lines == []


def test_the_next_test_hears_all_the_same() -> None:
    with capture_logs() as lines:
        structlog.get_logger().debug("quiet")
    assert [line["event"] for line in lines] == ["quiet"]
