"""Serve HTTP with aiohttp: the paths of `sliceward.daemons.health`, alone or beside a daemon's own. Not for the agent, which stays small."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from sliceward.daemons.health import PATHS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sliceward.daemons.health import Health


def routes(health: Health) -> list[web.RouteDef]:
    """Give the three routes, to be added to a daemon's own application."""

    async def answer(request: web.Request) -> web.Response:
        told = PATHS[request.path](health)
        return web.Response(status=told.status, body=told.body, headers={"Content-Type": told.content_type})

    return [web.get(path, answer) for path in PATHS]


def application(health: Health) -> web.Application:
    """Give an application with only the three paths, for a daemon that serves nothing else."""
    app = web.Application()
    app.add_routes(routes(health))
    return app


@asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve ``app`` while inside; gives the port that was bound (a free one for 0)."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
