"""A fleet on real parts: API server and its controllers, PostgreSQL, Mosquitto with TLS and ACL, and our daemons as processes.

Simulated are the hosts and what trains on them, kubelets, the JobSet controller, the provider and the receiver of pages. The agents of the
hosts that matter are processes of their own; the others, each with its own user and connection, live in this one.
"""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import pytest

from sliceward.daemons.agent.run import agent_of
from sliceward.daemons.demo.plans import SECRET
from sliceward.daemons.manifests import coordinator, secrets, tree
from sliceward.daemons.manifests.install import Overlay
from sliceward.simulation.controllers.client import NODES, Resource
from sliceward.simulation.receiver import running_receiver
from sliceward.simulation.world import Pacing, running_world
from sliceward.topology.plan import nodes_of
from tests.daemons.manifests.deployed import KEY, an_install, kubectl_apply
from tests.flows.real.daemons import Daemon, Doors, api_of
from tests.flows.real.services import ApiServer, Restartable, a_broker, a_database
from tests.flows.real.toll import tolls_of
from tests.flows.real.training import HURT, OTHER, all_train, first_cube, hosts_in, link_in, plan_of
from tests.flows.real.witness import witnessing
from tests.services import servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from pathlib import Path

    from sliceward.daemons.agent.agent import Agent
    from sliceward.simulation.controllers.client import Client
    from sliceward.simulation.faults import Place
    from sliceward.simulation.receiver import Receiver
    from sliceward.simulation.world import World
    from tests.daemons.manifests.deployed import Broker
    from tests.flows.real.toll import Gate
    from tests.flows.real.witness import Witness
    from tests.services.servers import Service

Json = dict[str, Any]
Watches = list[tuple[Daemon, dict[str, int]]]
"""Processes, each with how many of its watches were told 410, by kind."""

INSTALL = an_install(Overlay.HA)
CLUSTER = INSTALL.cluster
PLAN = plan_of(CLUSTER)
LEASES = Resource("coordination.k8s.io/v1", "leases")
MOST_HOSTS = 16
"""What the shipped playbooks' budget lets out of service in a fleet of 64 hosts."""
PATIENCE = 400.0
"""Seconds for one thing to come true on a busy machine."""
LOOK = 0.1
WATCHED = ("nodes", "pods", "jobs", "jobsets")
TOLD_410 = re.compile(r'^sliceward_watches_expired_total\{[^}]*kind="(\w+)"\} (\S+)$', re.MULTILINE)
REACHABLE = re.compile(r"^sliceward_cluster_reachable\{[^}]*\} 1\.0$", re.MULTILINE)
REPLICAS = 2
LAST = 60.0
"""Seconds that an agent of this process may take to end."""
AWAY = 20.0
"""Seconds for which a service is away."""


@dataclass(frozen=True)
class Pace:
    """How patient everybody is with a silent host: Kubernetes (None: its own default) and the watcher."""

    node_grace: int | None = None
    silence: str = "20s"


class Absent(Protocol):
    """A service that can be away."""

    async def away(self) -> None: ...

    async def back(self) -> None: ...


