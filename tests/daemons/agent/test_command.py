"""``sliceward agent`` as a process of its own, against a broker that is really there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from click.testing import CliRunner

from sliceward.daemons.agent.command import command
from sliceward.daemons.broker import running_broker
from sliceward.daemons.wire import Message, Wire
from sliceward.detectors.frame import decode
from tests.daemons.sources.builders import a_host, eventually

HEAVY = ("numpy", "sqlalchemy", "kubernetes_asyncio", "cel_expr_python", "sklearn", "psutil")
ENVIRON = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3] / ".types")}


async def test_it_sends_frames_and_says_good_bye_at_sigterm(tmp_path: Path) -> None:
    heard: list[Message] = []
    async with running_broker() as url, a_host(tmp_path / "host", address="127.122.0.2") as host:
        wire = Wire(url, client_id="test", subscribe=("sliceward/v1/prod/hosts/#",))
        listening = asyncio.create_task(wire.run(heard.append))
        await eventually(lambda: wire.connected)
        file = tmp_path / "agent.yaml"
        file.write_text(json.dumps(host.agent_configuration(cluster="prod", broker=url, period="200ms")))
        arguments = (sys.executable, "-c", "from sliceward.daemons.agent.command import command; command()", "-c", str(file))
        process = await asyncio.create_subprocess_exec(*arguments, env=ENVIRON, stderr=asyncio.subprocess.DEVNULL)
        try:
            await eventually(lambda: any(message.topic.endswith("/frame") for message in heard))
        finally:
            process.send_signal(signal.SIGTERM)
            code = await process.wait()
        await eventually(lambda: json.loads(_statuses(heard)[-1].payload)["online"] is False)
        listening.cancel()
        await asyncio.wait([listening])
    frame = decode(next(message.payload for message in heard if message.topic.endswith("/frame")))
    assert (code, frame.host) == (0, "node-1")
    assert json.loads(_statuses(heard)[-1].payload)["why"] == "stopped"


def _statuses(heard: list[Message]) -> list[Message]:
    return [message for message in heard if message.topic.endswith("/status")]


def test_check_says_that_a_configuration_is_good(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("cluster: prod\nnode: node-1\n")
    result = CliRunner().invoke(command, ["-c", str(file), "--check"])
    assert (result.exit_code, result.output) == (0, "configuration is good: host node-1 of cluster prod\n")


async def test_the_agent_stays_small() -> None:
    code = f"import sys, sliceward.daemons.agent.command; print([name for name in {HEAVY!r} if name in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=ENVIRON, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert told == b"[]\n"
