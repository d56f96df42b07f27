"""Cores that 25,000 hosts' frames cost from a real Mosquitto through the real watcher; reference: bare aiomqtt on the same bytes.

``ingest.py [SECONDS [HOSTS]]``: how long frames are sent and CPU is counted, 300 if not given, and for how many hosts. These fill whole
cubes, so there may be a few more: one that is there and sends nothing would rightly be found silent. One process sends them, evenly
over each period. Every frame must be taken, and every sick chip be found, or there is no claim, but a word on who lost them: who
sends, the broker, the watcher's inbox, or its panel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import aiomqtt

from benchmarks._fleet import CLUSTER, HOSTS_A_CUBE, Cost, a_broker, a_process, an_api, free_port, until
from benchmarks._frames import is_sick
from benchmarks.claim import Claim, setup, tell
from sliceward.daemons import topics

GOAL = 0.5
PERIOD = 10.0
BARE_SECONDS = 30.0
OF_THE_BROKER = "$SYS/broker/publish/messages"
LISTENING = 5.0
LEAD = 30.0
"""Seconds of frames before CPU is counted: the panel makes its arrays, the watcher warms up."""


def load(url: str, hosts: int, seconds: float, boot: str) -> list[str]:
    """Give the command that sends frames."""
    port = url.rpartition(":")[2]
    return [sys.executable, "-m", "benchmarks._frames", port, str(hosts), str(PERIOD), str(seconds), boot]


def figures(port: int) -> dict[str, float]:
    """Read the watcher's figures."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(sliceward_\S+) (\S+)$", text, re.MULTILINE)}


def through_the_watcher(folder: Path, broker: tuple[str, int], hosts: int, seconds: float) -> tuple[float, float, float]:
    """Give the watcher's and the broker's cores, and the seconds over which they were counted."""
    (url, pid), port = broker, free_port()
    with an_api(folder, hosts=hosts, beat=300.0) as kubeconfig:
        environ = {
            "SLICEWARD_CLUSTER": CLUSTER,
            "SLICEWARD_MQTT_URL": url,
            "KUBECONFIG": str(kubeconfig),
            "SLICEWARD_HEALTH__PORT": str(port),
            "SLICEWARD_LOG__LEVEL": "error",
            "SLICEWARD_RULES__WARM_UP": "20s",
        }
        with a_process([sys.executable, "-m", "sliceward.daemons.cli", "watcher"], environ) as watcher:
            until(lambda: _knows(port, hosts), "the fleet", alive=lambda: watcher.poll() is None)
            with a_process(load(url, hosts, LEAD + seconds, "first")) as sender:
                time.sleep(LEAD)
                before, broker_before, began = Cost.of(watcher.pid), Cost.of(pid), time.monotonic()
                told = json.loads((sender.stdout or sys.stdin).readline())
                after, broker_after, counted = Cost.of(watcher.pid), Cost.of(pid), time.monotonic() - began
            time.sleep(PERIOD)  # the last round looks at the last frames, and no host is silent yet
            found = figures(port)
            cores = (after.cpu - before.cpu) / counted
            told |= {"cores": cores, "load": os.getloadavg()[0], **asyncio.run(of_the_broker(url))}
            print(f"watcher {after.resident >> 20} MiB resident, {told}", file=sys.stderr)
            check(found, told, hosts)
    return cores, (broker_after.cpu - broker_before.cpu) / counted, counted


def _knows(port: int, hosts: int) -> bool:
    try:
        return figures(port)['sliceward_hosts_known{cluster="c1"}'] >= hosts
    except OSError:
        return False


async def of_the_broker(url: str) -> dict[str, float]:
    """Give how many messages the broker itself says it dropped; it says nothing of it while there are none."""
    host, _, port = url.removeprefix("mqtt://").partition(":")
    told: dict[str, float] = {}
    with contextlib.suppress(TimeoutError):
        async with aiomqtt.Client(host, int(port)) as client, asyncio.timeout(LISTENING):
            await client.subscribe(f"{OF_THE_BROKER}/#")
            async for message in client.messages:
                told[message.topic.value.rpartition("/")[2]] = float(str(message.payload, "ascii"))
    if not told.get("received"):
        raise SystemExit("the broker tells nothing of itself")
    return {"dropped": told.get("dropped", 0.0)}


