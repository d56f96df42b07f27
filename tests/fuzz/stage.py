"""A fleet that trains, with agents, watcher and coordinator as processes, over a real Mosquitto and an API that takes any object.

Simulated are Kubernetes with its controllers, the hosts, the provider and the receiver of pages. The agents of the two hosts at the
ends of one link are processes of their own; those of the other hosts are in this one.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.daemons.demo.agents import Agents
from sliceward.daemons.demo.effects import DemoEffects
from sliceward.daemons.demo.plans import SECRET, pacing, quick_rules
from sliceward.playbooks.shipped import shipped
from sliceward.simulation import controllers
from sliceward.simulation.faults import FAULTS
from sliceward.simulation.kube.server import running_api
from sliceward.simulation.receiver import running_receiver
from sliceward.simulation.world import running_world
from tests.flows.real.training import all_train, first_cube, hosts_in, link_in, plan_of
from tests.flows.real.witness import witnessing
from tests.fuzz.ground import CLUSTER, Ground, a_broker
from tests.fuzz.processes import LOG, Daemon, a_daemon
from tests.fuzz.rude_plugin import RudePlugin
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path
    from typing import TypeVar

    from sliceward.simulation.faults import Place
    from sliceward.simulation.receiver import Receiver
    from sliceward.simulation.world import World
    from sliceward.topology.ids import PartId
    from tests.flows.real.witness import Witness

    Result = TypeVar("Result")

Json = dict[str, Any]

PLAN = plan_of(CLUSTER)
FAULT = FAULTS["link-degraded"]
PERIOD = "3s"
"""Of frames: three of them without a word are a silence, and this process, which is 62 agents and all that is hostile, may starve."""
PATIENCE = 300.0
"""Seconds for one thing to come true on a busy machine."""
LOOK = 0.2


@dataclass(frozen=True)
class ThisLoop:
    """Does things in the loop that serves the API, for threads that may not touch it themselves."""

    loop: asyncio.AbstractEventLoop

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)


@dataclass(frozen=True, eq=False)
class Struck:
    """An agent as a process, at one end of the link. ``door``: of reporters."""

    node: str
    daemon: Daemon
    plugin: RudePlugin
    door: Path


@dataclass(eq=False)
class Stage:
    """Everything that runs. ``cube``: where the first slice of the first gang is; ``books``: the folder of the coordinator's playbooks."""

    ground: Ground
    world: World
    witness: Witness
    receiver: Receiver
    cube: str
    place: Place
    books: Path
    watcher: Daemon
    coordinator: Daemon
    struck: list[Struck]
    crowd: Agents
    processes: list[Daemon] = field(init=False)

    def __post_init__(self) -> None:
        self.processes = [self.watcher, self.coordinator, *(one.daemon for one in self.struck)]

    @property
    def named(self) -> PartId:
        """The part that must be named."""
        return FAULT.named(CLUSTER, self.place)

    @property
    def hosts(self) -> set[str]:
        """All hosts of the cube."""
        return hosts_in(PLAN, self.cube)

    async def strike(self) -> None:
        """Break the link."""
        await FAULT.inject(self.world.hosts, self.place, DemoEffects(self.world, self.crowd))

    async def until(self, path: str, good: Callable[[Json], object], what: str) -> Json:
        """Wait until the coordinator tells what is wanted."""
        told: Json = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while not good(told):
                    await asyncio.sleep(LOOK)
                    told = await asyncio.to_thread(self.coordinator.json, path)
        except TimeoutError:
            raise AssertionError(f"in vain: {what}\n{json.dumps(told)[-3000:]}") from None
        return told


