"""Serves an aiohttp application on a loopback port for the length of a block."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def served(app: web.Application, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Give the address, e.g. ``http://127.0.0.1:40123``."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        for door in tuple(runner.sites):
            await door.stop()
        for _ in range(5):  # whoever came in just now is taken in, in some turns of the loop, and closed with the others
            await asyncio.sleep(0)
        await runner.cleanup()
