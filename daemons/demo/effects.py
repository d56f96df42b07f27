"""What a fault does outside of the simulated host: to its agent and to its kubelet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sliceward.daemons.demo.agents import Agents
    from sliceward.simulation.world import World


@dataclass(frozen=True, slots=True)
class DemoEffects:
    """Does it to this world."""

    world: World
    agents: Agents

    async def agent_dies(self, node: str) -> None:
        """Kill the agent and keep it down while its host lives on."""
        self.agents.held_down.add(node)
        await self.agents.kill(node)

    async def kubelet_dies(self, node: str) -> None:
        """Let the kubelet fall silent."""
        await self.world.label(node, {"kubelet": "dead"})

    async def host_returns(self, node: str) -> None:
        """Start kubelet and agent again."""
        self.agents.held_down.discard(node)
        await self.world.label(node, {"kubelet": None})
