"""Run agents over real wires: one for ``sliceward agent``, many in one process for a simulated fleet."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sliceward.daemons.agent.agent import Agent, Connection
from sliceward.daemons.agent.doors import open_doors
from sliceward.daemons.health import Dependency, Health, new_registry
from sliceward.daemons.version import version
from sliceward.daemons.wire import Wire, WireOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import Metric

    from sliceward.daemons.agent.settings import AgentSettings

log = structlog.get_logger(__name__)


def agent_of(settings: AgentSettings) -> Agent:
    """Give the agent that settings describe, on a real wire."""

    def connect(wanted: Connection) -> Wire:
        broker = settings.broker
        # The broker tells our last will after 1.5 keep-alives; it must not come much later than three missed frames.
        options = replace(
            WireOptions.of(broker),  # no secret is read before: a host may be there sooner than its password
            keepalive=max(5, min(60, round(2 * settings.period.total_seconds()))),
            inbox=256,
            inbox_bytes=8 << 20,
            max_payload=1 << 20,
        )
        return Wire(broker.url, client_id=wanted.client_id, subscribe=wanted.subscribe, will=wanted.will, options=options)

    return Agent(settings, connect)


async def serve(settings: AgentSettings) -> None:
    """Run one agent until SIGTERM or SIGINT."""
    agent = agent_of(settings)
    async with AsyncExitStack() as stack:
        if settings.listen is not None:
            registry = new_registry(agent.loops, version=version())
            registry.register(AgentMetrics(agent))
            health = Health(agent.loops, lambda: dependencies(agent), registry, version())
            listen = settings.listen
            port = await stack.enter_async_context(open_doors(health, host=listen.host, port=listen.port))
            log.info("listening", host=settings.listen.host, port=port)
        task = asyncio.create_task(agent.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            log.info("stopped")


def dependencies(agent: Agent) -> Sequence[Dependency]:
    """Give what the agent needs, each with its age: the broker, then every source."""
    bus = agent.bus
    found = [Dependency("broker", bus is not None and bus.connected, None if bus is None else bus.age)]
    # Sources are told, not demanded: an idle host has no libtpu and no reporter, and is well.
    rounds = agent.rounds
    for slot in rounds.slots if rounds is not None else ():
        age = rounds.age(slot) if rounds is not None and slot.ever else None
        found.append(Dependency(f"source {slot.source.name}", True, age, slot.error))  # noqa: FBT003 (positional in the dataclass)
    return found


class AgentMetrics(Collector):
    """The agent's own counts, read at each scrape."""

    def __init__(self, agent: Agent) -> None:
        """Show ``agent``."""
        self._agent = agent

    def collect(self) -> Iterable[Metric]:
        """Give the counts now."""
        agent = self._agent
        events = CounterMetricFamily("sliceward_agent_events", "What happened in the agent, by name.", labels=["name"])
        for name, count in sorted((agent.counts + agent.queue.counts).items()):
            events.add_metric([name], count)
        waiting = GaugeMetricFamily("sliceward_agent_events_waiting", "Events that wait for the broker.", value=len(agent.queue))
        age = GaugeMetricFamily("sliceward_agent_source_age_seconds", "Age of the last good reading.", labels=["source"])
        failed = CounterMetricFamily("sliceward_agent_source_failures", "Reads that failed.", labels=["source"])
        if agent.rounds is not None:
            for slot in agent.rounds.slots:
                age.add_metric([slot.source.name], agent.rounds.age(slot))
                failed.add_metric([slot.source.name], agent.rounds.counts[slot.source.name])
        wire = CounterMetricFamily(
            "sliceward_agent_messages", "Messages of the broker by what became of them.", labels=["outcome"]
        )
        for name, count in sorted(agent.bus.counts.items() if agent.bus is not None else ()):
            wire.add_metric([name], count)
        reporter = CounterMetricFamily("sliceward_agent_reporter", "What reporters said that was not taken.", labels=["outcome"])
        for name, count in sorted(agent.reporter.counts.items() if agent.reporter is not None else ()):
            reporter.add_metric([name], count)
        return (events, waiting, age, failed, wire, reporter)
