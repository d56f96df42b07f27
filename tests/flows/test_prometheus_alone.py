"""A real Prometheus that scrapes simulated device plugins is all that a cluster has: no agent, on any host.

Watcher and coordinator are processes of their own, with the users of the broker and the service accounts that are deployed, over a
real broker and a real control plane with fake kubelets. What is told is heard on the broker from the first finding to the last, so that an accusation that was taken back counts too.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from sliceward.daemons import topics
from sliceward.daemons.manifests.install import COORDINATOR_USER, WATCHER_USER
from sliceward.daemons.wire import Message, Wire, WireOptions
from sliceward.detectors.finding import Kind, State, from_json
from sliceward.simulation.controllers.client import connect
from sliceward.simulation.hosts.host import Pace
from sliceward.simulation.world import furnish, running_hosts
from sliceward.topology.ids import ChipId, HostId, SliceId
from sliceward.topology.names import NAMES
from tests.builders import a_fleet
from tests.daemons.manifests.deployed import an_install, broker_as_deployed, kubeconfigs_as_deployed
from tests.services import servers
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from sliceward.detectors.finding import Finding
    from sliceward.simulation.hosts import SimulatedHost
    from tests.daemons.manifests.deployed import Broker

ROOT = Path(__file__).parents[2]
CLUSTER = "alone"
PLAN = a_fleet(CLUSTER, "tpu-v6e-slice").with_pools("4x4", 2).plan
PATIENCE = 120.0
BLAMES = frozenset(Kind) - {Kind.TELEMETRY_LOST}
HASTE = {
    "watcher": {
        "SLICEWARD_PANEL__PERIOD": "1s",
        "SLICEWARD_PROMETHEUS__EVERY": "1s",
        "SLICEWARD_PROMETHEUS__TIMEOUT": "3s",
        "SLICEWARD_RULES__GRACE": "10s",
        "SLICEWARD_RULES__WARM_UP": "5s",
        "SLICEWARD_RULES__REFRESH": "2s",
    },
    "coordinator": {"SLICEWARD_PACE__DECIDE_EVERY": "200ms", "SLICEWARD_PACE__BROKER_GRACE": "1s"},
}
USERS = {"watcher": WATCHER_USER, "coordinator": COORDINATOR_USER}
LISTENS = {"watcher": "SLICEWARD_HEALTH__PORT", "coordinator": "SLICEWARD_API__PORT"}


@dataclass(eq=False)
class Scene:
    """What runs, where it answers, and every finding that was ever told."""

    hosts: dict[str, SimulatedHost]
    folder: Path
    session: aiohttp.ClientSession
    prometheus: ExitStack = field(default_factory=ExitStack)
    prometheus_port: int = field(default_factory=free_port)
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    told: list[Finding] = field(default_factory=list)

    def hear(self, message: Message) -> None:
        if message.payload:
            self.told.append(from_json(message.payload))

    def start_prometheus(self) -> None:
        targets = ", ".join(f"'{host.address}:{NAMES.device_plugin_port}'" for host in self.hosts.values())
        config = f"scrape_configs: [{{job_name: tpu, scrape_interval: 1s, static_configs: [{{targets: [{targets}]}}]}}]"
        self.prometheus.enter_context(servers.prometheus(self.folder, config=config, port=self.prometheus_port))

    def configure(self, broker: Broker, accounts: Mapping[str, Path]) -> None:
        """Write the configuration of each process."""
        broker_of = {"url": broker.url, "password": {"env": "PASSWORD"}, "ca_file": str(broker.ca)}
        clusters = {
            name: {"name": CLUSTER, "kubeconfig": str(accounts[name]), "broker": broker_of | {"username": user}}
            for name, user in USERS.items()
        }
        prometheus = {"url": f"http://127.0.0.1:{self.prometheus_port}"}
        store = {"url": f"sqlite:///{self.folder / 'store.db'}"}
        told = {
            "watcher": {"cluster": clusters["watcher"], "prometheus": prometheus},
            "coordinator": {"clusters": [clusters["coordinator"]], "store": store},
        }
        for name, config in told.items():
            (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    async def ask(self, process: str, path: str) -> Any:  # noqa: ANN401 (any JSON)
        """Give what a process answers, None where it does not."""
        try:
            url = f"http://127.0.0.1:{self.ports[process]}{path}"
            async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=10)) as answer:
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def until(self, process: str, path: str, good: Callable[[Any], bool]) -> Any:  # noqa: ANN401 (as above)
        shown = None
        try:
            async with asyncio.timeout(PATIENCE):
                while shown is None or not good(shown):
                    await asyncio.sleep(0.2)
                    assert self.processes[process].returncode is None
                    shown = await self.ask(process, path)
        except (TimeoutError, AssertionError):
            log = (self.folder / f"{process}.log").read_text(encoding="utf-8")[-2000:]
            pytest.fail(f"{process} {path} stays {str(shown)[:3000]}\n{log}", pytrace=False)
        return shown

    async def findings(self, good: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """Wait for findings of the coordinator (state by "kind part"), and give them."""
        shown = await self.until("coordinator", "/api/v1/findings", lambda found: good(_states(found)))
        return _states(shown)

    async def health(self, host: str) -> str:
        rows = (await self.ask("coordinator", "/api/v1/hosts"))["items"]
        return next(str(row["health"]) for row in rows if row["name"] == host)

    def blamed(self) -> set[str]:
        """Give the parts that were ever called sick."""
        return {f"{one.kind} {one.part}" for one in self.told if one.kind in BLAMES and one.state is State.FIRING}


def _states(found: Any) -> dict[str, str]:  # noqa: ANN401 (JSON)
    return {f"{row['kind']} {row['part']}": row["state"] for row in found["items"]}


@asynccontextmanager
async def a_process(scene: Scene, name: str, environ: dict[str, str]) -> AsyncIterator[None]:
    port = scene.ports[name] = free_port()
    environ = environ | HASTE[name] | {LISTENS[name]: str(port)}
    with (scene.folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sliceward.daemons.cli", name, "--config", str(scene.folder / f"{name}.yaml"),
            env=environ, stdout=log, stderr=log, cwd=scene.folder,
        )  # fmt: skip
        scene.processes[name] = process
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextmanager
def _kubeconfig(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    with servers.control_plane(folder) as kubeconfig:
        yield kubeconfig


@pytest.fixture
async def scene(kubectl: str, tmp_path: Path) -> AsyncIterator[Scene]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLICEWARD_")}
    async with AsyncExitStack() as stack:
        hosts = await stack.enter_async_context(running_hosts(PLAN, tmp_path / "simulated", tmp_path, Pace()))
        scene = Scene(hosts, tmp_path, await stack.enter_async_context(aiohttp.ClientSession()))
        stack.callback(scene.prometheus.close)
        scene.start_prometheus()
        admin = stack.enter_context(_kubeconfig(tmp_path / "cluster"))
        await furnish(await stack.enter_async_context(connect(admin)), PLAN)
        accounts = kubeconfigs_as_deployed(an_install(cluster=CLUSTER), admin, kubectl, tmp_path)
        broker = stack.enter_context(broker_as_deployed(tmp_path / "broker", cluster=CLUSTER, nodes=[]))
        heard = WireOptions(username=COORDINATOR_USER, password=broker.password(COORDINATOR_USER), ca_file=broker.ca)
        wire = Wire(broker.url, client_id="listener", subscribe=(topics.finding(CLUSTER, "+"),), options=heard)
        listening = asyncio.create_task(wire.run(scene.hear))
        stack.callback(listening.cancel)
        scene.configure(broker, accounts)
        environ = plain | {"PYTHONPATH": str(ROOT / ".types")}
        for name, user in USERS.items():
            await stack.enter_async_context(a_process(scene, name, environ | {"PASSWORD": broker.password(user)}))
        yield scene


async def test_a_chip_is_found_lost_through_prometheus_alone_and_what_is_not_scraped_is_unknown(scene: Scene) -> None:
    first, gone, *_ = sorted(scene.hosts)
    lost, silent = f"ChipLost {ChipId(CLUSTER, first, 2)}", f"TelemetryLost {HostId(CLUSTER, gone)}"
    await scene.until("watcher", "/readyz", lambda shown: bool(shown["ok"]))
    await scene.until("coordinator", "/api/v1/status", lambda shown: bool(shown["clusters"][0]["watched"]))
    await scene.until("coordinator", "/api/v1/hosts", lambda shown: {row["health"] for row in shown["items"]} == {"healthy"})

    scene.hosts[first].set_missing(2, missing=True)
    await scene.findings(lambda found: found.get(lost) == "firing")
    await scene.until("coordinator", "/api/v1/incidents", lambda shown: [row["part"] for row in shown["items"]] != [])

    # A plugin that is gone takes all its series along, and no chip.
    await scene.hosts[gone].die()
    await scene.findings(lambda found: found.get(silent) == "firing")
    assert await scene.health(gone) == "unknown"
    (age,) = next(one for one in reversed(scene.told) if f"{one.kind} {one.part}" == silent).evidence
    assert age.value >= age.limit == 10

    # Without Prometheus nothing is known of any host, nor of the chip that was lost: whole slices are silent at once.
    scene.prometheus.close()
    everyone = {f"TelemetryLost {SliceId(CLUSTER, name.partition('-host-')[0])}" for name in scene.hosts}
    found = await scene.findings(lambda found: found.get(lost) == "unknown" and everyone <= found.keys())
    assert {found[one] for one in everyone} == {"firing"}
    assert found[silent] == "resolved"
    ready = await scene.until("watcher", "/readyz", lambda shown: not shown["ok"])
    (need,) = (one for one in ready["dependencies"] if one["name"] == "prometheus")
    assert need["age_seconds"] > 0
    assert need["why"]

    # It comes back: what was lost is lost still, the others are well, and a chip that is back is back.
    scene.start_prometheus()
    await scene.findings(lambda found: found.get(lost) == "firing" and found[silent] == "firing" and _firing(found) == 2)
    scene.hosts[first].set_missing(2, missing=False)
    await scene.hosts[gone].repair(boot_id="boot-2")
    await scene.findings(lambda found: _firing(found) == 0 and found[lost] == "resolved")
    assert scene.blamed() == {lost}


def _firing(found: dict[str, str]) -> int:
    return sum(state == "firing" for state in found.values())
