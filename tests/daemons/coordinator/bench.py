"""A coordinator on a bench: a fleet in memory, a broker in memory, a store on disk, and a clock that the test moves."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.daemons import topics
from sliceward.daemons.coordinator.alerts import AlertMap
from sliceward.daemons.coordinator.coordinator import Coordinator, Parts
from sliceward.daemons.coordinator.memo import InFile
from sliceward.daemons.coordinator.orders import Orders
from sliceward.daemons.coordinator.settings import PaceSettings
from sliceward.daemons.coordinator.side import Side, subscriptions
from sliceward.daemons.loops import Loops
from sliceward.daemons.store import open_store
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import Finding, Kind, State, to_json
from sliceward.playbooks.load import Book
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD
from sliceward.scheduling.quota import Quota
from sliceward.topology.health import Severity
from tests.builders import a_fleet
from tests.fakes.beside import at_once
from tests.fakes.cluster import FakeCluster
from tests.fakes.pager import FakePager
from tests.fakes.provider import FakeProvider
from tests.fakes.wire import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from sliceward.playbooks.silences import Window
    from sliceward.remediations.action import Action
    from sliceward.remediations.paging.heartbeat import Heartbeat
    from sliceward.topology.ids import PartId
    from tests.builders import FleetBuilder

BEGIN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Wall and monotonic time of a test."""

    now: datetime = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return (self.now - BEGIN).total_seconds()

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def the_fleet() -> FleetBuilder:
    """Three cubes and a spare; one gang of two slices, one of one."""
    return a_fleet().with_cubes(4).with_gang("train", slices=2).on("cube-0", "cube-1").with_gang("other", slices=1).on("cube-2")


@dataclass(eq=False)
class World:
    """What outlives a coordinator: cluster, broker, provider, pager, clock, database file, configuration."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    cluster: FakeCluster = field(default_factory=lambda: FakeCluster("c1", now=BEGIN))
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    provider: FakeProvider = field(default_factory=FakeProvider)
    pager: FakePager = field(default_factory=FakePager)
    book: Book = field(default_factory=Book)
    actions: Mapping[str, Action] = field(default_factory=dict)
    alerts: AlertMap = field(default_factory=AlertMap)
    quota: Quota = field(default_factory=Quota)
    windows: tuple[Window, ...] = ()
    heartbeats: tuple[Heartbeat, ...] = ()
    pace: PaceSettings = field(default_factory=lambda: PaceSettings(broker_grace=timedelta(0)))

    def fill(self, fleet: FleetBuilder) -> None:
        objects = fleet.objects()
        self.cluster.put_all(NODE, objects.nodes)
        self.cluster.put_all(POD, objects.pods)
        self.cluster.put_all(JOBSET, objects.jobsets)
        self.cluster.put_all(JOB, objects.jobs)

    def tell(self, finding: Finding) -> None:
        """Publish a finding as the watcher does."""
        self.broker.publish(Message(topics.finding("c1", finding.id), to_json(finding), retain=True))

    def finding(self, part: PartId, kind: Kind = Kind.ICI_LINK_DEGRADED, state: State = State.FIRING) -> Finding:
        return Finding(
            kind=kind,
            part=part,
            state=state,
            severity=Severity.ERROR,
            since=BEGIN,
            seen=self.clock(),
            score=0.99,
            detector="rule/test",
            version="1",
            text=f"{kind} on {part}",
        )


@dataclass(eq=False)
class Bench:
    """One coordinator over a `World`."""

    world: World
    coordinator: Coordinator
    side: Side

    async def settle(self, times: int = 20) -> None:
        """Let mirrors and broker hand over what they have."""
        for _ in range(times):
            await asyncio.sleep(0)

    async def round(self) -> None:
        """One round of everything, and the calls that it began to their end."""
        await self.settle()
        await self.coordinator.desk.round()
        await self.coordinator.deciding.round()
        await self.coordinator.deciding.idle()
        await self.coordinator.outbox.round()
        await self.settle()


@asynccontextmanager
async def a_bench(world: World) -> AsyncIterator[Bench]:
    """Give a coordinator that leads and whose mirrors and wire run; rounds are the test's."""
    clock = world.clock
    async with open_store(f"sqlite:///{world.folder / 'store.db'}") as store:
        side = Side(
            name="c1",
            cluster=world.cluster,
            bus=world.broker.wire("coordinator", subscribe=subscriptions("c1")),
            provider=world.provider,
            pace=world.pace,
            clock=clock,
            beside=at_once,
        )
        coordinator = Coordinator(
            Parts(
                store=store,
                sides=[side],
                book=world.book,
                actions=world.actions,
                pagers={world.pager.name: world.pager},
                alerts=world.alerts,
                orders=Orders(quota=world.quota),
                pace=side.pace,
                clock=clock,
                monotonic=clock.seconds,
                loops=Loops(clock.seconds),
                dice=random.Random(1),  # noqa: S311 (jitter of a test)
                version="0.0.0",
                windows=world.windows,
                heartbeats=world.heartbeats,
                memo=InFile(world.folder / "store.db-told"),
            )
        )
        await coordinator.begin()
        if coordinator.proof is not None:
            coordinator.proof.begun = -math.inf  # whoever led before is gone for long
        running = asyncio.create_task(side.run())
        bench = Bench(world, coordinator, side)
        await bench.settle()
        try:
            yield bench
        finally:
            coordinator.bell.close()
            running.cancel()
            await asyncio.wait([running])
            await coordinator.deciding._calls.drop()  # noqa: SLF001 (what the test left under way)
