"""Longest stall of the coordinator's event loop: while 10,000 nodes and 40,000 pods are listed, and while hostile input comes.

The coordinator runs in a process of its own with a probe that wants to run every 5 ms; a stall is how much later it runs. Wall time:
on a machine that is busy otherwise it shows the machine. So the CPU time that the loop's thread used in the worst turn stands beside.
Reference: the same probe beside the client library's typed list of the same nodes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt
from kubernetes_asyncio import config as kube_config
from kubernetes_asyncio.client import ApiClient, Configuration, CoreV1Api

from benchmarks._fleet import CLUSTER, a_broker, a_process, an_api, free_port
from benchmarks.claim import Claim, setup, tell
from sliceward.daemons import logs, topics
from sliceward.daemons.collector import keep_short
from sliceward.daemons.coordinator.run import running
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load

if TYPE_CHECKING:
    import subprocess

HOSTS, PODS_A_HOST = 10_000, 4
FIRST_GOAL, GOAL = 250.0, 50.0
BEAT = 0.005
HOSTILE_SECONDS = 30.0
JUNK = (b"", b"\xff" * 1000, b"{" * 10_000, b"[" * 100_000, b'{"id": 7}', b'{"part": "' + b"x" * 500_000 + b'"}')


class Probe:
    """Wants to run every `BEAT`. ``wall`` and ``cpu``: the longest that it was kept waiting, and what the loop computed then, in ms."""

    def __init__(self) -> None:
        """Begin."""
        self.wall = self.cpu = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT)
            self.wall = max(self.wall, (time.perf_counter() - wall - BEAT) * 1e3)
            self.cpu = max(self.cpu, (time.thread_time() - cpu) * 1e3)

    def take(self) -> dict[str, float]:
        """Give what was seen since the last time."""
        seen = {"wall": self.wall, "cpu": self.cpu}
        self.wall = self.cpu = 0.0
        return seen


async def coordinate() -> None:
    """Run a coordinator; after each line on the input say how long it stalled since the one before."""
    probe = Probe()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    settings = load(CoordinatorSettings, file=None, environ=os.environ)
    logs.configure(settings.log)
    async with running(settings, write=lambda _text: None) as found, asyncio.TaskGroup() as tasks:
        helpers = [tasks.create_task(probe.run()), tasks.create_task(keep_short())]
        side = found.coordinator.parts.sides[0]
        while side.fleet is None:  # noqa: ASYNC110 (whoever waits for the fleet asks as the API does)
            await asyncio.sleep(0.1)
        await asyncio.sleep(2.0)
        print(json.dumps(probe.take() | {"hosts": len(side.fleet.hosts)}), flush=True)
        await reader.readline()
        print(json.dumps(probe.take()), flush=True)
        for helper in helpers:
            helper.cancel()


async def list_typed(kubeconfig: str) -> None:
    """Be the reference."""
    probe, configuration = Probe(), Configuration()
    await kube_config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    async with ApiClient(configuration) as client:
        probing = asyncio.create_task(probe.run())
        await asyncio.sleep(0.1)
        await CoreV1Api(client).list_node()
        await asyncio.sleep(0.1)
        probing.cancel()
    print(json.dumps(probe.take()), flush=True)


async def be_hostile(broker: str, api: str) -> int:
    """Send nonsense to everything that the coordinator listens to; gives how much."""
    host, _, port = broker.removeprefix("mqtt://").partition(":")
    end, sent = time.monotonic() + HOSTILE_SECONDS, 0
    async with aiomqtt.Client(host, int(port)) as client:
        while time.monotonic() < end:
            for n, junk in enumerate(JUNK):
                await client.publish(topics.finding(CLUSTER, f"junk-{sent % 500}"), junk, qos=1, retain=True)
                await client.publish(topics.progress(CLUSTER, f"junk-{sent % 500}"), junk, qos=1, retain=True)
                await asyncio.to_thread(_post, f"{api}/v1/webhooks/alertmanager/junk", junk)
                await asyncio.to_thread(_post, f"{api}/api/v1/{'x' * n * 1000}", junk)
                for path in ("fleet", "status", "hosts", "cubes", "gangs"):
                    await asyncio.to_thread(_post, f"{api}/api/v1/{path}", None)
                sent += 9
            await asyncio.sleep(0.05)
    return sent


def _post(url: str, body: bytes | None) -> None:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 (loopback)
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 (loopback)
        answer.read()


def _line(process: subprocess.Popen[str]) -> dict[str, float]:
    for line in process.stdout or ():
        if line.startswith("{"):
            told: dict[str, float] = json.loads(line)
            return told
    raise SystemExit("a process that was measured ended")


def main() -> None:
    """Measure first list, hostile input, reference."""
    with (
        tempfile.TemporaryDirectory(prefix="sliceward-") as folder,
        a_broker(Path(folder)) as (broker, _),
        an_api(Path(folder), hosts=HOSTS, pods_a_host=PODS_A_HOST, beat=300.0) as kubeconfig,
    ):
        port = free_port()
        environ = {
            "SLICEWARD_CLUSTER": CLUSTER,
            "SLICEWARD_MQTT_URL": broker,
            "KUBECONFIG": str(kubeconfig),
            "SLICEWARD_STORE_URL": f"sqlite:///{folder}/store.db",
            "SLICEWARD_API__PORT": str(port),
            "SLICEWARD_LOG__LEVEL": "error",
        }
        with a_process([sys.executable, "-m", "benchmarks.stall", "--coordinator"], environ, talks=True) as process:
            first = _line(process)
            sent = asyncio.run(be_hostile(broker, f"http://127.0.0.1:{port}"))
            process.stdin.write("\n")  # type: ignore[union-attr]  # it is a pipe
            process.stdin.flush()  # type: ignore[union-attr]  # as above
            later = _line(process)
        with a_process([sys.executable, "-m", "benchmarks.stall", "--typed", str(kubeconfig)]) as process:
            typed = _line(process)
    what = f"{HOSTS} nodes, {HOSTS * PODS_A_HOST} pods, emulated API server"
    for name, seen, goal, when in (
        ("longest_first_stall_ms: the coordinator's loop during the first list", first, FIRST_GOAL, "until the fleet was read"),
        (
            "longest_stall_ms: the coordinator's loop under hostile input",
            later,
            GOAL,
            f"{sent} hostile or curious messages in 30 s",
        ),
    ):
        tell(
            Claim(
                claim=name,
                value=seen["wall"],
                unit="ms",
                goal=goal,
                better="lower",
                reference="the client's typed list of the nodes",
                reference_value=typed["wall"],
                setup=setup(f"{what}, {when}; the loop's thread computed {seen['cpu']:.0f} ms at most in one turn"),
            )
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--coordinator"]:
            asyncio.run(coordinate())
        case ["--typed", kubeconfig]:
            asyncio.run(list_typed(kubeconfig))
        case _:
            main()
