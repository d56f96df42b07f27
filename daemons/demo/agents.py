"""The agents of a simulated fleet, all in this process: one a host, each with its own connection to the broker."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.daemons.agent.run import agent_of
from sliceward.daemons.agent.settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sliceward.simulation.hosts import SimulatedHost
    from sliceward.simulation.world import World


@dataclass(slots=True)
class Agents:
    """Running agents by node name. That of a dead host is killed, and starts again when its host lives again.

    ``held_down``: hosts whose agent stays away until they are repaired (fault ``agent-died``).
    """

    world: World
    broker: str
    api: str
    period: str
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    held_down: set[str] = field(default_factory=set)

    def start(self, host: SimulatedHost) -> None:
        """Start the agent of a host."""
        wanted = host.agent_configuration(cluster=self.world.plan.name, broker=self.broker, period=self.period)
        wanted["kubernetes"] = {"url": self.api, "every": "5s"}
        agent = agent_of(AgentSettings.model_validate_json(json.dumps(wanted)))
        self.running[host.state.node] = asyncio.create_task(agent.run(), name=f"agent {host.state.node}")

    async def kill(self, node: str) -> None:
        """End an agent without a good-bye, as a lost host or a crash does."""
        task = self.running.pop(node, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def follow_hosts(self) -> None:
        """Keep an agent on every host that lives, for ever."""
        while True:
            for node, host in self.world.hosts.items():
                if host.state.is_dead and node in self.running:
                    await self.kill(node)
                elif not host.state.is_dead and node not in self.running and node not in self.held_down:
                    self.start(host)
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running_agents(world: World, *, broker: str, period: str) -> AsyncIterator[Agents]:
    """Run an agent on every host of the world for as long as the block lasts."""
    agents = Agents(world, broker, world.client.url, period)
    world.repaired = agents.held_down.discard
    keeping = asyncio.create_task(agents.follow_hosts(), name="agents")
    try:
        yield agents
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        for node in list(agents.running):
            await agents.kill(node)
