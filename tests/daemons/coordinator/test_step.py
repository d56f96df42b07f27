"""One call of an action: whatever happens becomes an outcome, and a time-out is unknown."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from sliceward.daemons.coordinator.step import AGAIN, LONGEST, call
from sliceward.remediations.outcome import Done, Failed, Outcome, Wait
from sliceward.topology.errors import Conflict, Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.remediations.action import Action, Target
    from sliceward.remediations.ports import Ports


class _Does:
    name = "test"

    def __init__(self, error: Exception | None = None, seconds: float = 0) -> None:
        self.error, self.seconds = error, seconds

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        del target, ports
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error
        return Done("ok")


def _never() -> None:
    raise AssertionError("it was in time")


async def _called(action: _Does, late: Callable[[], None] = _never) -> Outcome:
    nothing = cast("Any", None)
    return await call(cast("Action", action), nothing, nothing, within=timedelta(seconds=30), late=late)


CASES = {
    "done": (_Does(), Done("ok")),
    "retry": (_Does(Retry("later")), Wait(AGAIN, "later")),
    "retry after": (_Does(Retry("later", after=9)), Wait(timedelta(seconds=9), "later")),
    "retry after very long": (_Does(Retry("later", after=1e6)), Wait(LONGEST, "later")),
    "conflict": (_Does(Conflict("stale")), Wait(AGAIN, "stale")),
    "refused": (_Does(Refused("forbidden")), Failed("forbidden")),
    "misconfigured": (_Does(Misconfigured("x", "y")), Failed("x: y")),
}


@pytest.mark.parametrize("name", CASES)
async def test_outcomes(name: str) -> None:
    action, wanted = CASES[name]
    assert await _called(action) == wanted


@pytest.mark.looptime
async def test_a_call_that_takes_too_long_is_unknown() -> None:
    told = list[int]()
    got = await _called(_Does(seconds=31), late=lambda: told.append(1))
    assert isinstance(got, Wait)
    assert "unknown" in got.why
    assert asyncio.get_running_loop().time() == 30
    assert told == [1]


async def test_what_nobody_expected_is_let_through() -> None:
    with pytest.raises(ZeroDivisionError):
        await _called(_Does(ZeroDivisionError()))
