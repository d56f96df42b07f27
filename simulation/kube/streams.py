"""Faults round a request, and watch streams with their own faults, on the wire."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, assert_never

from aiohttp import web

from sliceward.simulation.kube import requests, translation, watching
from sliceward.simulation.kube.faults import (
    After,
    Before,
    Cut,
    DuplicateEvents,
    Effect,
    Faults,
    RaiseFloor,
    Stall,
    WithholdBookmarks,
)
from sliceward.simulation.kube.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.simulation.kube.requests import Route
    from sliceward.simulation.kube.store import Store

_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired",
    429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WatchFaults:
    """What goes wrong inside a watch stream."""

    cut_after: int | None = None
    no_bookmarks: bool = False
    twice: bool = False


class Served(Protocol):
    """What a stream needs of the server that it belongs to."""

    store: Store
    faults: Faults
    bookmark_period: float

    def compact(self) -> None:
        """Forget all history."""
        ...

    async def serve(self, request: web.Request, watch_faults: WatchFaults, /) -> web.StreamResponse:
        """Answer one request by the rules."""
        ...


async def with_faults(api: Served, request: web.Request) -> web.StreamResponse:
    """Serve a request with the faults that hit it."""
    effects = api.faults.take(requests.verb_of(request), request.path)
    await _before(api, effects)
    faults = WatchFaults(
        cut_after=next((effect.lines for effect in effects if isinstance(effect, Cut)), None),
        no_bookmarks=any(isinstance(effect, WithholdBookmarks) for effect in effects),
        twice=any(isinstance(effect, DuplicateEvents) for effect in effects),
    )
    response = await api.serve(request, faults)
    for effect in effects:
        if isinstance(effect, After):
            raise _scripted(effect.code, None)
    if faults.cut_after is not None and isinstance(response, web.Response):
        return await _half(request, response)
    return response


async def _before(api: Served, effects: Sequence[Effect]) -> None:
    for effect in effects:
        match effect:
            case Before(code, retry_after):
                raise _scripted(code, retry_after)
            case Stall(duration):
                await asyncio.sleep(duration.total_seconds())
            case RaiseFloor():
                api.compact()
            case After() | Cut() | WithholdBookmarks() | DuplicateEvents():
                continue
            case _:
                assert_never(effect)


def _scripted(code: int, retry_after: int | None) -> Refusal:
    return Refusal(code, _REASONS.get(code, ""), "scripted fault", retry_after=retry_after)


async def _half(request: web.Request, response: web.Response) -> web.StreamResponse:
    """Send half of an answer and break the connection."""
    body = response.body if isinstance(response.body, bytes) else b""
    torn = web.StreamResponse(status=response.status, headers={"Content-Type": "application/json"})
    torn.content_length = len(body)
    await torn.prepare(request)
    await torn.write(body[: len(body) // 2])
    _break(request)
    return torn


def _break(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


async def watch(api: Served, request: web.Request, route: Route, faults: WatchFaults) -> web.StreamResponse:
    """Stream a watch until it ends, the client goes, or a fault cuts it."""
    asked = requests.watch_request(request, route.call, api.bookmark_period)
    watching.check(asked)
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
    await response.prepare(request)
    left = faults.cut_after
    async for batch in watching.events(api.store, route.call.kind, asked):
        lines = [translation.to_spoken(route.spoken, line) for line in _spoiled(batch, faults)]
        if left is not None and len(lines) > left:
            torn = lines[left]
            await response.write(b"".join(lines[:left]) + torn[: len(torn) // 2])
            _break(request)
            return response
        left = None if left is None else left - len(lines)
        try:
            await response.write(b"".join(lines))
        except ConnectionError:
            return response
    return response


def _spoiled(lines: list[bytes], faults: WatchFaults) -> list[bytes]:
    kept = [line for line in lines if not (faults.no_bookmarks and line.startswith(b'{"type":"BOOKMARK"'))]
    return [line for line in kept for _ in range(2)] if faults.twice else kept
