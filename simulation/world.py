"""A fleet that is not there, whole: Kubernetes, hosts, training gangs and a provider, for a planned cluster.

Daemons meet it through the doors of a real one: a kubeconfig, MQTT from agents, libtpu's port, device files, a repair API.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sliceward.remediations import kubernetes
from sliceward.remediations.ports import JOBSET, NODE, POD, SLICE
from sliceward.simulation import controllers
from sliceward.simulation.controllers.client import JOBSETS, NODES, Client, Resource, connect
from sliceward.simulation.hosts import HostState, SimulatedHost, address_of, own_net
from sliceward.simulation.hosts.host import Pace
from sliceward.simulation.kube.server import running_api
from sliceward.simulation.provider import SimulatedProvider, running_provider
from sliceward.simulation.training import Program, Training
from sliceward.topology.ids import GangId
from sliceward.topology.plan import fleet_of, gang_of, nodes_of
from sliceward.topology.reading import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from sliceward.remediations.kubernetes import Mirror
    from sliceward.simulation.controllers.client import Json
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.planned import ClusterPlan

NAMESPACES = Resource("v1", "namespaces", namespaced=False)
ROUND = 0.1


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast the world turns. ``times``: of the cluster's controllers; ``repair``: how long the provider takes."""

    times: controllers.Times = field(default_factory=lambda: controllers.MEASURED)
    program: Program = field(default_factory=Program)
    repair: timedelta = timedelta(seconds=5)
    reporter: Pace = field(default_factory=lambda: Pace(report=0.5, chips=1.0))


