"""Calls of one action that do not depend on each other, all at once: a cube has 16 hosts, a large slice hundreds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sliceward.remediations.ports import answer_of
from sliceward.topology.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sliceward.remediations.ports import Object

AT_ONCE = 16


async def all_at_once(calls: Sequence[Callable[[], Awaitable[Object | None]]]) -> list[Object | Conflict | None]:
    """Do them at once, at most `AT_ONCE`; a failure of one leaves the others to their end: cut off, theirs would be unknown."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(call: Callable[[], Awaitable[Object | None]]) -> Object | Conflict | None:
        async with slots:
            return await answer_of(call)

    answers: list[Object | Conflict | None] = []
    for answer in await asyncio.gather(*(one(call) for call in calls), return_exceptions=True):
        if isinstance(answer, BaseException) and not isinstance(answer, Conflict):
            raise answer
        answers.append(answer)
    return answers
