"""Many things gone through in turns, so that an event loop does not stand still for as long as all of them take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

Thing = TypeVar("Thing")

MANY = 200
"""Things in one turn, of which each takes some hundredths of a millisecond."""


async def in_turns(things: Iterable[Thing], *, many: int = MANY) -> AsyncIterator[Thing]:
    """Give them one by one; after every ``many`` the others have their turn."""
    for number, thing in enumerate(things, 1):
        yield thing
        if number % many == 0:
            await asyncio.sleep(0)
