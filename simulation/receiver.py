"""A receiver of pages, as a pager's far end would be: checks the signature, drops repeats, keeps one line per incident.

Beside them it hears heartbeats.

Speaks Standard Webhooks 1.0.0 (headers ``webhook-id``, ``webhook-timestamp``, ``webhook-signature``).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sliceward.simulation.serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True)
class Received:
    """All pages about one incident by its deduplication key: events in the order in which they came."""

    key: str
    events: list[str] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Receiver:
    """What came in. ``beats``: the heartbeats, in order. ``repeats``: deliveries seen again; ``refused``: bodies whose signature was wrong."""

    url: str
    secret: str
    incidents: dict[str, Received] = field(default_factory=dict)
    deliveries: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeats: int = 0
    refused: int = 0
    heartbeat_url: str = ""
    beats: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Pages that came in, repeats not counted."""
        return len(self.deliveries)


def signature(secret: str, *, message: str, timestamp: str, body: bytes) -> str:
    """Give the ``v1`` signature of a body (Standard Webhooks 1.0.0: HMAC-SHA256 over ``id.timestamp.body``)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


@asynccontextmanager
async def running_receiver(secret: str) -> AsyncIterator[Receiver]:
    """Serve on a free loopback port until the block ends."""
    receiver = Receiver("", secret)

    def is_signed(request: web.Request, body: bytes) -> bool:
        message, timestamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        wanted = signature(secret, message=message, timestamp=timestamp, body=body)
        return any(hmac.compare_digest(wanted, got) for got in request.headers.get("webhook-signature", "").split())

    async def hear(request: web.Request) -> web.Response:
        body = await request.read()
        if not is_signed(request, body):
            receiver.refused += 1
            return web.json_response({"error": "signature"}, status=401)
        receiver.beats.append(json.loads(body))
        return web.json_response({"accepted": True})

    async def take(request: web.Request) -> web.Response:
        body, message = await request.read(), request.headers.get("webhook-id", "")
        if not is_signed(request, body):
            receiver.refused += 1
            return web.json_response({"error": "signature"}, status=401)
        if message in receiver.deliveries:
            receiver.repeats += 1
            return web.json_response({"repeat": True})
        data = json.loads(body)["data"]
        receiver.deliveries[message] = data
        incident = receiver.incidents.setdefault(data["dedup_key"], Received(data["dedup_key"]))
        incident.events.append(data["event"])
        incident.summaries.append(data["summary"])
        return web.json_response({"accepted": True})

    app = web.Application()
    app.router.add_post("/pages", take)
    app.router.add_post("/heartbeat", hear)
    async with served(app) as url:
        receiver.url, receiver.heartbeat_url = f"{url}/pages", f"{url}/heartbeat"
        yield receiver
