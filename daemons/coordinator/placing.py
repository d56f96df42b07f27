"""The part of the HTTP API about room (docs/api.md): how a gang stands, how much there is and for whom, what if.

Computed beside the event loop and one at a time, like the pictures of the fleet; what is asked of is the fleet as it was read last.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from sliceward.daemons.coordinator.web import Problem, asked, page_of
from sliceward.scheduling.questions import (
    ask_what_if,
    explain_gang,
    fragmentation_rows,
    guarantee_rows,
    problem_rows,
    spares_rows,
    tidying_rows,
)
from sliceward.scheduling.words import WhatIf

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sliceward.daemons.coordinator.coordinator import Coordinator
    from sliceward.scheduling.scene import Scene

MOST_WORDS = 100
"""So many things may be asked about at once."""


class PlacingApi:
    """Handlers over one coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Keep it."""
        self._of = coordinator
        self._one = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        api = "/api/v1"
        return [
            web.get(f"{api}/defragmentation", self.defragmentation),
            web.get(f"{api}/fragmentation", self.fragmentation),
            web.get(f"{api}/guarantees", self.guarantees),
            web.get(f"{api}/placement", self.placement),
            web.get(f"{api}/problems", self.problems),
            web.get(f"{api}/spares", self.spares),
            web.get(f"{api}/what-if", self.what_if),
        ]

    async def defragmentation(self, request: web.Request) -> web.Response:
        """Give the moves that would be worth their price; nothing is moved."""
        rows = await self._answer(tidying_rows)
        return page_of(({**row, "id": f"{row['cluster']}/{row['group']}"} for row in rows), asked(request))

    async def fragmentation(self, request: web.Request) -> web.Response:
        """Give the figures of each generation in each cluster."""
        rows = await self._answer(fragmentation_rows)
        return page_of(({**row, "id": f"{row['cluster']}/{row['generation']}"} for row in rows), asked(request))

    async def guarantees(self, request: web.Request) -> web.Response:
        """Give how each guarantee in cells stands."""
        rows = await self._answer(guarantee_rows)
        named = ({**row, "id": f"{row['tenant']}/{row['generation']}/{row['shape']}"} for row in rows)
        return page_of(named, asked(request))

    async def problems(self, request: web.Request) -> web.Response:
        """Give what contradicts itself, or cannot be used by placement."""
        rows = await self._answer(problem_rows)
        return page_of(({**row, "id": f"{row['name']}/{row['about']}"} for row in rows), asked(request))

    async def spares(self, request: web.Request) -> web.Response:
        """Give the spares of each block."""
        rows = await self._answer(spares_rows)
        return page_of(({**row, "id": row["block"]} for row in rows), asked(request))

    async def placement(self, request: web.Request) -> web.Response:
        """Say how a gang stands."""
        name = request.query.get("gang", "")
        if not name:
            raise Problem(400, "BadRequest", "no gang is named", "Ask for ?gang=NAMESPACE/NAME")
        return web.json_response(await self._answer(partial(explain_gang, name=name)))

    async def what_if(self, request: web.Request) -> web.Response:
        """Say what would follow."""
        known = {name: request.query.getall(name, []) for name in WhatIf.__dataclass_fields__}
        strange = sorted(set(request.query) - set(known))
        if strange or len(request.query) > MOST_WORDS:
            why = f"{strange[0]!r} is no part of the question" if strange else f"more than {MOST_WORDS} things at once"
            raise Problem(400, "BadRequest", why, f"Ask for {', '.join(known)}")
        return web.json_response(await self._answer(partial(ask_what_if, asked=WhatIf(**known))))

    async def _answer(self, question: Callable[[Scene], Any]) -> Any:  # noqa: ANN401 (JSON)
        async with self._one:
            return await asyncio.to_thread(question, self._scene())

    def _scene(self) -> Scene:
        scene = self._of.deciding.looks.scene()
        if scene is None:
            raise Problem(503, "NotNow", "no cluster has been read yet", "Ask again in a moment", retry_after=2)
        return scene