def check(found: dict[str, float], told: dict[str, float], hosts: int) -> None:
    """End the benchmark where a frame was lost or a sick chip not found, and say who lost it."""
    frames, wire, findings = (
        {re.sub(r'.*outcome="(\w+)".*', r"\1", name): value for name, value in found.items() if value and name.startswith(start)}
        for start in ("sliceward_frames_total", "sliceward_wire", "sliceward_findings")
    )
    lost, sick = told["sent"] - frames.pop("taken", 0.0), sum(is_sick(host) for host in range(hosts))
    firing = findings.pop('sliceward_findings{cluster="c1",kind="ChipThrottled",state="firing"}', 0.0)
    connections = wire.pop("connected", 0.0)
    wire.pop("received", None)
    if told["latest"] > PERIOD:
        raise SystemExit(
            f"no claim: this machine is too busy; who sends was {told['latest']:.1f} s late, and the load was not even"
        )
    if lost or frames or wire or connections > 1 or firing != sick or findings:
        raise SystemExit(
            f"no claim: {lost:.0f} of {told['sent']:.0f} frames were lost. The broker dropped {told['dropped']:.0f} messages; the watcher connected"
            f" {connections:.0f} times, its wire did {wire or 'nothing else'}, its panel counted {frames or 'none else'}. Who sends was {told['latest']:.1f} s"
            f" late at most. The watcher computed {told['cores']:.2f} cores on a machine of load {told['load']:.0f}. {firing:.0f} of {sick} sick chips were found, beside {findings or 'nothing'}"
        )


async def consume(url: str) -> None:
    """Be the reference: take in the same messages, and do nothing with them."""
    host, _, port = url.removeprefix("mqtt://").partition(":")
    async with aiomqtt.Client(host, int(port)) as client:
        await client.subscribe(topics.host(CLUSTER, "+", topics.FRAME))
        print("ready", flush=True)
        async for _ in client.messages:
            pass


def bare(url: str, hosts: int) -> float:
    """Give the cores of the reference."""
    with a_process([sys.executable, "-m", "benchmarks.ingest", "--bare", url]) as consumer:
        (consumer.stdout or sys.stdin).readline()
        before, began = Cost.of(consumer.pid), time.monotonic()
        with a_process(load(url, hosts, BARE_SECONDS, "second")) as sender:
            (sender.stdout or sys.stdin).readline()
        return (Cost.of(consumer.pid).cpu - before.cpu) / (time.monotonic() - began)


def main(seconds: float, hosts: int) -> None:
    """Measure both, one after the other, on one broker."""
    with tempfile.TemporaryDirectory(prefix="sliceward-") as folder, a_broker(Path(folder)) as broker:
        cores, brokers, counted = through_the_watcher(Path(folder), broker, hosts, seconds)
        reference = bare(broker[0], hosts)
    tell(
        Claim(
            claim=f"ingest_{hosts // 1000}k_hosts_cores: frames of {hosts:,} hosts with 4 chips, each 10 s, through broker, panel and rules",
            value=cores,
            unit="cores",
            goal=GOAL,
            better="lower",
            reference="bare aiomqtt on the same bytes",
            reference_value=reference,
            setup=setup(
                f"CPU time of the watcher over {counted:.0f} s, whole catalogue, none of the frames lost, as many nodes each with a heartbeat in"
                f" 5 min; Mosquitto beside it took {brokers:.2f} cores (16 connections)"
            ),
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        asyncio.run(consume(sys.argv[2]))
    else:
        main(float((*sys.argv[1:2], "300")[0]), HOSTS_A_CUBE * -(-int((*sys.argv[2:3], "25000")[0]) // HOSTS_A_CUBE))
