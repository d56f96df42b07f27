"""Real services as fixtures, the count of what was skipped, what coverage counts, and which tests run beside each other.

A test that needs an absent service is skipped by name; the names stand at the end of each run. In CI (``CI=true``) or with
``SLICEWARD_NO_SKIPS=1`` a skipped test is a failure. ``make unit`` leaves services out on purpose: those tests are counted alone.

``make test`` runs two of `GROUPS` beside each other, each in one process from its first test to its last, the one with most tests first:
flows wait for real clocks and come late where nothing computes any more; services that a group shares start once.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import structlog
from xdist.scheduler import LoadScopeScheduling

from tests.services.processes import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

pytest_plugins = ["tests.services.fixtures", "tests.services.packages"]

# Tests do not depend on how much time a busy machine has for them. Everything else, also what hypothesis does in CI, stays.
hypothesis.settings.register_profile(
    "sliceward", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("sliceward")

GROUPS = {
    "tests/contracts/": "stories",
    "tests/flows/real/": "real",
    "tests/flows/test_crash_at_every_step": "stories",
    "tests/flows/test_invariants": "stories",
    "tests/flows/": "flows",
    "tests/fuzz/": "stories",
    "tests/virtual/": "stories",
}
"""By the beginning of a test's name, the first that fits; about the same time for each, the rest being one more."""
COUNTED = (
    "tests/daemons/cli/test_replay",
    "tests/daemons/cli/test_rules",
    "tests/daemons/watcher/",
    "tests/detectors/",
    "tests/playbooks/",
    "tests/remediations/",
    "tests/scheduling/",
    "tests/topology/",
)
"""Where the pure folders are tested, detectors also in the watcher that runs them. Counting the lines that run costs several times what they take: no other test counts any."""
MANY = (
    "tests/scheduling/cubes/test_block",
    "tests/scheduling/test_repair_laws",
    "tests/scheduling/test_repair_oracle",
    "tests/scheduling/torus/test_anchors",
    "tests/scheduling/torus/test_slurm",
)
"""Thousands of cases, which run next to no line that the tests beside them do not run too: not counted either."""
OPTIONAL = "SLICEWARD_GOLDEN"
"""Names expectations from elsewhere, which nothing can install: where they are not, that is counted, and no failure."""
_NO = {"", "0", "false", "no"}


def skips_are_failures() -> bool:
    """Whether everything must be here: CI, or asked for by name."""
    return any(os.environ.get(name, "").lower() not in _NO for name in ("CI", "SLICEWARD_NO_SKIPS"))


def pytest_configure() -> None:
    # looptime asks for the loop before the first test has one, which would make one that nobody closes.
    asyncio.set_event_loop(None)


def _is_counted(name: str) -> bool:
    return name.startswith(COUNTED) and not name.startswith(MANY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not _is_counted(item.nodeid):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def _each_hears_all_that_is_logged() -> Iterator[None]:
    """Undo how a test, or a command that it called, set up the logs: lines below that level would never come to those after it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and skips_are_failures() and not hasattr(report, "wasxfail") and OPTIONAL not in _reason(report):
        report.longrepr = f"Skipped where nothing may be skipped: {_reason(report)}"
        report.outcome = "failed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _judge(report)
    return report


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist is published without types
    """Gives each group to one process (its other methods are xdist's)."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for beginning, group in GROUPS.items() if nodeid.startswith(beginning)), "the rest")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:  # noqa: ANN401 (xdist names no type of it)
    return Groups(config, log) if config.option.dist == "load" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = {report.nodeid: _reason(report) for report in terminalreporter.stats.get("skipped", ())}
    if not skipped:
        return
    left_out = sum(LEFT_OUT in why for why in skipped.values())
    terminalreporter.section(f"{len(skipped)} skipped", sep="-")
    if left_out:
        terminalreporter.write_line(f"{left_out} skipped: {LEFT_OUT}")
    for name, why in sorted(skipped.items()):
        if LEFT_OUT not in why:
            terminalreporter.write_line(f"skipped {name}: {why}")
