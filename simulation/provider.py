"""A provider of repairs over HTTP, as docs/provider.md describes its wire: a repair takes a while and then really mends the part."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from sliceward.simulation.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import timedelta


@dataclass(slots=True)
class Work:
    """One repair."""

    id: str
    host: str
    behavior: str
    state: str = "requested"
    text: str = ""

    def json(self) -> dict[str, str]:
        """Give the wire form."""
        return {"id": self.id, "host": self.host, "state": self.state, "text": self.text}


@dataclass(slots=True)
class SimulatedProvider:
    """``works`` by idempotency key, so that asking twice is one repair. ``mend`` is called when a repair is done."""

    url: str
    takes: timedelta
    mend: Callable[[str], Awaitable[None]]
    works: dict[str, Work] = field(default_factory=dict)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def _begin(self, request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key", "")
        body = await request.json()
        if not key or "host" not in body:
            return web.json_response({"error": "needs the header Idempotency-Key and the key host"}, status=400)
        if key not in self.works:
            work = Work(f"repair-{len(self.works) + 1}", str(body["host"]), str(body.get("behavior", "")))
            self.works[key] = work
            task = asyncio.create_task(self._repair(work))
            self.running.add(task)
            task.add_done_callback(self.running.discard)
        return web.json_response(self.works[key].json(), status=202)

    async def _repair(self, work: Work) -> None:
        work.state, work.text = "running", "a technician is on it"
        await asyncio.sleep(self.takes.total_seconds())
        await self.mend(work.host)
        work.state, work.text = "done", "mended in place"

    async def _show(self, request: web.Request) -> web.Response:
        wanted = request.match_info["id"]
        work = next((one for one in self.works.values() if one.id == wanted), None)
        return web.json_response(work.json()) if work else web.json_response({"error": f"no repair {wanted}"}, status=404)


@asynccontextmanager
async def running_provider(takes: timedelta, mend: Callable[[str], Awaitable[None]]) -> AsyncIterator[SimulatedProvider]:
    """Serve on a free loopback port until the block ends; ``takes`` is the time of one repair."""
    provider = SimulatedProvider("", takes, mend)
    app = web.Application()
    app.router.add_post("/v1/repairs", provider._begin)  # noqa: SLF001 (its own factory)
    app.router.add_get("/v1/repairs/{id}", provider._show)  # noqa: SLF001 (its own factory)
    async with served(app) as url:
        provider.url = url
        try:
            yield provider
        finally:
            for task in provider.running:
                task.cancel()
            await asyncio.gather(*provider.running, return_exceptions=True)
