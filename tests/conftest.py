"""Real services as fixtures, and the count of what was skipped.

A test that needs an absent service is skipped by name; the names stand at the end of each run. In CI (``CI=true``) or with
``SLICEWARD_NO_SKIPS=1`` a skipped test is a failure.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = ["tests.services.fixtures", "tests.services.packages"]

# Tests do not depend on how much time a busy machine has for them. Everything else, also what hypothesis does in CI, stays.
hypothesis.settings.register_profile(
    "sliceward", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("sliceward")

SKIPPED = pytest.StashKey[dict[str, str]]()
_NO = {"", "0", "false", "no"}


def skips_are_failures() -> bool:
    """Whether everything must be here: CI, or asked for by name."""
    return any(os.environ.get(name, "").lower() not in _NO for name in ("CI", "SLICEWARD_NO_SKIPS"))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = {}
    # looptime asks for the loop before the first test has one, which would make one that nobody closes.
    asyncio.set_event_loop(None)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def _note(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    config.stash[SKIPPED][report.nodeid] = _reason(report)
    if skips_are_failures():
        report.outcome = "failed"
        report.longrepr = f"Skipped where nothing may be skipped: {config.stash[SKIPPED][report.nodeid]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _note(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _note(report, collector.config)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = config.stash[SKIPPED]
    if not skipped:
        return
    terminalreporter.section(f"{len(skipped)} skipped", sep="-")
    for name, why in sorted(skipped.items()):
        terminalreporter.write_line(f"skipped {name}: {why}")