@dataclass(eq=False)
class RealFleet:
    """Everything that runs. ``agents``: processes by node; all other hosts' agents are in this process, in ``crowd``.

    ``cube``: where the first slice of the first gang runs. The scheduler chose it.
    """

    folder: Path
    doors: Doors
    world: World
    witness: Witness
    receiver: Receiver
    session: aiohttp.ClientSession
    cube: str
    api_server: ApiServer
    database: Restartable[Service]
    broker: Restartable[Broker]
    watcher: Daemon
    coordinators: list[Daemon]
    agents: dict[str, Daemon]
    crowd: list[Agent] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def host(self, number: int) -> str:
        """Give a host of the cube."""
        return PLAN.host(self.cube, number)

    @property
    def hosts(self) -> set[str]:
        """Give all hosts of the cube."""
        return hosts_in(PLAN, self.cube)

    def link(self) -> Place:
        """Give the place of a link inside the cube, between two hosts, each of which sees only its own end."""
        return link_in(PLAN, self.cube, at=self.host(STRUCK))

    # ── what is seen from outside ─────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, path: str, *, of: Daemon | None = None) -> Any:  # noqa: ANN401 (any JSON)
        """Give what the API answers at a path, of whichever replica answers; None where none does."""
        token = secrets.token_of(KEY, CLUSTER, "view")
        for replica in [of] if of is not None else self.coordinators:
            try:
                async with self.session.get(
                    f"http://127.0.0.1:{replica.port}{path}",
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=aiohttp.ClientTimeout(total=5),
                ) as answer:
                    if answer.status == 200:
                        return await answer.json()
            except (aiohttp.ClientError, TimeoutError):
                continue
        return None

    async def until(self, good: Callable[[], object], what: str) -> None:
        """Wait until something is so in this process's eyes."""
        await self.until_told(None, lambda _nothing: good(), what)

    async def until_told(self, path: str | None, good: Callable[[Any], object], what: str, *, of: Daemon | None = None) -> Any:  # noqa: ANN401 (any JSON)
        """Wait until the API (of one replica, else of any) tells what is wanted at a path; else fail with how it stands."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self._look_after_tasks()
                    told = await self.ask(path, of=of) if path else {}
                    if told is not None and good(told):
                        return told
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            pass
        pytest.fail(f"not within {PATIENCE:.0f} s: {what}\n{await self.as_it_stands()}", pytrace=False)

    def _look_after_tasks(self) -> None:
        """Raise what ended a task of the test's own."""
        for task in self.tasks:
            if task.done():
                task.result()

    async def as_it_stands(self) -> str:
        """Tell the incidents, the broken rules and the ends of the logs, for a reader who wants to know why nothing goes on."""
        shown = await self.ask("/api/v1/incidents?limit=500") or {"items": []}
        lines = [f"incident {row['id']} {row['kind']} {row['part']} {row['state']} {row.get('phase')}" for row in shown["items"]]
        for row in shown["items"]:
            story = await self.ask(f"/api/v1/incidents/{row['id']}") or {"timeline": []}
            lines += [f"  {entry['at']} {entry['kind']} {entry['text']}" for entry in story["timeline"]]
        lines += [f"marked: {self.witness.marks()}", f"broken: {self.witness.broken}"]
        lines += [f"{gang}: {self.witness.cubes(gang)}" for gang in (HURT, OTHER)]
        for daemon in (self.watcher, *self.coordinators, *self.agents.values()):
            text = daemon.log.read_text(encoding="utf-8", errors="replace") if daemon.log.exists() else ""
            lines.append(f"── {daemon.name} (alive: {daemon.alive})\n{text[-3000:]}")
        return "\n".join(lines)

    async def leader(self) -> tuple[Daemon, Daemon]:
        """Give the replica that leads and the one that stands by, once they agree."""
        told = await self.until_told("/api/v1/status", lambda status: self._replica(status["leader"]), "a leader")
        leads = self._replica(told["leader"])
        assert leads is not None
        return leads, next(one for one in self.coordinators if one is not leads)

    async def leads(self, replica: Daemon, *, of: Daemon | None = None) -> None:
        """Wait until it leads, by its own word or that of another."""
        asked = of or replica
        await self.until_told(
            "/api/v1/status", lambda status: self._replica(status["leader"]) is replica, f"{replica.name} leads", of=asked
        )

    def _replica(self, holder: str) -> Daemon | None:
        ours = {one.process.pid: one for one in self.coordinators if one.alive and one.process is not None}
        return next((one for pid, one in ours.items() if holder.endswith(f"-{pid}")), None)

    async def watching(self) -> Watches:
        """Give what goes on watching while the API server is away, once it has a copy, with how many of its watches were told 410 so far.

        The leader is not among them: it loses the lead, and begins anew with nothing.
        """
        _, other = await self.leader()
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    if REACHABLE.search(await self._metrics(other)):
                        break
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            pytest.fail(f"{other.name} has no copy\n{await self.as_it_stands()}", pytrace=False)
        return [(daemon, await self._told_410(daemon)) for daemon in (self.watcher, other)]

    async def were_told_410(self, watching: Watches) -> None:
        """Wait until every watch of theirs was answered with 410 since then, so that all was listed anew."""
        left = {(daemon.name, kind) for daemon, _ in watching for kind in WATCHED}
        try:
            async with asyncio.timeout(PATIENCE):
                while left:
                    for daemon, before in watching:
                        now = await self._told_410(daemon)
                        left -= {(daemon.name, kind) for kind in WATCHED if now.get(kind, 0) > before[kind]}
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            pytest.fail(f"never told 410: {sorted(left)}\n{await self.as_it_stands()}", pytrace=False)

    async def _told_410(self, daemon: Daemon) -> dict[str, int]:
        return {kind: int(float(count)) for kind, count in TOLD_410.findall(await self._metrics(daemon))}

    async def _metrics(self, daemon: Daemon) -> str:
        try:
            async with self.session.get(f"http://127.0.0.1:{daemon.port}/metrics") as answer:
                return await answer.text()
        except aiohttp.ClientError:
            return ""

    # ── hosts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def agent_dies(self, node: str) -> None:
        """End the agent of a host without a word (`simulation.faults.Effects`)."""
        await self.agents[node].kill()

    async def kubelet_dies(self, node: str) -> None:
        """Let the kubelet fall silent."""
        await self.world.label(node, {"kubelet": "dead"})

    async def host_returns(self, node: str) -> None:
        """Start both again."""
        await self.world.label(node, {"kubelet": None})
        await self.agents[node].start()

    # ── what goes away, and comes back ────────────────────────────────────────────────────────────────────────────────

    async def change_of_leaders(self) -> Daemon:
        """Pause the leader until the other leads, and let it wake up then and stand by; gives the one that was paused."""
        leader, other = await self.leader()
        leader.send(signal.SIGSTOP)
        try:
            await self.leads(other)
        finally:
            leader.send(signal.SIGCONT)
        await self.until(lambda: leader.said("stands by again"), f"{leader.name} learns that it does not lead any more")
        return leader

    async def without(self, service: Absent) -> None:
        """Let a service be away for 20 seconds."""
        await service.away()
        await asyncio.sleep(AWAY)
        await service.back()

    def unrepaired(self, nodes: Collection[str]) -> set[str]:
        """Give those of these hosts that the provider has not mended."""
        return set(nodes) - {work.host for work in self.world.provider.works.values() if work.state == "done"}

    def came_back(self, node: str) -> None:
        """Let the agent of a host that was repaired start, where it had died with it."""
        if node in self.agents and not self.agents[node].alive:
            self.tasks.append(asyncio.create_task(self.agents[node].start()))

    async def rise(self) -> None:
        """Start everything of ours; all gangs train when this ends."""
        # An agent tells of the job on its host when that changes, else once a minute: whoever hears its first word need not wait so long.
        await self.watcher.start()
        await self.until(lambda: self.watcher.said("broker connected"), "the watcher hears")
        for daemon in self.coordinators:
            await daemon.start()
        await self._raise_agents()
        await self.until_told("/api/v1/fleet", all_train, "all gangs train")

    async def _raise_agents(self) -> None:
        """Start an agent on every host; all of them speak when this ends."""
        for daemon in self.agents.values():
            await daemon.start()
        for node, host in self.world.hosts.items():
            if node not in self.agents:
                self.crowd.append(agent_of(self.doors.agent_settings(host)))
                self.tasks.append(asyncio.create_task(self.crowd[-1].run(), name=f"agent {node}"))
        await self.until(lambda: all(agent.bus is not None and agent.bus.connected for agent in self.crowd), "the crowd speaks")
        await self.until(lambda: all(one.said("broker connected") for one in self.agents.values()), "all agents speak")

    async def end(self) -> None:
        """End everything of ours."""
        for task in self.tasks:
            task.cancel()
        hanging = (await asyncio.wait(self.tasks, timeout=LAST))[1] if self.tasks else set()
        where = "\n".join(f"{task.get_name()}: {task.get_coro()} {task.get_stack()}" for task in hanging)
        await asyncio.gather(*(one.end() for one in (self.watcher, *self.coordinators, *self.agents.values())))
        assert not hanging, f"did not end within {LAST:.0f} s:\n{where}"

    # ── what people do ────────────────────────────────────────────────────────────────────────────────────────────────

    async def cordon(self, node: str) -> None:
        """Cordon a node as ``kubectl cordon`` does."""
        await self.world.client.patch(NODES, {"metadata": {"name": node}}, {"spec": {"unschedulable": True}})
        await self._is_seen(node, lambda spec: spec.get("unschedulable"))
        self.witness.people[node] = None

    async def taint(self, node: str, taint: Json) -> None:
        """Put a taint of one's own on a node, beside what it has."""
        found = await self.world.client.call("GET", NODES.path(name=node))
        await self.world.client.patch(NODES, found, {"spec": {"taints": [*found["spec"].get("taints", ()), taint]}})
        await self._is_seen(node, lambda spec: taint in spec.get("taints", ()))
        self.witness.people[node] = taint

    async def _is_seen(self, node: str, good: Callable[[Json], object]) -> None:
        """Wait until the witness sees what was done to a node: until then it would miss it."""

        def seen() -> bool:
            found = self.witness.nodes.get(node)
            return found is not None and bool(good(found["spec"]))

        await self.until(seen, f"the witness sees what people put on {node}")


