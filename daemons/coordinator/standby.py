"""What a replica that stands by answers: health and metrics are its own, everything else is passed on to the leader.

So every replica behind one Service is ready, and alerts, people and pages reach whoever leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from sliceward.daemons.coordinator.web import Problem

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from sliceward.daemons.coordinator.coordinator import Coordinator

OWN = frozenset({"/healthz", "/readyz", "/metrics"})
PASSED_ON = "X-Sliceward-Passed-On"
"""Marks a request that came from another replica: it is not passed on again."""
HOP = frozenset({"connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"})
"""Headers of one connection (RFC 9110, 7.6.1), which are not passed on."""
RELAYED: web.RequestKey[bool] = web.RequestKey("relayed", bool)
"""Marks a request whose answer is the leader's."""
RETRY = 2.0


def standing_by(coordinator: Coordinator, session: aiohttp.ClientSession) -> Middleware:
    """Give the middleware that passes on what only the leader can answer, while this replica does not lead.

    ``session`` must not decompress: what comes is passed on byte by byte.
    """

    @web.middleware
    async def passed_on(request: web.Request, handler: Handler) -> web.StreamResponse:
        if coordinator.leads or request.path in OWN:
            return await handler(request)
        leadership = coordinator.parts.leadership
        if leadership is None or not leadership.address or PASSED_ON in request.headers:
            who = f"{leadership.leader} leads" if leadership is not None and leadership.leader else "nobody leads yet"
            raise Problem(503, "StandsBy", f"this replica stands by; {who}", "Ask again in a moment", retry_after=RETRY)
        return await _pass_on(request, leadership.address.rstrip("/"), session)

    return passed_on


async def _pass_on(request: web.Request, leader: str, session: aiohttp.ClientSession) -> web.StreamResponse:
    """Ask the leader, and give its answer as it comes (a stream stays a stream)."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
    # The leader compares a page's origin with the name by which it was asked for.
    headers |= {PASSED_ON: "1", "Host": request.host}
    body = request.content if request.can_read_body else None
    patience = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=60)
    try:
        async with session.request(
            request.method, leader + request.path_qs, headers=headers, data=body, timeout=patience, allow_redirects=False
        ) as found:
            return await _relay(request, found)
    except (aiohttp.ClientError, TimeoutError) as error:
        why = f"this replica stands by, and the leader at {leader} does not answer: {type(error).__name__}"
        raise Problem(503, "StandsBy", why, "Ask again in a moment", retry_after=RETRY) from None


async def _relay(request: web.Request, found: aiohttp.ClientResponse) -> web.StreamResponse:
    kept = {name: value for name, value in found.headers.items() if name.lower() not in HOP}
    answer = web.StreamResponse(status=found.status, headers=kept)
    request[RELAYED] = True
    await answer.prepare(request)
    try:
        async for piece in found.content.iter_any():
            await answer.write(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        # The head is out: all that can still be said is that the rest does not come.
        raise ConnectionResetError(str(error)) from None
    await answer.write_eof()
    return answer
