"""``_memory_watcher.py HOSTS ROWS``: fills a watcher's window as fast as frames are taken in, says so, and stays as it is.

The watcher is built as in its own process, with mirrors of a cluster; only its broker and its clocks are this file, which feeds
each period's frames and then lets it look. Each frame must be taken, and each sick chip be found.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks._fleet import CLUSTER
from benchmarks._frames import Fleet, is_sick
from sliceward.daemons import logs, topics
from sliceward.daemons.collector import keep_short
from sliceward.daemons.settings import load
from sliceward.daemons.watcher.run import built
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.daemons.watcher.watcher import Watcher
from sliceward.daemons.wire import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PERIOD = 10.0
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Feed:
    """A broker that is always there: it hands over what it is given, and forgets what is published."""

    connected = True
    age = 0.0

    def __init__(self) -> None:
        """Nobody listens yet."""
        self.counts = Counter(connected=1)
        self.give: Callable[[Message], Awaitable[None] | None] = lambda _message: None

    async def run(
        self,
        on_message: Callable[[Message], Awaitable[None] | None],
        on_connect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Be there for ever."""
        self.give = on_message
        if on_connect is not None:
            await on_connect()
        await asyncio.Event().wait()

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Take a message, and forget it."""


class Clock:
    """The time as it is fed."""

    now = BEGAN

    def wall(self) -> datetime:
        """Give the wall time."""
        return self.now

    def steady(self) -> float:
        """Give seconds that nobody sets."""
        return self.now.timestamp()


async def watch(hosts: int, rows: int) -> None:
    """Fill a watcher's window and let it look after each period."""
    settings, clock, feed = load(WatcherSettings, file=None, environ=os.environ), Clock(), Feed()
    logs.configure(settings.log)
    fleet = Fleet(hosts, PERIOD, began=BEGAN.timestamp())
    where = [topics.host(CLUSTER, name, topics.FRAME) for name in fleet.names]
    async with AsyncExitStack() as stack:
        parts = (await built(settings, stack)).parts
        watcher = Watcher(replace(parts, bus=feed, clock=clock.wall, monotonic=clock.steady))
        tasks = [asyncio.create_task(watcher.run()), asyncio.create_task(keep_short())]
        # From now on nothing changes there, so that the rounds of its own loop read nothing beside those below.
        while not watcher.parts.surroundings.synced or len(watcher.parts.surroundings.fleet.hosts) < hosts:  # noqa: ASYNC110 (whoever waits for the fleet asks as the API does)
            await asyncio.sleep(0.1)
        for seq in range(1, rows + 1):
            for host, topic in enumerate(where):
                clock.now = BEGAN + timedelta(seconds=PERIOD * (seq - 1 + host / hosts))
                feed.give(Message(topic, fleet.frame(host, seq, clock.now.timestamp()), qos=0))
                if host % 256 == 0:
                    await asyncio.sleep(0)
            clock.now = BEGAN + timedelta(seconds=PERIOD * seq)
            await watcher.round()
            await watcher.compare()
            await watcher.tell_compared()
        found, sick = len(watcher.findings), sum(map(is_sick, range(hosts)))
        if watcher.panel.counts["taken"] != rows * hosts or found != sick:
            raise SystemExit(f"{dict(watcher.panel.counts)}; {found} findings for {sick} sick chips")
        print("full", flush=True)
        await asyncio.wait(tasks)


if __name__ == "__main__":
    asyncio.run(watch(int(sys.argv[1]), int(sys.argv[2])))
