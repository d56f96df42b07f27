"""``_memory_coordinator.py``: runs a coordinator until it has read its fleet and gone round for a while, says so, and stays as it is."""

from __future__ import annotations

import asyncio
import os

from sliceward.daemons import logs
from sliceward.daemons.collector import keep_short
from sliceward.daemons.coordinator.run import running
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load

SETTLING = 15.0
"""Seconds in which the fleet is read some times, and the garbage collector has its turns."""


async def coordinate() -> None:
    """Run it."""
    settings = load(CoordinatorSettings, file=None, environ=os.environ)
    logs.configure(settings.log)
    async with running(settings, write=lambda _text: None) as found, asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_short())
        side = found.coordinator.parts.sides[0]
        while side.fleet is None:  # noqa: ASYNC110 (whoever waits for the fleet asks as the API does)
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLING)
        print("full", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(coordinate())
