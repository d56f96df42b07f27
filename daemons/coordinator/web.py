"""What all HTTP answers share: errors as JSON, roles, lists page by page, headers that keep browsers safe."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from sliceward.daemons.coordinator.settings import LOOPBACK
from sliceward.daemons.coordinator.tokens import Caller, Tokens
from sliceward.daemons.store import Unstorable
from sliceward.topology.errors import Conflict, Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from aiohttp.typedefs import Middleware

    from sliceward.daemons.coordinator.views import Sketch

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)

Kept = TypeVar("Kept")

INTERNAL = 500
MOST_ROWS = 500
MOST_DIGITS = 18
MOST_WHY = 1000
"""Characters of a reason that are told: it may repeat what was asked for."""
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
"""Who calls, as found by `guard`."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class Problem(Exception):
    """An answer that says no: HTTP status, stable name, why, and the next step; ``retry_after`` in seconds."""

    def __init__(self, status: int, code: str, why: str, what_to_do: str = "", *, retry_after: float | None = None) -> None:
        """Keep the parts for `answer_of`."""
        super().__init__(why)
        self.status, self.code, self.why, self.what_to_do, self.retry_after = status, code, why, what_to_do, retry_after


def answer_of(problem: Problem) -> web.Response:
    """Give the JSON answer."""
    body = {"error": {"code": problem.code, "why": problem.why[:MOST_WHY], "what_to_do": problem.what_to_do}}
    after = problem.retry_after
    headers = {} if after is None else {"Retry-After": str(max(1, round(after)))}
    return web.json_response(body, status=problem.status, headers=headers)


@web.middleware
async def told_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every way to fail into an answer of docs/api.md, and add the headers."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = _of_http(request, error)
    except ConnectionResetError:
        raise
    except Exception as error:
        problem = problem_of(error)
        if problem.status == INTERNAL:
            log.exception("request failed", path=request.path)
        response = answer_of(problem)
    if not response.prepared:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store" if request.path.startswith("/api/") else "no-cache")
    return response


def problem_of(error: Exception) -> Problem:
    """Give what is told of an exception."""
    match error:
        case Problem():
            found = error
        case Conflict():
            found = Problem(409, "Conflict", str(error), "Read it again, then decide again")
        case Retry():
            found = Problem(503, "NotNow", str(error), "Ask again in a moment", retry_after=error.after or 2)
        case Refused():
            found = Problem(409, "Refused", str(error), "See its state with `sliceward describe`")
        case Unstorable():
            found = Problem(400, "BadRequest", str(error), "Ask with names as the lists give them")
        case Misconfigured():
            found = Problem(400, "Misconfigured", f"{error.where}: {error.why}", error.what_to_do)
        case _:
            found = Problem(INTERNAL, "Unexpected", "this is a mistake of ours", "See the coordinator's log")
    return found


def _of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    hints = {
        404: ("NotFound", f"there is nothing at {request.path}", "See docs/api.md for the paths"),
        405: ("MethodNotAllowed", f"{request.method} is not possible at {request.path}", "See docs/api.md"),
        413: ("TooLarge", "the body is too large", "Send less at once"),
    }
    code, why, what_to_do = hints.get(error.status, (error.reason.replace(" ", ""), error.reason, ""))
    return answer_of(Problem(error.status, code, why, what_to_do))


