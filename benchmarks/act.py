"""From a finding that is published to a taint that a real API server has acknowledged: one link at a time, then 1,000 hosts at once.

Real are the coordinator's process with SQLite on disk, Mosquitto, kube-apiserver and etcd; the watcher that finds, and the hosts,
are this file. The shipped playbooks act, with every check, with budgets that allow it and without their settle time; what follows
the mark is left out in the trials, and there in the crowd. A mark counts when a watch of the nodes shows it. The reference in the
same run is a bare merge patch with the node's version, as many at once, until the same watch shows it.
Needs mosquitto and tests/services/controlplane; takes five minutes.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import ssl
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from benchmarks.claim import Claim, setup, tell
from sliceward.daemons import topics
from sliceward.daemons.wire import Wire, WireOptions
from sliceward.detectors.finding import Finding, Kind, State, to_json
from sliceward.playbooks.shipped import shipped
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, HostId, LinkId
from sliceward.topology.names import NAMES
from sliceward.topology.plan import nodes_of
from sliceward.topology.planned import ClusterPlan, CubePlan
from tests.services import servers
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

CLUSTER = "c1"
CUBES, HOSTS_A_CUBE = 63, 16
_CUBES = tuple(CubePlan(f"cube-{n:02}", (4, 4, 4), classic=False, block="block-0") for n in range(CUBES))
PLAN = ClusterPlan(CLUSTER, "tpu7x", 4, _CUBES, ())
TRIALS = 200
CROWD = 1000
PATIENCE = 240.0
AT_ONCE = 16
"""Writes that the coordinator has under way at once."""
GOALS = {"first_mark_p50_ms": 50.0, "first_mark_p99_ms": 250.0, "cube_marked_p50_ms": 150.0, "cube_marked_p99_ms": 500.0}
MOST_SECONDS = 10.0
FOLDERS = ("cluster", "one/coordinator", "crowd/coordinator")
PROVES = ("repair", "burn-in")
"""Steps that take hours on a real host; without them a cube comes back for the next trial."""

Json = dict[str, Any]


@dataclass(slots=True)
class Eyes:
    """The API server: what a watch of the nodes shows. ``marked``: when (monotonic) each node got our taint."""

    url: str
    session: aiohttp.ClientSession
    marked: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(self) -> None:
        """Watch for ever, from all that is there; a server that is busy ends a watch, and then all is looked at anew."""
        while True:
            async with self.session.get(f"{self.url}/api/v1/nodes") as answer:
                whole = await answer.json()
                for node in whole["items"]:
                    self.see(node, time.monotonic())
            with suppress(aiohttp.ClientError):
                await self._watch(whole["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> None:
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "false"}
        patience = aiohttp.ClientTimeout(total=None)
        async with self.session.get(f"{self.url}/api/v1/nodes", params=query, timeout=patience) as answer:
            rest = b""
            async for part in answer.content.iter_any():
                now = time.monotonic()
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    self.see(event["object"], now)

    def see(self, node: Json, now: float) -> None:
        """Take in one node."""
        name = node["metadata"]["name"]
        self.versions[name] = node["metadata"]["resourceVersion"]
        if any(taint["key"] == NAMES.out_of_service for taint in node["spec"].get("taints", ())):
            self.marked.setdefault(name, now)
        else:
            self.marked.pop(name, None)
        self.seen.set()

    async def until(self, so: Callable[[], bool], what: Callable[[], str]) -> None:
        """Wait until the watch shows it; else end, and tell what did not come."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not so():
                    self.seen.clear()
                    await self.seen.wait()
        except TimeoutError:
            raise SystemExit(f"not within {PATIENCE:g} s: {what()}") from None

    async def patch(self, name: str, taints: Sequence[Json]) -> None:
        """Patch one node's taints as of the version that is known."""
        body = {"metadata": {"resourceVersion": self.versions[name]}, "spec": {"taints": list(taints) or None}}
        kind = {"Content-Type": "application/merge-patch+json"}
        async with self.session.patch(f"{self.url}/api/v1/nodes/{name}", data=json.dumps(body), headers=kind) as answer:
            answer.raise_for_status()
            await answer.read()


@dataclass(frozen=True, slots=True)
class Marks:
    """Seconds to the first and to the last mark of each trial."""

    first: list[float]
    last: list[float]

    def quantile(self, share: float) -> dict[str, float]:
        """Give what ``share`` of the trials kept below, in milliseconds."""
        return {name: 1000 * quantile(values, share) for name, values in (("first", self.first), ("last", self.last))}


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value that this share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


