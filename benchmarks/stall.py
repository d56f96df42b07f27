"""Longest stall of the coordinator's event loop: while 10,000 nodes and 40,000 pods are listed, and while hostile input comes.

The coordinator runs in a process of its own with a probe that wants to run every 5 ms; a stall is how much later it runs. Wall time:
on a machine that is busy otherwise it shows the machine. So the CPU time that the loop's thread used in the worst turn stands beside.
A second thread looks where the loop is while the probe waits: what it saw in stalls beyond the goal goes to the error stream.
Reference: the same probe beside the client library's typed list of the same nodes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from itertools import count
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
FIRST_WITHIN = 120.0
"""Seconds that the first list may take."""
MIB = 1 << 20
JUNK = (
    b"",
    b"\xff" * 1000,
    b"{" * 10_000,
    b"[" * 100_000,
    b'{"id": 7}',
    b'{"part": "' + b"x" * 500_000 + b'"}',
    b"[{}," * (MIB // 4),
)
"""Sent everywhere."""
BODIES = (
    b"[" * (32 * MIB),
    b'{"version": "4", "alerts": [' + b"{}, " * (8 * MIB),
    b'{"version": "4", "groupKey": "' + b"x" * (31 * MIB),
    b"\x00" * (64 * MIB),
)
"""Posted as alerts, one in each round beside one post of `ALERTS` that are well."""
ALERTS = 2_000
CURIOUS = ("fleet", "status", "hosts", "cubes?limit=500", "gangs", "alerts?limit=500")
DEPTH = 6


class Probe:
    """Wants to run every `BEAT`. ``wall`` and ``cpu``: the longest that it was kept waiting, and what the loop computed then, in ms."""

    def __init__(self) -> None:
        """Begin."""
        self.wall = self.cpu = 0.0
        self._due = time.perf_counter()
        self._seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Measure until cancelled."""
        looking = threading.Thread(target=self._look, args=(threading.get_ident(),), name="looking", daemon=True)
        looking.start()
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            self._due = wall + BEAT
            await asyncio.sleep(BEAT)
            self.wall = max(self.wall, (time.perf_counter() - wall - BEAT) * 1e3)
            self.cpu = max(self.cpu, (time.thread_time() - cpu) * 1e3)

    def take(self) -> dict[str, float]:
        """Give what was seen since the last time."""
        seen = {"wall": self.wall, "cpu": self.cpu}
        for place, times in self._seen.most_common(10):
            print(f"{times} looks while it stalled: {place}", file=sys.stderr)
        self.wall = self.cpu = 0.0
        self._seen.clear()
        return seen

    def _look(self, loop: int) -> None:
        """Count where the loop is whenever the probe has waited for longer than it should."""
        while True:
            time.sleep(GOAL / 5e3)
            frame = sys._current_frames().get(loop)  # noqa: SLF001 (there is no other way to ask)
            if frame is not None and time.perf_counter() - self._due > GOAL / 1e3:
                places = traceback.extract_stack(frame)[-DEPTH:]
                self._seen[" < ".join(f"{Path(at.filename).name}:{at.lineno} {at.name}" for at in reversed(places))] += 1


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
        async with asyncio.timeout(FIRST_WITHIN):
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
    """Send nonsense to everything that the coordinator listens to, and be curious; gives how much."""
    end = time.monotonic() + HOSTILE_SECONDS
    async with asyncio.TaskGroup() as tasks:
        all_of = [tasks.create_task(work) for work in (_say(broker, end), _post_alerts(api, end), _ask(api, end))]
    return sum(one.result() for one in all_of)


async def _say(broker: str, end: float) -> int:
    host, _, port = broker.removeprefix("mqtt://").partition(":")
    sent = 0
    async with aiomqtt.Client(host, int(port)) as client:
        while time.monotonic() < end:
            for junk in JUNK:
                for topic in (topics.finding, topics.progress):
                    await client.publish(topic(CLUSTER, f"junk-{sent % 500}"), junk, qos=1, retain=True)
                    sent += 1
            await asyncio.sleep(0.05)
    return sent


async def _post_alerts(api: str, end: float) -> int:
    for sent in count():
        if time.monotonic() >= end:
            return sent
        body = _alerts(sent) if sent % 3 == 0 else BODIES[sent % len(BODIES)] if sent % 3 == 1 else JUNK[sent % len(JUNK)]
        await asyncio.to_thread(_post, f"{api}/v1/webhooks/alertmanager/junk", body)
    raise AssertionError


def _alerts(round_: int) -> bytes:
    """Give a post of alerts that are well, and that no rule maps."""
    one = {"status": "firing", "labels": {"alertname": "Odd", "node": "nobody"}, "annotations": {"summary": "odd"}}
    alerts = [one | {"startsAt": "2026-01-01T00:00:00Z", "fingerprint": f"{round_ % 5:04x}{n:012x}"} for n in range(ALERTS)]
    return json.dumps({"version": "4", "alerts": alerts}).encode()


async def _ask(api: str, end: float) -> int:
    for sent in count():
        if time.monotonic() >= end:
            return sent
        await asyncio.to_thread(_post, f"{api}/api/v1/{CURIOUS[sent % len(CURIOUS)]}", None)
        await asyncio.to_thread(_post, f"{api}/api/v1/{'x' * (sent % 8) * 1000}", JUNK[sent % len(JUNK)])
    raise AssertionError


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
