"""Many agents in one process, for a simulated fleet: started, stopped and killed one by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import structlog

from sliceward.daemons.agent.run import agent_of
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from sliceward.daemons.agent.agent import Agent
    from sliceward.daemons.agent.settings import AgentSettings
    from sliceward.daemons.wire import Bus

log = structlog.get_logger(__name__)


class Agents:
    """Agents by node. ``bus``: a wire of somebody else, on which the broker's part is played when one is killed."""

    def __init__(self, settings: Mapping[str, AgentSettings], bus: Bus) -> None:
        """Nothing runs before the context is entered."""
        self._settings, self._bus = dict(settings), bus
        self._running: dict[str, tuple[Agent, asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        """Start all."""
        for node in self._settings:
            self.start(node)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop all."""
        for agent, _ in self._running.values():
            agent.says_good_bye = False
        await asyncio.gather(*(self.stop(node) for node in list(self._running)))

    def __getitem__(self, node: str) -> Agent:
        """Give the running agent of a node."""
        return self._running[node][0]

    def start(self, node: str) -> None:
        """Start the agent of ``node``, unless it runs."""
        if node in self._running:
            return
        agent = agent_of(self._settings[node])
        task = asyncio.create_task(agent.run(), name=f"agent {node}")
        task.add_done_callback(lambda done: _tell(node, done))
        self._running[node] = (agent, task)

    async def stop(self, node: str) -> None:
        """Stop the agent of ``node`` as SIGTERM does."""
        _, task = self._running.pop(node)
        task.cancel()
        await asyncio.wait([task])

    async def kill(self, node: str) -> None:
        """End the agent of ``node`` without a word; the broker then tells its last will."""
        if node not in self._running:
            return
        agent = self._running[node][0]
        agent.says_good_bye = False
        await self.stop(node)
        will = agent.connection().will
        try:
            await self._bus.publish(will.topic, will.payload, qos=1, retain=True)
        except Retry as error:
            log.info("last will not told", node=node, why=str(error))


def _tell(node: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("agent ended", node=node, why=str(error))
