"""The demo as a client of its own coordinator: it sees what any user sees, over the HTTP API."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

READ_EVERY = 0.25


@dataclass(slots=True)
class Watching:
    """Reads the API at ``url``. ``entries``: the story so far, in order."""

    url: str
    session: aiohttp.ClientSession
    entries: list[dict[str, Any]] = field(default_factory=list)

    async def get(self, path: str) -> Any:  # noqa: ANN401 (JSON)
        """Give the JSON at a path of the API."""
        async with self.session.get(f"{self.url}/api/v1/{path}") as answer:
            answer.raise_for_status()
            return await answer.json()

    async def follow(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """Take in the event stream for ever; ``tell`` is called for each line of a story."""
        patience = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with self.session.get(f"{self.url}/api/v1/events?after=0", timeout=patience) as answer:
            async for entry in _entries(answer.content):
                self.entries.append(entry)
                tell(entry)

    async def until(self, whether: Callable[[dict[str, Any]], bool], path: str, *, within: float) -> dict[str, Any] | None:
        """Read a path again and again until what it shows is as wanted; None where that takes too long."""
        try:
            async with asyncio.timeout(within):
                while True:
                    shown: dict[str, Any] = await self.get(path)
                    if whether(shown):
                        return shown
                    await asyncio.sleep(READ_EVERY)
        except TimeoutError:
            return None

    async def incident(self) -> dict[str, Any] | None:
        """Give the whole story of the first incident, if there is one."""
        rows = (await self.get("incidents?limit=500"))["items"]
        rows = sorted((row for row in rows if row["how"] != "folded"), key=lambda row: str(row["opened"]))
        return dict(await self.get(f"incidents/{rows[0]['id']}")) if rows else None


def when(text: str) -> datetime:
    """Read a time of the API."""
    return datetime.fromisoformat(text)


async def _entries(stream: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    kind = ""
    async for raw in stream:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: ") and kind == "entry":
            yield json.loads(line.removeprefix("data: "))
