"""``POST /v1/webhooks/alertmanager/{name}``: alerts in, stored before the 2xx.

Alertmanager retries only 5xx, never 429 or 4xx, and follows redirects with an empty GET: so load is shed with 503, and
a trailing slash is the same path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import web

from sliceward.daemons.coordinator.alerts import read_payload
from sliceward.daemons.coordinator.bodies import body_of, refuse_other_types
from sliceward.daemons.coordinator.web import Problem, answer_of
from sliceward.daemons.store import Unstorable
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from prometheus_client import Counter

    from sliceward.daemons.coordinator.desk import Desk

MOST_BYTES = 32 * 1024 * 1024
MOST_AT_ONCE = 8
MOST_RECEIVERS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Webhook:
    """Takes posts in; ``counted`` counts them by receiver and code."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime], counted: Counter) -> None:
        """Keep the desk."""
        self._desk, self._clock, self._counted = desk, clock, counted
        self._under_way = 0
        self._names: set[str] = set()

    async def post(self, request: web.Request) -> web.Response:
        """Answer one post."""
        name = request.match_info["name"]
        try:
            response = web.json_response(await self._taken(request, name))
        except Problem as problem:
            response = answer_of(problem)
        self._counted.labels(receiver=self._shown(name), code=str(response.status)).inc()
        return response

    def _shown(self, name: str) -> str:
        """Give the label for a receiver: anybody may invent names, and each is a series that is kept for ever."""
        if not _NAME.fullmatch(name) or (name not in self._names and len(self._names) >= MOST_RECEIVERS):
            return ""
        self._names.add(name)
        return name

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
            put = await self._desk.take(read_payload(await _body(request), receiver=name, now=self._clock()))
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


async def _body(request: web.Request) -> bytes:
    try:
        return await body_of(request, most=MOST_BYTES)
    except Problem as problem:
        match problem.status:
            case 408:
                raise Problem(503, "NotNow", problem.why, "Send again", retry_after=1) from None
            case 413:
                raise Problem(413, problem.code, problem.why, "Set max_alerts in Alertmanager") from None
            case _:
                raise
