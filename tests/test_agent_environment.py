"""The agent's environment, made from its lock alone, has nothing heavy in it and the agent runs there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.services.processes import need_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services.servers import Service

HEAVY = ("aiohttp", "numpy", "sklearn", "scipy", "pandas", "sqlalchemy", "alembic", "cel_expr_python", "kubernetes_asyncio")


@pytest.fixture(scope="session")
def agent_bin(environment: Callable[[str], Path]) -> Path:
    return environment("agent")


def test_nothing_heavy_is_installed(agent_bin: Path, tmp_path: Path) -> None:
    code = f"import importlib.util, json; print(json.dumps([n for n in {HEAVY!r} if importlib.util.find_spec(n)]))"
    told = subprocess.run([agent_bin / "python", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)  # noqa: S603 (made by the fixture)
    assert json.loads(told.stdout) == []


def test_the_agent_tells_its_help(agent_bin: Path, tmp_path: Path) -> None:
    told = subprocess.run(  # noqa: S603 (made by the fixture)
        [agent_bin / "sliceward", "agent", "--help"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert "Usage: sliceward agent" in told.stdout


@contextmanager
def running_agent(agent_bin: Path, folder: Path, broker: Service) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        "PATH": os.environ["PATH"],
        "SLICEWARD_CLUSTER": "c1",
        "SLICEWARD_NODE_NAME": "tpu-1",
        "SLICEWARD_MQTT_URL": broker.url,
        "SLICEWARD_GENERATION": "tpu7x",
        "SLICEWARD_CHIPS": "4",
        "SLICEWARD_PERIOD": "500ms",
        "SLICEWARD_STATE": str(folder / "state"),
        "SLICEWARD_KUBERNETES__ENABLED": "false",
        "SLICEWARD_SOURCES__REPORTER__SOCKET": str(folder / "reporter.sock"),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([agent_bin / "sliceward", "agent"], cwd=folder, env=environ, stdout=log, stderr=log)  # noqa: S603 (made by the fixture)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_the_agent_sends_frames_from_there_and_ends_when_told(agent_bin: Path, mosquitto: Service, tmp_path: Path) -> None:
    listen = [
        need_program("mosquitto_sub"),
        "-p",
        str(mosquitto.port),
        "-W",
        "30",
        "-C",
        "1",
        "-t",
        "sliceward/v1/c1/hosts/tpu-1/frame",
    ]
    with running_agent(agent_bin, tmp_path, mosquitto) as agent:
        heard = subprocess.run(listen, check=False, capture_output=True)  # noqa: S603 (found above)
        assert heard.stdout, (tmp_path / "log").read_text(encoding="utf-8")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=20) == 0, (tmp_path / "log").read_text(encoding="utf-8")