def guard(tokens: Tokens) -> Middleware:
    """Give the middleware that lets in who may: reads need ``view``, changes ``operate``, webhooks ``alert``."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(("/api/", "/v1/")):
            return await handler(request)
        if not tokens.needed:
            _refuse_rebinding(request)
        caller = tokens.caller(request.headers.get("Authorization", ""))
        if caller is None:
            raise Problem(401, "Unauthorized", "no token, or one that nobody has", "Send 'Authorization: Bearer TOKEN'")
        need = "alert" if request.path.startswith("/v1/") else "view" if request.method in ("GET", "HEAD") else "operate"
        if not caller.may(need):
            raise Problem(403, "Forbidden", f"{caller.name} has role {caller.role}, this needs {need}", "Use another token")
        if need == "operate":
            _refuse_strange_origin(request)
        request[CALLER] = caller
        return await handler(request)

    return guarded


def _refuse_rebinding(request: web.Request) -> None:
    """Without tokens loopback is the wall; a page elsewhere whose name was pointed at 127.0.0.1 must not get over it."""
    host = _host_in(f"//{request.host}")
    if host not in LOOPBACK and not _is_loopback(host):
        raise Problem(403, "Forbidden", f"host {host!r} is not loopback, and no token is configured", "Configure api.tokens")
    if request.method not in ("GET", "HEAD"):
        _refuse_strange_origin(request)


def _host_in(url: str) -> str:
    """Give the host in a URL, "" where it is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    """Whether a host is a loopback address; a name that begins like one may point anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_strange_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Problem(403, "Forbidden", f"the request comes from a page of {origin}", "Use the page of this coordinator")


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list was asked for: filters, at most so many rows, after this cursor (already opened)."""

    filters: Mapping[str, str]
    limit: int
    after: str


def asked(request: web.Request) -> Asked:
    """Read the query of a list."""
    query = dict(request.query)
    limit, after = query.pop("limit", "100"), query.pop("after", "")
    if not is_number(limit) or not 1 <= int(limit) <= MOST_ROWS:
        raise Problem(400, "BadRequest", f"limit {limit[:40]!r} is not between 1 and {MOST_ROWS}", "Ask for the rest with after=")
    return Asked(query, int(limit), _opened(after) if after else "")


def is_number(text: str) -> bool:
    """Whether it is a number that we count to: ``int`` takes no more than 4,300 digits."""
    return text.isdecimal() and len(text) <= MOST_DIGITS


def number_of(cursor: str) -> int:
    """Give a cursor of a numbered list, 0 for none; a number that no store counts to is not one of ours."""
    if cursor and not is_number(cursor):
        raise Problem(400, "BadRequest", "the cursor is of another list", "Take it from 'next' of the page before")
    return int(cursor or 0)


def page_of(rows: Iterable[Mapping[str, Any]], wanted: Asked, *, key: str = "id") -> web.Response:
    """Give one page of rows that are all in memory, in the order of ``key``."""
    return listed(*page(((str(row[key]), partial(dict, row)) for row in rows), wanted, keep=dict))


def page(
    sketches: Iterable[Sketch], wanted: Asked, *, keep: Callable[[Mapping[str, Any]], Kept]
) -> tuple[list[Kept], str | None]:
    """Give one page in the order of ids, each row as ``keep`` keeps it, and the cursor of the next; no row after it is drawn."""
    ordered = sorted(sketches, key=itemgetter(0))
    if ordered:
        known = ordered[0][1]().keys()
        for name in wanted.filters.keys() - known:
            _no_such_filter(name, known)
    found: list[Kept] = []
    last = ""
    for name, draw in ordered:
        if name <= wanted.after:
            continue
        row = draw()
        if not all(_said(row.get(field)) == value for field, value in wanted.filters.items()):
            continue
        if len(found) == wanted.limit:
            return found, last
        found.append(keep(row))
        last = name
    return found, None


def listed(rows: Iterable[Mapping[str, Any]], following: str | None) -> web.Response:
    """Give a page with its cursor."""
    return told(listing(map(json.dumps, rows), following))


def listing(rows: Iterable[str], following: str | None) -> bytes:
    """Write a page down, its rows are written down already."""
    return f'{{"items": [{", ".join(rows)}], "next": {json.dumps(cursor_of(following))}}}'.encode()


def told(text: bytes) -> web.Response:
    """Give JSON that is written down already."""
    return web.Response(body=text, content_type="application/json", charset="utf-8")


def _no_such_filter(name: str, known: Iterable[str]) -> NoReturn:
    raise Problem(400, "BadRequest", f"rows have no {name!r}", f"Filter by one of: {', '.join(sorted(known))}")


def _said(value: object) -> str:
    return "true" if value is True else "false" if value is False else "" if value is None else str(value)


def cursor_of(last: str | None) -> str | None:
    """Close the cursor of a page, None where there is no next."""
    return None if last is None else base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def _opened(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Problem(
            400, "BadRequest", f"cursor {cursor[:40]!r} is not one of ours", "Take it from 'next' of the page before"
        ) from None
