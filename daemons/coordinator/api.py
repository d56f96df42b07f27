"""The HTTP API of docs/api.md over a running coordinator, with the page, health, metrics and webhooks beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sliceward.daemons import serving
from sliceward.daemons.coordinator import planning, stories, views
from sliceward.daemons.coordinator.alerts import Unmapped
from sliceward.daemons.coordinator.bodies import reason_of
from sliceward.daemons.coordinator.door import door
from sliceward.daemons.coordinator.events import Events
from sliceward.daemons.coordinator.pictures import Pictures
from sliceward.daemons.coordinator.placing import PlacingApi
from sliceward.daemons.coordinator.silence_api import SilenceApi
from sliceward.daemons.coordinator.unplaced import Unplaced
from sliceward.daemons.coordinator.web import (
    CALLER,
    MOST_ROWS,
    Problem,
    asked,
    guard,
    listing,
    number_of,
    page_of,
    told,
    told_as_json,
)
from sliceward.daemons.coordinator.webhook import MOST_BYTES, Webhook, counting
from sliceward.daemons.turns import in_turns
from sliceward.playbooks.record import BadRecord, incident_row
from sliceward.topology.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.typedefs import Middleware

    from sliceward.daemons.coordinator.coordinator import Coordinator
    from sliceward.daemons.coordinator.tokens import Tokens
    from sliceward.daemons.coordinator.views import Row
    from sliceward.daemons.store import Rows
    from sliceward.playbooks.incident import Incident

_SERVED = frozenset({".html", ".js", ".mjs", ".css", ".svg", ".png", ".ico", ".woff2"})
PAGE = Path(__file__).parent.parent / "web"


class Api:
    """Handlers over one coordinator."""

    def __init__(self, coordinator: Coordinator, tokens: Tokens, unplaced: Unplaced | None = None) -> None:
        """Keep them."""
        self._of, self._tokens = coordinator, tokens
        self._pictures = Pictures(coordinator, unplaced or Unplaced(coordinator.parts.sides, coordinator.deciding.looks.scene))

    def application(self, *outer: Middleware) -> web.Application:
        """Give the application with all routes; ``outer`` middlewares see a request before it is known who calls."""
        of = self._of
        inner, connections = [told_as_json, *outer, guard(self._tokens)], door(of.answers)
        app = web.Application(middlewares=[counting(of.webhooks), *inner], client_max_size=MOST_BYTES, handler_args=connections)
        hook = Webhook(of.desk, of.clock)
        for slash in ("", "/"):
            app.router.add_post("/v1/webhooks/alertmanager/{name}" + slash, hook.post)
        app.add_routes(serving.routes(of.health))
        api = "/api/v1"
        app.add_routes([web.get(f"{api}/{kind}", self._list_of(kind)) for kind in views.SKETCHES])
        app.add_routes(
            [
                web.get(f"{api}/fleet", self.fleet),
                web.get(f"{api}/status", self.status),
                web.get(f"{api}/events", Events(of.store, of.bell, of.monotonic).stream),
                web.get(f"{api}/incidents", self.incidents),
                web.get(f"{api}/incidents/{{id}}", self.incident),
                web.get(f"{api}/incidents/{{id}}/plan", self.plan),
                web.post(f"{api}/incidents/{{id}}/approve", self.approve),
                web.post(f"{api}/incidents/{{id}}/abort", self.abort),
                web.post(f"{api}/pause", self.pause),
                web.post(f"{api}/resume", self.resume),
                web.get(f"{api}/quota", self.quota),
                web.get(f"{api}/alerts", self.alerts),
                web.get(f"{api}/pages", self.pages),
                web.get(f"{api}/playbooks", self.playbooks),
                web.get(f"{api}/loops", self.loops),
                web.get(f"{api}/audit", self.audit),
            ]
        )
        app.add_routes([*SilenceApi(of).routes(), *PlacingApi(of).routes()])
        app.add_routes(_page_routes())
        return app

    # ── reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fleet(self, _request: web.Request) -> web.Response:
        """Give the ``Fleet``."""
        return told(await self._pictures.fleet())

    async def status(self, _request: web.Request) -> web.Response:
        """Give the status."""
        return web.json_response(self._of.status())

    def _list_of(self, kind: str) -> Callable[[web.Request], Any]:
        async def rows_of(request: web.Request) -> web.Response:
            return told(await self._pictures.page(kind, asked(request)))

        return rows_of

    async def quota(self, request: web.Request) -> web.Response:
        """Give chips held and allowed."""
        rows = [row for sight in self._of.sights() for row in views.quota_rows(sight)]
        return page_of(({**row, "id": f"{row['cluster']}/{row['tenant']}/{row['generation']}"} for row in rows), asked(request))

    async def incidents(self, request: web.Request) -> web.Response:
        """Give incidents, newest first."""
        wanted = asked(request)
        rows = await self._history(self._of.store.history.incidents, wanted.filters, wanted.after, wanted.limit)
        return await _listed(rows, dict)

    async def incident(self, request: web.Request) -> web.Response:
        """Give one incident with its whole story."""
        return web.json_response(await self._story(request.match_info["id"]))

    async def plan(self, request: web.Request) -> web.Response:
        """Give what would still be done about an open incident."""
        name, deciding = request.match_info["id"], self._of.deciding
        case = deciding.docket.cases.get(name)
        if case is None:
            await self._story(name)
            raise Problem(409, "Refused", f"{name} is not open", "`sliceward explain` tells what was done")
        world, rules = deciding.looks.world(deciding.looks.sides[case.incident.cluster]), deciding.looks.rules
        given = planning.planned(case, rules.actions, book=rules.book, world=world, now=self._of.clock())
        return web.json_response(given)

    async def pages(self, request: web.Request) -> web.Response:
        """Give the outbox."""
        return await self._numbered(request, self._of.store.history.pages, stories.page_row)

    async def alerts(self, request: web.Request) -> web.Response:
        """Give the alerts that came in, with what each means."""
        return await self._numbered(request, self._of.store.history.alerts, self._alert_row)

    async def audit(self, request: web.Request) -> web.Response:
        """Give who asked for what."""
        return await self._numbered(request, self._of.store.history.audit, dict)

    async def playbooks(self, request: web.Request) -> web.Response:
        """Give the playbooks in the order in which they are looked at."""
        return page_of(self._of.playbook_rows(), asked(request), key="name")

    async def loops(self, request: web.Request) -> web.Response:
        """Give the loops with their progress."""
        return page_of(self._of.loop_rows(), asked(request), key="name")

    # ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def approve(self, request: web.Request) -> web.Response:
        """Say yes for an incident that waits for it."""
        return await self._said(request, "approve", self._of.deciding.approve)

    async def abort(self, request: web.Request) -> web.Response:
        """Stop the run of an incident."""
        return await self._said(request, "abort", self._of.deciding.abort)

    async def pause(self, request: web.Request) -> web.Response:
        """Stop harm, never healing."""
        reason = await reason_of(request)
        await self._of.audit("pause", "all", reason, by=request[CALLER].name)
        await self._of.pause(reason, by=request[CALLER].name)
        return web.json_response(self._of.status())

    async def resume(self, request: web.Request) -> web.Response:
        """Let harm be done again."""
        reason = await reason_of(request)
        await self._of.audit("resume", "all", reason, by=request[CALLER].name)
        await self._of.resume(reason, by=request[CALLER].name)
        return web.json_response(self._of.status())

    async def _said(self, request: web.Request, what: str, say: Callable[..., Any]) -> web.Response:
        incident, reason = request.match_info["id"], await reason_of(request)
        await self._of.audit(what, incident, reason, by=request[CALLER].name)
        try:
            changed: Incident = await say(incident, by=request[CALLER].name, reason=reason)
        except KeyError:
            await self._story(incident)
            raise Problem(409, "Refused", f"{incident} is not open", "Nothing needs to be done") from None
        return web.json_response(incident_row(changed))

    # ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _story(self, name: str) -> Row:
        history = self._of.store.history
        try:
            case = await self._of.store.load(name)
        except BadRecord as error:
            raise Problem(500, "SetAside", str(error), "The row cannot be read; the rest goes on") from None
        if case is None:
            raise Problem(404, "NotFound", f"there is no incident {name!r}", "`sliceward get incidents` lists them")
        about = {"incident": name}
        timeline = (await history.entries(about, limit=MOST_ROWS)).items
        decisions = (await history.decisions(name, limit=MOST_ROWS)).items
        pages = (await history.pages(about, limit=MOST_ROWS)).items
        return incident_row(case.incident) | {
            "timeline": [stories.entry_row(row) for row in timeline],
            "decisions": [stories.decision_row(row) for row in decisions],
            "steps": stories.step_rows(case.run),
            "pages": [stories.page_row(row) for row in pages],
        }

    def _alert_row(self, row: Mapping[str, Any]) -> Row:
        meaning, body = self._of.desk.meaning(row), row["body"]
        shown = {name: value for name, value in row.items() if name not in ("body", "why", "processed")}
        return shown | {
            "alertname": body.get("labels", {}).get("alertname", ""),
            "labels": body.get("labels", {}),
            "annotations": body.get("annotations", {}),
            "finding": None if isinstance(meaning, Unmapped) else meaning.id,
            "why": meaning.why if isinstance(meaning, Unmapped) else row["why"],
        }

    async def _numbered(
        self, request: web.Request, read: Callable[..., Any], shown: Callable[[Mapping[str, Any]], Row]
    ) -> web.Response:
        wanted = asked(request)
        rows = await self._history(read, wanted.filters, number_of(wanted.after), wanted.limit)
        return await _listed(rows, shown)

    async def _history(self, read: Callable[..., Awaitable[Rows]], filters: Mapping[str, str], after: object, limit: int) -> Rows:
        try:
            return await read(filters, after=after, limit=limit)
        except Refused as error:
            raise Problem(400, "BadRequest", str(error), "See docs/api.md") from None


async def _listed(rows: Rows, shown: Callable[[Mapping[str, Any]], Row]) -> web.Response:
    """Give a page, row by row: 500 at once would stop the event loop for as long as it takes to write them down."""
    return told(listing([json.dumps(shown(row)) async for row in in_turns(rows.items)], rows.next))


def _page_routes() -> list[web.RouteDef]:
    """Give one route a file of the page, so that no other path ever reaches the disk."""
    files = {f"/{file.relative_to(PAGE).as_posix()}": file for file in sorted(PAGE.rglob("*")) if file.suffix in _SERVED}
    if "/index.html" in files:
        files["/"] = files["/index.html"]
    return [web.get(path, _file(file)) for path, file in files.items()]


def _file(file: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def given(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file)

    return given