@dataclass(slots=True)
class World:
    """The running world. ``hosts`` by node name, ``trainings`` by gang; ``repaired`` is called when a host was mended."""

    plan: ClusterPlan
    kubeconfig: Path
    client: Client
    provider: SimulatedProvider
    hosts: dict[str, SimulatedHost]
    trainings: dict[GangId, Training]
    mirrors: dict[str, Mirror]
    repaired: Callable[[str], None] = lambda _node: None
    boots: int = 0
    _reader: Reader = field(init=False)
    _read: Fleet | None = None

    def __post_init__(self) -> None:
        """Begin to read."""
        self._reader = Reader(self.plan.name)

    def fleet(self) -> Fleet:
        """Give the cluster as the mirrors hold it, read again only after a change."""
        if self._read is None:
            self._read = self._reader.read(
                nodes=self.mirrors["nodes"].objects,
                pods=self.mirrors["pods"].objects,
                jobsets=self.mirrors["jobsets"].objects,
                slices=self.mirrors["slices"].objects,
                as_of=datetime.now(UTC),
            )
        return self._read

    def changed(self) -> None:
        """Take note that a mirror holds something else."""
        self._read = None

    async def repair(self, node: str) -> None:
        """Mend a host in place: it boots anew, and its kubelet lives."""
        self.boots += 1
        boot = f"boot-{node}-{self.boots}"
        await self.hosts[node].repair(boot_id=boot)
        await self.client.patch(NODES, {"metadata": {"name": node}}, {"status": {"nodeInfo": {"bootID": boot}}}, door="status")
        await self.label(node, {"kubelet": None})
        self.repaired(node)

    async def label(self, node: str, labels: dict[str, str | None]) -> None:
        """Set labels of a node; None takes one away."""
        await self.client.patch(NODES, {"metadata": {"name": node}}, {"metadata": {"labels": labels}})

    async def train(self) -> None:
        """Let all gangs train, for ever."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(ROUND)
            now = time.monotonic()
            fleet = self.fleet()
            for training in self.trainings.values():
                await training.round(fleet.gangs.get(training.id), self.hosts, now=now, passed=now - last)
            last = now


@asynccontextmanager
async def running_world(
    plan: ClusterPlan, folder: Path, *, pacing: Pacing | None = None, kubeconfig: Path | None = None
) -> AsyncIterator[World]:
    """Bring up the planned cluster, its hosts and gangs, in ``folder``; all of it ends with the block.

    ``kubeconfig``: of a real control plane with fake kubelets, to be used instead of the emulated one; it lacks JobSet alone.
    """
    pacing = pacing or Pacing()
    async with AsyncExitStack() as stack:
        which: Collection[str] = ("jobsets",)
        if kubeconfig is None:
            which, api = controllers.ALL, await stack.enter_async_context(running_api())
            kubeconfig = api.write_kubeconfig(folder / "kubeconfig")
        await stack.enter_async_context(controllers.run(kubeconfig, which=which, times=pacing.times))
        client = await stack.enter_async_context(connect(kubeconfig))
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sw-")))
        hosts = await stack.enter_async_context(running_hosts(plan, folder, sockets, pacing.reporter))
        cluster = await stack.enter_async_context(kubernetes.connect(plan.name, kubeconfig=kubeconfig))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        mirrors = {kind.plural: cluster.mirror(kind) for kind in (NODE, POD, JOBSET, SLICE)}
        places = {host.id.name: host.coordinates for host in fleet_of(plan, datetime.now(UTC)).hosts.values()}
        trainings = {gang: Training(gang, pacing.program, _now, places) for gang in gangs_of(plan)}
        world = World(plan, kubeconfig, client, SimulatedProvider("", pacing.repair, _nobody), hosts, trainings, mirrors)
        world.provider = await stack.enter_async_context(running_provider(pacing.repair, world.repair))
        running = [tasks.create_task(mirror.run(world.changed)) for mirror in mirrors.values()]
        await furnish(client, plan)
        running.append(tasks.create_task(world.train()))
        try:
            yield world
        finally:
            for task in running:
                task.cancel()


def _now() -> datetime:
    return datetime.now(UTC)


async def _nobody(_node: str) -> None:
    """Mend nothing: what a provider does before the world stands."""


def gangs_of(plan: ClusterPlan) -> tuple[GangId, ...]:
    """Give the ids of the planned gangs."""
    return tuple(GangId(plan.name, gang.namespace, gang.kind, gang.name) for gang in plan.gangs)


@asynccontextmanager
async def running_hosts(plan: ClusterPlan, folder: Path, sockets: Path, pace: Pace) -> AsyncIterator[dict[str, SimulatedHost]]:
    """Boot a simulated host for every node of the plan, each with its own loopback address, root folder and socket.

    The addresses are in a net of their own, so that two worlds on one machine do not meet.
    """
    fleet = fleet_of(plan, datetime.now(UTC))
    async with AsyncExitStack() as stack:
        net = stack.enter_context(own_net())
        found = {}
        for number, host in enumerate(sorted(fleet.hosts.values(), key=lambda host: host.id)):
            state = HostState(
                node=host.id.name,
                generation=plan.kind,
                chips=host.chips,
                instance_id=host.instance_id or f"instance-{host.id.name}",
                boot_id=host.boot_id or f"boot-{host.id.name}-0",
                index=host.index,
            )
            simulated = SimulatedHost(
                state,
                address=address_of(number, net),
                folder=folder / "hosts" / host.id.name,
                socket=sockets / f"{host.id.name}.sock",
                pace=pace,
            )
            found[host.id.name] = await stack.enter_async_context(simulated)
        yield found


async def furnish(client: Client, plan: ClusterPlan) -> None:
    """Create namespaces, nodes and gangs."""
    there = {one["metadata"]["name"] for one in (await client.call("GET", NAMESPACES.path()))["items"]}
    for namespace in sorted(({gang.namespace for gang in plan.gangs} | {"sliceward"}) - there):
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    async with asyncio.TaskGroup() as tasks:
        for node in nodes_of(plan):
            tasks.create_task(client.create(NODES, _unversioned(node)))
    for gang in plan.gangs:
        await client.create(JOBSETS, _unversioned(gang_of(plan, gang)))


def _unversioned(obj: Json) -> Json:
    meta = {key: value for key, value in obj["metadata"].items() if key not in {"uid", "resourceVersion"}}
    return {**obj, "metadata": meta}
