"""The part of the HTTP API about silences and maintenance windows (docs/api.md)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self

from aiohttp import web
from pydantic import AwareDatetime, BeforeValidator, Field, ValidationError, model_validator

from sliceward.daemons.coordinator.bodies import json_of, reason_in, reason_of
from sliceward.daemons.coordinator.views import silence_row
from sliceward.daemons.coordinator.web import CALLER, Problem, asked, listed, number_of, page_of
from sliceward.daemons.coordinator.windows import MatchSettings  # noqa: TC001 (pydantic resolves it at run time)
from sliceward.daemons.setting_types import parse_duration
from sliceward.daemons.settings import Section
from sliceward.playbooks.silences import KINDS, WINDOW, names_of
from sliceward.topology.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.daemons.coordinator.coordinator import Coordinator
    from sliceward.playbooks.silences import Matches


def _lasts(value: object) -> object:
    try:
        return parse_duration(value)
    except OverflowError:
        raise ValueError(f"{value!r} is longer than any calendar") from None


class AskedSilence(Section):
    """The body of a request for a silence. ``lasts`` is ``for``: a time with its unit, instead of ``until``."""

    reason: str
    matches: MatchSettings
    from_: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime | None = None
    lasts: Annotated[timedelta, BeforeValidator(_lasts)] | None = Field(default=None, alias="for")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.until is None) == (self.lasts is None):
            raise ValueError("needs either until or for")
        return self


class SilenceApi:
    """Handlers over one coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Keep it."""
        self._of = coordinator

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        api = "/api/v1"
        return [
            web.get(f"{api}/silences", self.silences),
            web.post(f"{api}/silences", self.add),
            web.post(f"{api}/silences/{{id}}/end", self.end),
            web.get(f"{api}/windows", self.windows),
        ]

    async def silences(self, request: web.Request) -> web.Response:
        """Give silences in the order in which they were made."""
        wanted, now = asked(request), self._of.clock()
        after = number_of(wanted.after)
        try:
            found, following = await self._of.store.silences.page(wanted.filters, now=now, after=after, limit=wanted.limit)
        except Refused as error:
            raise Problem(400, "BadRequest", str(error), "See docs/api.md") from None
        return listed((silence_row(one, now) for one in found), following)

    async def windows(self, request: web.Request) -> web.Response:
        """Give the maintenance windows, each with its present or next occurrence."""
        now = self._of.clock()
        return page_of((silence_row(one, now) for one in self._of.silencing.occurrences(now)), asked(request))

    async def add(self, request: web.Request) -> web.Response:
        """Begin a silence; tells how much of what is known it matches, so that a mistyped name is seen."""
        body, now = await json_of(request), self._of.clock()
        reason, wanted = reason_in(body), _read(body)
        matches, begins = wanted.matches.value, wanted.from_ or now
        await self._of.audit("silence", str(matches), reason, by=request[CALLER].name)
        try:
            ends = wanted.until or begins + (wanted.lasts or timedelta(0))
        except OverflowError:
            raise Refused("it would end after the end of all calendars") from None
        made = await self._of.silencing.add(matches, begins, ends, by=request[CALLER].name, why=reason)
        return web.json_response(silence_row(made, now) | {"covers": self._covers(matches)})

    async def end(self, request: web.Request) -> web.Response:
        """End a silence before its time."""
        name, reason = request.match_info["id"], await reason_of(request)
        await self._of.audit("end-silence", name, reason, by=request[CALLER].name)
        if name.startswith(WINDOW):
            raise Problem(409, "Refused", f"{name} stands in the configuration", "Take it out there, and restart")
        try:
            ended = await self._of.silencing.end(name, by=request[CALLER].name, why=reason)
        except KeyError:
            raise Problem(404, "NotFound", f"there is no silence {name!r}", "`sliceward silence list` lists them") from None
        return web.json_response(silence_row(ended, self._of.clock()))

    def _covers(self, matches: Matches) -> Mapping[str, int]:
        """Count what is known now and fits, for each kind that is given."""
        return {kind: sum(matches.fits(kind, names) for names in self._known(kind)) for kind in KINDS if kind in matches.by_kind}

    def _known(self, kind: str) -> Iterable[tuple[str, ...]]:
        fleets = [side.fleet for side in self._of.parts.sides if side.fleet is not None]
        match kind:
            case "hosts":
                return (names_of(part) for fleet in fleets for part in fleet.hosts)
            case "cubes":
                return (names_of(part) for fleet in fleets for part in fleet.cubes)
            case "gangs":
                return (names_of(part) for fleet in fleets for part in fleet.gangs)
            case _:
                return ((playbook.name,) for playbook in self._of.parts.book.playbooks)


def _read(body: bytes) -> AskedSilence:
    try:
        return AskedSilence.model_validate_json(body)
    except ValidationError as error:
        problem: Any = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        why = str(problem["msg"]).removeprefix("Value error, ")
        raise Problem(400, "BadRequest", f"{where}: {why}" if where else why, "See docs/api.md") from None
