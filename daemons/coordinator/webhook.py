"""``POST /v1/webhooks/alertmanager/{name}``: alerts in, stored before the 2xx.

Alertmanager retries only 5xx, never 429 or 4xx, and follows redirects with an empty GET: so load is shed with 503, and
a trailing slash is the same path.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from sliceward.daemons.coordinator.alerts import read_payload
from sliceward.daemons.coordinator.bodies import parts_of, refuse_other_types
from sliceward.daemons.coordinator.standby import RELAYED
from sliceward.daemons.coordinator.web import CALLER, Problem
from sliceward.daemons.store import Unstorable
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiohttp.typedefs import Handler, Middleware
    from prometheus_client import Counter

    from sliceward.daemons.coordinator.desk import Desk

MOST_BYTES = 32 * 1024 * 1024
MOST_AT_ONCE = 8
MOST_RECEIVERS = 64
WEBHOOKS = "/v1/webhooks/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def counting(counter: Counter) -> Middleware:
    """Give the middleware that counts the answers to posts of alerts by receiver and code.

    It stands outside of all others: most posts that are lost never reach the handler, for want of a token, a leader or a path.
    """
    names: set[str] = set()

    def shown(request: web.Request) -> str:
        """Give the label for a receiver: anybody may invent names, and each is a series that is kept for ever."""
        name = request.match_info.get("name", "")
        if name in names:
            return name
        if CALLER not in request or not _NAME.fullmatch(name) or len(names) >= MOST_RECEIVERS:
            return ""
        names.add(name)
        return name

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        # What the leader answered it has counted itself.
        if request.path.startswith(WEBHOOKS) and RELAYED not in request:
            counter.labels(receiver=shown(request), code=str(response.status)).inc()
        return response

    return counted


class Webhook:
    """Takes posts in."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime]) -> None:
        """Keep the desk."""
        self._desk, self._clock = desk, clock
        self._under_way = 0
        self._reading = asyncio.Lock()

    async def post(self, request: web.Request) -> web.Response:
        """Answer one post."""
        return web.json_response(await self._taken(request, request.match_info["name"]))

    async def _taken(self, request: web.Request, name: str) -> dict[str, int]:
        if not _NAME.fullmatch(name):
            why = "a webhook is named with letters, digits, '-', '_' and '.'"
            raise Problem(404, "NotFound", why, "Correct its address in Alertmanager")
        refuse_other_types(request)
        # Bodies are large and held in memory: beyond a few at once the sender is asked to come again.
        if self._under_way >= MOST_AT_ONCE:
            raise Problem(503, "NotNow", f"{MOST_AT_ONCE} posts are under way", "Send again", retry_after=1)
        self._under_way += 1
        try:
            body = await _body(request)
            # Beside the loop, for 10,000 alerts take half a second; one at a time, for each thread that computes costs the loop turns.
            async with self._reading:
                payload = await asyncio.to_thread(partial(read_payload, *body, receiver=name, now=self._clock()))
            put = await self._desk.take(payload)
        except Refused as error:
            raise Problem(400, "BadRequest", str(error), "Send Alertmanager's own payload, version 4") from None
        except Unstorable as error:
            # Sent again it would be the same: a 5xx would make the sender try for ever.
            raise Problem(400, "BadRequest", str(error), "Look at the labels of the group's alerts") from None
        except Retry as error:
            raise Problem(503, "NotNow", str(error), "Send again", retry_after=error.after or 5) from None
        finally:
            self._under_way -= 1
        return {"accepted": put.accepted, "duplicate": put.duplicate}


async def _body(request: web.Request) -> list[bytes]:
    try:
        return await parts_of(request, most=MOST_BYTES)
    except Problem as problem:
        match problem.status:
            case 408:
                raise Problem(503, "NotNow", problem.why, "Send again", retry_after=1) from None
            case 413:
                raise Problem(413, problem.code, problem.why, "Set max_alerts in Alertmanager") from None
            case _:
                raise
