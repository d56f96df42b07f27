"""The command line as a person calls it, against a coordinator that serves HTTP."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest
import structlog

from sliceward.daemons.cli.main import main
from tests.daemons.stage import a_story, a_world, on_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.daemons.stage import Stage


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Sliceward(Protocol):
    """Calls ``sliceward ARGUMENTS`` with ``typed`` at the keyboard."""

    def __call__(self, *arguments: str, typed: str = "") -> Ran: ...


@dataclass
class Told:
    """A coordinator and the incident that is open there."""

    stage: Stage
    incident: str


@pytest.fixture(scope="session", autouse=True)
def _logs() -> Iterator[None]:
    """Keep the coordinator's log, which runs in the same process here, out of what the commands print."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Give a coordinator in the middle of a story; for commands that only read."""
    with on_stage(a_world(tmp_path_factory.mktemp("coordinator"))) as stage:
        yield Told(stage, a_story(stage))


@pytest.fixture
def sliceward(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Sliceward:
    for name in ("SLICEWARD_TOKEN_FILE", "SLICEWARD_MQTT_URL", "SLICEWARD_PROMETHEUS_URL"):
        monkeypatch.delenv(name, raising=False)
    if "told" in request.fixturenames:
        monkeypatch.setenv("SLICEWARD_SERVER", request.getfixturevalue("told").stage.address)

    def call(*arguments: str, typed: str = "") -> Ran:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr("sys.argv", ["sliceward", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        with redirect_stdout(out), redirect_stderr(err):
            code = 0
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Ran(code, out.getvalue(), err.getvalue())

    return call
