"""A coordinator whose store is away when it starts: it waits, says so, and is not restarted for it, for that brings no store back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Gauge

from sliceward.daemons.health import Dependency, Health, new_registry
from sliceward.daemons.loops import Loops
from sliceward.daemons.serving import application, serving
from sliceward.daemons.store import open_store
from sliceward.daemons.version import version
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from sliceward.daemons.settings import ListenSettings

log = structlog.get_logger(__name__)

AGAIN = 2.0


async def until_it_answers(url: str, where: ListenSettings, stopped: asyncio.Event) -> None:
    """Try the store until it opens or ``stopped`` is set; meanwhile health and metrics are served ``where`` the API will be.

    Raises:
        Misconfigured: it answers, and cannot be used.
    """
    loops, began = Loops(time.monotonic), time.monotonic()
    loop = loops.add("opening the store", deadline=120)
    registry = new_registry(loops, version=version())
    age = Gauge("sliceward_store_age_seconds", "Seconds since the store last answered.", registry=registry)
    age.set_function(lambda: time.monotonic() - began)
    Gauge("sliceward_leading", "Whether this replica decides.", registry=registry).set(0)
    health = Health(loops, lambda: [Dependency("store", ok=False, age=None, why=loop.error)], registry, version())
    async with serving(application(health), host=where.host, port=where.port):
        while not await _ended(stopped, AGAIN):
            try:
                async with open_store(url):
                    return
            except Retry as error:
                loop.retried(str(error))
                log.warning("the store is away", why=str(error))


async def _ended(stopped: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        return False
    return True