# ── what is there ────────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def a_cluster(folder: Path) -> AsyncIterator[Eyes]:
    """Run a real API server with all nodes and no controllers, who would give up nodes without kubelets."""
    async with AsyncExitStack() as stack:
        kubeconfig = stack.enter_context(servers.control_plane(folder, kubelets=False))
        for name in ("kube-controller-manager", "kube-scheduler"):
            os.kill(int((folder / f"{name}.pid").read_text(encoding="utf-8")), 15)
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
                connector=aiohttp.TCPConnector(ssl=context, limit=64),
                timeout=aiohttp.ClientTimeout(total=60),
            )
        )
        eyes = Eyes(config["clusters"][0]["cluster"]["server"], session)
        for node in nodes_of(PLAN):
            meta = {key: value for key, value in node["metadata"].items() if key not in ("uid", "resourceVersion")}
            async with session.post(f"{eyes.url}/api/v1/nodes", json=node | {"metadata": meta}) as answer:
                answer.raise_for_status()
                eyes.see(await answer.json(), 0.0)
        watch = asyncio.create_task(eyes.look())
        try:
            yield eyes
        finally:
            watch.cancel()
            await asyncio.wait([watch])


def playbooks(folder: Path, *, whole: bool) -> Path:
    """Write the shipped playbooks with room in their budgets and no settle time; without the hours of repair unless ``whole``."""
    folder.mkdir()
    room = {
        "runs": {"cluster": CROWD},
        "hosts": {"cluster": 2 * CROWD},
        "rate": {"max": 100 * CROWD, "window": "1h"},
        "cooldown": "0s",
    }
    for text in shipped().values():
        document: Json = yaml.safe_load(text)
        spec: Json = document["spec"]
        spec["budget"] = room
        spec["correlate"] = spec.get("correlate", {}) | {"settle": "0s"}
        if not whole:
            spec["steps"] = [step for step in spec["steps"] if step["name"] not in PROVES]
        (folder / f"{document['metadata']['name']}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


@asynccontextmanager
async def a_coordinator(folder: Path, *, broker: str, kubeconfig: Path, whole: bool) -> AsyncIterator[str]:
    """Run a coordinator in a process of its own; gives its address."""
    port = free_port()
    config = {
        "clusters": [{"name": CLUSTER, "kubeconfig": str(kubeconfig), "broker": {"url": broker}}],
        "store": {"url": f"sqlite:///{folder}/store.db"},
        "playbooks": {"folders": [str(playbooks(folder / "playbooks", whole=whole))], "mode": "Enforce"},
        "api": {"port": port},
    }
    file = folder / "coordinator.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLICEWARD_")}
    command = (
        sys.executable,
        "-m",
        "sliceward.daemons.cli",
        "coordinator",
        "-c",
        str(file),
    )
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=plain, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def is_ready(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until the coordinator says that it can work, and what the broker kept had time to come."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.ok:
                        break
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
    await asyncio.sleep(12)


# ── what is done ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Watcher:
    """The watcher's word: that it lives, and what it finds."""

    bus: Wire

    async def live(self) -> None:
        """Say for ever that all is well here."""
        while True:
            if self.bus.connected:
                word = json.dumps({"online": True, "at": datetime.now(UTC).isoformat(), "loops_late": []})
                await self.bus.publish(topics.watcher(CLUSTER), word.encode(), retain=True)
            await asyncio.sleep(1)

    async def find(self, kind: Kind, part: LinkId | HostId, state: State) -> None:
        """Publish a finding."""
        now = datetime.now(UTC)
        found = Finding(
            kind=kind, part=part, state=state, severity=Severity.ERROR, since=now, seen=now, score=0.99,
            detector="rule/benchmark", version="1", text=f"{kind} on {part}",
        )  # fmt: skip
        await self.bus.publish(topics.finding(CLUSTER, found.id), to_json(found), retain=True)


def hosts_of(cube: int) -> list[str]:
    """Give the nodes of one cube."""
    return [PLAN.host(PLAN.cubes[cube].name, number) for number in range(HOSTS_A_CUBE)]


def link_of(trial: int) -> tuple[LinkId, list[str]]:
    """Give a link inside the cube of this trial, between two of its hosts, and the cube's nodes."""
    hosts = hosts_of(trial % CUBES)
    return LinkId.between(ChipId(CLUSTER, hosts[0], 1), ChipId(CLUSTER, hosts[1], 0)), hosts


async def a_trial(eyes: Eyes, hosts: Collection[str], begin: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Give the seconds to the first and the last mark on these hosts."""
    times: dict[str, float] = {}

    def all_marked() -> bool:
        for name in hosts:
            if name in eyes.marked:
                times.setdefault(name, eyes.marked[name])
        return len(times) == len(hosts)

    began = time.monotonic()
    await begin()
    await eyes.until(all_marked, lambda: f"marks on {len(hosts)} hosts; there are {len(times)}")
    return min(times.values()) - began, max(times.values()) - began


async def trials(eyes: Eyes, watcher: Watcher) -> Marks:
    """Let one link fail after the other."""
    marks = Marks([], [])
    for trial in range(TRIALS):
        link, hosts = link_of(trial)
        first, last = await a_trial(eyes, hosts, lambda link=link: watcher.find(Kind.ICI_LINK_DOWN, link, State.FIRING))  # type: ignore[misc]  # a default binds it
        marks.first.append(first)
        marks.last.append(last)
        await eyes.until(lambda hosts=hosts: not eyes.marked.keys() & set(hosts), lambda: "the cube given back")  # type: ignore[misc]  # as above
        await watcher.find(Kind.ICI_LINK_DOWN, link, State.RESOLVED)
        await asyncio.sleep(random.uniform(0.1, 0.3))  # noqa: S311 (no step with the coordinator's own times)
    return marks


async def bare(eyes: Eyes) -> Marks:
    """Patch one cube after the other, all of its nodes at once."""
    ours = {"key": NAMES.out_of_service, "value": "bench", "effect": "NoSchedule"}
    marks = Marks([], [])
    for trial in range(TRIALS):
        hosts = hosts_of(trial % CUBES)
        first, last = await a_trial(eyes, hosts, lambda hosts=hosts: together(eyes, hosts, [ours]))  # type: ignore[misc]  # a default binds it
        marks.first.append(first)
        marks.last.append(last)
        await together(eyes, hosts, [])
        await eyes.until(lambda hosts=hosts: not eyes.marked.keys() & set(hosts), lambda: "the marks gone")  # type: ignore[misc]  # as above
    return marks


async def together(eyes: Eyes, hosts: Collection[str], taints: Sequence[Json]) -> None:
    """Patch nodes, so many at once as the coordinator does."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with slots:
            await eyes.patch(name, taints)

    await asyncio.gather(*(one(name) for name in hosts))


async def crowd(eyes: Eyes, watcher: Watcher) -> float:
    """Let 1,000 hosts fail at once; gives the seconds to the last mark."""
    failing = [name for cube in range(CUBES) for name in hosts_of(cube)][:CROWD]

    async def all_fail() -> None:
        await asyncio.gather(*(watcher.find(Kind.HOST_LOST, HostId(CLUSTER, name), State.FIRING) for name in failing))

    return (await a_trial(eyes, failing, all_fail))[1]


async def bare_crowd(eyes: Eyes) -> float:
    """Patch 1,000 nodes; gives the seconds to the last mark."""
    ours = {"key": NAMES.out_of_service, "value": "bench", "effect": "NoSchedule"}
    nodes = [name for cube in range(CUBES) for name in hosts_of(cube)][:CROWD]
    seconds = (await a_trial(eyes, nodes, lambda: together(eyes, nodes, [ours])))[1]
    await together(eyes, nodes, [])
    await eyes.until(lambda: not eyes.marked, lambda: "the marks gone")
    return seconds


@asynccontextmanager
async def a_scene(folder: Path, eyes: Eyes, *, whole: bool) -> AsyncIterator[Watcher]:
    """Run a broker, a coordinator and a watcher's voice over the cluster."""
    async with AsyncExitStack() as stack:
        service = stack.enter_context(servers.mosquitto(folder))
        bus = Wire(service.url, client_id="benchmark", options=WireOptions(publish_timeout=60.0))
        watcher = Watcher(bus)
        tasks = [asyncio.create_task(bus.run(lambda _message: None)), asyncio.create_task(watcher.live())]
        try:
            kubeconfig = folder.parent / "cluster" / "kubeconfig"
            coordinator = a_coordinator(folder / "coordinator", broker=service.url, kubeconfig=kubeconfig, whole=whole)
            await is_ready(eyes.session, await stack.enter_async_context(coordinator))
            yield watcher
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def measure(folder: Path) -> tuple[Marks, Marks, float, float]:
    """Give the marks of the trials, those of bare patches, and the same two for the crowd."""
    async with a_cluster(folder / "cluster") as eyes:
        references, alone = await bare(eyes), await bare_crowd(eyes)
        async with a_scene(folder / "one", eyes, whole=False) as watcher:
            ours = await trials(eyes, watcher)
        async with a_scene(folder / "crowd", eyes, whole=True) as watcher:
            seconds = await crowd(eyes, watcher)
    return ours, references, seconds, alone


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="sliceward-") as name:
        for part in FOLDERS:
            (Path(name) / part).mkdir(parents=True)
        ours, bare_marks, seconds, alone = asyncio.run(measure(Path(name)))
    real = f"{CUBES * HOSTS_A_CUBE} nodes, real kube-apiserver, etcd and Mosquitto, SQLite, shipped playbooks without settle time"
    what = {"first": "from a finding to the first taint", "last": "from a finding to the last taint of a cube of 16 hosts"}
    for claim, goal in GOALS.items():
        which = "first" if claim.startswith("first") else "last"
        share = 0.5 if "p50" in claim else 0.99
        tell(
            Claim(
                claim=f"{claim}: {what[which]}, {'median' if share == 0.5 else '99 of 100'}",  # noqa: PLR2004 (as above)
                value=ours.quantile(share)[which],
                unit="ms",
                goal=goal,
                better="lower",
                reference=f"a bare versioned patch of each of 16 nodes, {AT_ONCE} at once",
                reference_value=bare_marks.quantile(share)[which],
                setup=setup(f"{TRIALS} trials, {real}"),
            )
        )
    tell(
        Claim(
            claim=f"mark_1000_hosts_s: from {CROWD} findings at once to the last taint",
            value=seconds,
            unit="s",
            goal=MOST_SECONDS,
            better="lower",
            reference=f"{CROWD} bare versioned patches, {AT_ONCE} at once",
            reference_value=alone,
            setup=setup(f"one run, {real}"),
        )
    )


if __name__ == "__main__":
    main()