STRUCK = 5
"""Number of the host, in its cube, that is struck."""


@asynccontextmanager
async def a_real_fleet(
    folder: Path, kubectl: str, *, pace: Pace | None = None, gate: Gate | None = None
) -> AsyncIterator[RealFleet]:
    """Bring everything up; all gangs train when the block begins.

    ``gate``: through which the coordinators act.
    """
    pace = pace or Pace()
    async with AsyncExitStack() as stack:
        (plane := folder / "plane").mkdir()
        (data := folder / "db").mkdir()
        server = stack.enter_context(servers.control_plane(plane, node_grace=pace.node_grace))
        kubectl_apply(kubectl, server, tree.objects(INSTALL))
        nodes = [node["metadata"]["name"] for node in nodes_of(PLAN)]
        broker, database = a_broker(folder / "broker", cluster=CLUSTER, nodes=nodes), a_database(data)
        told, store = broker.start(), database.start()
        stack.callback(broker.running.close)
        stack.callback(database.running.close)
        pacing = Pacing()
        world = await stack.enter_async_context(running_world(PLAN, folder, pacing=pacing, kubeconfig=server))
        receiver = await stack.enter_async_context(running_receiver(SECRET))
        witness = await stack.enter_async_context(witnessing(world.client, most=MOST_HOSTS))
        doors = Doors(
            folder=folder,
            install=INSTALL,
            server=server,
            api=api_of(server),
            kubectl=kubectl,
            broker=told,
            store=store.url.replace("postgresql+asyncpg", "postgresql"),
            receiver=receiver.url,
            provider=world.provider.url,
            secret=SECRET,
            silence=pace.silence,
        )
        cube = await first_cube(witness, within=PATIENCE)
        apart = link_in(PLAN, cube, at=PLAN.host(cube, STRUCK)).nodes
        fleet = RealFleet(
            folder=folder,
            doors=doors,
            world=world,
            witness=witness,
            receiver=receiver,
            session=await stack.enter_async_context(aiohttp.ClientSession()),
            cube=cube,
            api_server=ApiServer(plane),
            database=database,
            broker=broker,
            watcher=doors.watcher(),
            coordinators=[await _replica(stack, doors, number, gate, world.client) for number in range(REPLICAS)],
            agents={node: doors.agent(world.hosts[node]) for node in apart},
        )
        world.repaired = fleet.came_back
        stack.push_async_callback(fleet.end)
        await fleet.rise()
        yield fleet


async def _replica(stack: AsyncExitStack, doors: Doors, number: int, gate: Gate | None, client: Client) -> Daemon:
    name = f"coordinator-{number}"
    if gate is None:
        return doors.coordinator(name)
    tolls = await stack.enter_async_context(tolls_of(gate, partial(_bury, client), doors))
    tolls.victim = doors.through(tolls).coordinator(name)
    return tolls.victim


async def _bury(client: Client, pid: int) -> None:
    """Give back the Lease that a dead replica held."""
    lease = await client.call("GET", LEASES.path(INSTALL.namespace, coordinator.NAME))
    if str(lease["spec"].get("holderIdentity")).endswith(f"-{pid}"):
        await client.patch(LEASES, lease, {"spec": {"holderIdentity": None}})
