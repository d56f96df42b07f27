"""Serves an aiohttp application on a loopback port for the length of a block."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The accepting task, the making of the connection, and one to spare.
_TURNS = 5


@asynccontextmanager
async def served(
    app: web.Application, *, host: str = "127.0.0.1", port: int = 0, patience: float = 1.0, gone_ends: bool = False
) -> AsyncIterator[str]:
    """Give the address, e.g. ``http://127.0.0.1:40123``.

    ``patience``: seconds that a request which is being answered gets at the end; ``gone_ends``: whoever hangs up ends what is
    done for it.
    """
    runner = web.AppRunner(app, access_log=None, handler_cancellation=gone_ends, shutdown_timeout=patience)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        for site in runner.sites:
            await site.stop()
        # Whoever came in just now is a connection of this runner in some turns of the loop, and only then can be closed.
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        await runner.cleanup()