@asynccontextmanager
async def a_stage(folder: Path) -> AsyncIterator[Stage]:
    """Bring everything up; all gangs train when the block begins. Each process must be unharmed when it ends."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(running_api())
        broker, rude = stack.enter_context(a_broker(folder))
        ground = Ground(folder, broker.url, api, ThisLoop(asyncio.get_running_loop()), rude)
        kubeconfig = api.write_kubeconfig(folder / "kubeconfig")
        pace = pacing()
        others = [name for name in controllers.ALL if name != "jobsets"]
        await stack.enter_async_context(controllers.run(kubeconfig, which=others, times=pace.times))
        world = await stack.enter_async_context(running_world(PLAN, folder, pacing=pace, kubeconfig=kubeconfig))
        receiver = await stack.enter_async_context(running_receiver(SECRET))
        witness = await stack.enter_async_context(witnessing(world.client, most=16))
        cube = await first_cube(witness, within=PATIENCE)
        place = link_in(PLAN, cube)
        # Whoever starts a process waits for it, and it asks the API that this loop serves.
        processes = ExitStack()
        stack.push_async_callback(asyncio.to_thread, processes.close)

        async def begun(name: str, port: int, whole: Json, folder_name: str = "") -> Daemon:
            daemon = a_daemon(ground, name, port, {**whole, "log": LOG}, folder_name=folder_name)
            return await asyncio.to_thread(processes.enter_context, daemon)

        struck = []
        for node in place.nodes:
            plugin, port, host = stack.enter_context(RudePlugin()), free_port(), world.hosts[node]
            whole = host.agent_configuration(cluster=CLUSTER, broker=ground.broker, period=PERIOD)
            whole["sources"]["device_plugin"] = {"url": plugin.url, "floor": "1s", "timeout": "500ms"}
            whole |= {"kubernetes": {"url": api.url, "every": "5s"}, "listen": {"host": "127.0.0.1", "port": port}}
            struck.append(Struck(node, await begun("agent", port, whole, node), plugin, host.socket))
        crowd = Agents(world, ground.broker, api.url, PERIOD, held_down=set(place.nodes))
        following = asyncio.create_task(crowd.follow_hosts(), name="agents")
        stack.push_async_callback(_end, following, crowd)
        port = free_port()
        watcher = await begun("watcher", port, _watcher(ground, port))
        port = free_port()
        coordinator = await begun(
            "coordinator", port, _coordinator(ground, port, receiver=receiver.url, provider=world.provider.url)
        )
        stage = Stage(ground, world, witness, receiver, cube, place, _books(folder), watcher, coordinator, struck, crowd)
        await stage.until("/api/v1/fleet", all_train, "all gangs train")
        yield stage


async def _end(following: asyncio.Task[None], crowd: Agents) -> None:
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    for node in [*crowd.running]:
        await crowd.kill(node)


def _watcher(ground: Ground, port: int) -> Json:
    return {
        "cluster": {"name": CLUSTER, "kubeconfig": ground.kubeconfig("watcher"), "broker": {"url": ground.broker}},
        "panel": {"period": PERIOD, "rows": 120, "max_hosts": 256},
        "rules": {"folders": [str(quick_rules(ground.folder))], "grace": "30s", "warm_up": "3s", "refresh": "5s"},
        "health": {"port": port},
    }


def _books(folder: Path) -> Path:
    """Give a folder with the shipped playbooks."""
    books = folder / "books"
    if not books.exists():
        books.mkdir()
        for number, text in enumerate(shipped().values()):
            (books / f"{number:02}.yaml").write_text(text, encoding="utf-8")
    return books


def _coordinator(ground: Ground, port: int, *, receiver: str, provider: str) -> Json:
    secret = ground.folder / "pager-secret"
    secret.write_text(SECRET, encoding="utf-8")
    return {
        "clusters": [{"name": CLUSTER, "kubeconfig": ground.kubeconfig("coordinator"), "broker": {"url": ground.broker}}],
        "store": {"url": f"sqlite:///{ground.folder / 'coordinator.db'}"},
        "playbooks": {"mode": "Enforce", "settle_at_most": "10s", "folders": [str(_books(ground.folder))]},
        "pagers": [{"name": "on-call", "kind": "webhook", "url": receiver, "secret": {"file": str(secret)}}],
        "provider": {"kind": "http", "url": provider},
        "pace": {"decide_every": "1s", "sweep_every": "5s", "broker_grace": "1s"},
        "api": {"port": port},
    }
