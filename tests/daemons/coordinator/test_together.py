"""Calls that do not depend on each other: in order out, bounded, and none cut off by the failure of another."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.together import AT_ONCE, all_at_once
from sliceward.remediations.ports import one_after_another
from sliceward.topology.errors import Conflict, Retry

if TYPE_CHECKING:
    from sliceward.remediations.ports import Object, Together


@pytest.mark.parametrize("together", [all_at_once, one_after_another])
async def test_answers_come_in_the_order_of_the_calls_and_a_conflict_is_one(together: Together) -> None:
    async def call(number: int) -> Object | None:
        for _ in range(40 - number):
            await asyncio.sleep(0)
        if number == 7:
            raise Conflict("changed meanwhile")
        return None if number == 9 else {"number": number}

    answers = await together([partial(call, number) for number in range(40)])
    assert isinstance(answers[7], Conflict)
    assert answers[9] is None
    assert [answer for answer in answers if isinstance(answer, dict)] == [{"number": n} for n in range(40) if n not in (7, 9)]
    assert await together([]) == []


async def test_they_run_at_once_but_not_all_of_a_crowd() -> None:
    busy, most = 0, 0

    async def call() -> Object | None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        return None

    await all_at_once([call] * 100)
    assert most == AT_ONCE


async def test_a_failure_is_raised_once_the_others_have_ended() -> None:
    ended = list[int]()

    async def call(number: int) -> Object | None:
        if number == 1:
            raise Retry("no answer in time")
        for _ in range(5):
            await asyncio.sleep(0)
        ended.append(number)
        return None

    with pytest.raises(Retry, match="no answer in time"):
        await all_at_once([partial(call, number) for number in range(4)])
    assert sorted(ended) == [0, 2, 3]
