"""One watcher on its stage: a broker in memory, a fake cluster and a clock of its own; rounds are called, nothing sleeps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.daemons import topics
from sliceward.daemons.loops import Loops
from sliceward.daemons.settings import load
from sliceward.daemons.watcher.run import read_rules
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.daemons.watcher.surroundings import Surroundings
from sliceward.daemons.watcher.watcher import Parts, Watcher, subscriptions
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import Finding, from_json
from sliceward.detectors.frame import encode
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, SLICE
from tests.builders import NOW, a_fleet, gang_id
from tests.detectors.frames import speakers_of
from tests.fakes.beside import at_once
from tests.fakes.cluster import FakeCluster
from tests.fakes.wire import MemoryBroker, MemoryWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from sliceward.topology.fleet import Fleet
    from tests.builders import FleetBuilder

H0, H1 = "cube-0-host-00", "cube-0-host-01"
ENVIRON = {"SLICEWARD_CLUSTER": "c1", "SLICEWARD_MQTT_URL": "mqtt://b", "SLICEWARD_STATISTICS__ENABLED": "true"}
A_CLUSTER = a_fleet().with_cubes(1).with_gang("llm").on("cube-0")


def settings_of(**environ: str) -> WatcherSettings:
    return load(WatcherSettings, file=None, environ=ENVIRON | environ)


@dataclass
class Stage:
    """One watcher on its stage. ``now`` moves by `rounds` only. ``comparing``: whether parts are compared with their peers in between."""

    builder: FleetBuilder = A_CLUSTER
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    now: datetime = NOW
    silent: set[str] = field(default_factory=set)
    beside: Callable[[Callable[[], Fleet]], Awaitable[Fleet]] = at_once
    environ: dict[str, str] = field(default_factory=dict)
    comparing: bool = True

    def __post_init__(self) -> None:
        self.cluster = FakeCluster("c1")
        objects = self.builder.objects()
        for kind, rows in (
            (NODE, objects.nodes),
            (POD, objects.pods),
            (JOB, objects.jobs),
            (JOBSET, objects.jobsets),
            (SLICE, ()),
        ):
            self.cluster.put_all(kind, rows)
        self.speakers = speakers_of(self.builder.build())
        self.restart()

    def restart(self) -> None:
        settings = settings_of(**self.environ)
        self.wire = MemoryWire(self.broker, "watcher", subscriptions("c1"))
        self.watcher = Watcher(
            Parts(
                settings=settings,
                rules=read_rules(settings.rules),
                bus=self.wire,
                surroundings=Surroundings("c1", self.cluster, beside=self.beside),
                loops=Loops(lambda: (self.now - NOW).total_seconds()),  # noqa: PLW0108 (`now` is replaced, not changed)
                clock=lambda: self.now,
                monotonic=lambda: (self.now - NOW).total_seconds(),  # noqa: PLW0108 (as above)
                beside=at_once,
            )
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self.wire.run(self.watcher.take, self.watcher._greet)),  # noqa: SLF001 (without the sleeping loop)
            asyncio.create_task(self.watcher.parts.surroundings.run()),
        ]
        try:
            await settle()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            self.now += timedelta(seconds=10)
            for name, payload in self.frames():
                self.say(topics.host("c1", name, topics.FRAME), payload)
            await settle()
            await self.watcher.round()
            if self.comparing:
                await self.watcher.compare()
                await self.watcher.tell_compared()

    def frames(self) -> Iterator[tuple[str, bytes]]:
        """Give what the hosts say now."""
        for name, speaker in self.speakers.items():
            if name not in self.silent:
                yield name, encode(speaker.say(self.now.timestamp()))

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.broker.publish(Message(topic, payload, retain=retain, qos=0))

    @property
    def kept(self) -> dict[str, Finding]:
        found = [from_json(m.payload) for t, m in self.broker.retained.items() if "/findings/" in t]
        return {f"{f.kind} {f.part}": f for f in found}


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def lose_chip(stage: Stage, chip: int = 2) -> str:
    stage.speakers[H0].chip("chip_present", chip, 0)
    return f"ChipLost c1/chip/{H0}/{chip}"


def steps(stage: Stage, step: int) -> None:
    for rank, speaker in enumerate(stage.speakers.values()):
        speaker.readings |= {"host_step": step, "host_checkpoint_age_seconds": 30}
        speaker.notes = {"gang": f"{gang_id('llm')}|slice|0|{rank}", "step_base": "1000", "checkpoint_step": "900"}
