"""Whoever goes through many things leaves the others their turns."""

from __future__ import annotations

import asyncio

from sliceward.daemons.turns import MANY, in_turns


async def test_all_are_given_in_their_order_and_others_have_a_turn_after_every_so_many() -> None:
    given, seen = list[int](), list[int]()

    async def other() -> None:
        while True:
            seen.append(len(given))
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    async for number in in_turns(range(2 * MANY + 1)):
        given.append(number)
    beside.cancel()
    assert given == list(range(2 * MANY + 1))
    assert seen == [MANY, 2 * MANY]
