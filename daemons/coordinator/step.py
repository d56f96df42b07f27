"""One call of one action, with a time-out round it: what came of it as an `Outcome`, whatever happened.

A time-out and a broken connection are `Wait`: unknown is not failure. Only a plain no is `Failed`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.remediations.outcome import Failed, Wait
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.remediations.action import Action, Target
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports

AGAIN = timedelta(seconds=2)
SOON = timedelta(seconds=1)
LONGEST = timedelta(minutes=5)


def _nobody_is_told() -> None:
    pass


async def call(
    action: Action, target: Target, ports: Ports, *, within: timedelta, late: Callable[[], None] = _nobody_is_told
) -> Outcome:
    """Call the action once. Lets through only cancellation and what nobody expected. ``late``: told where it took too long."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            return await action(target, ports)
    except TimeoutError:
        late()
        return Wait(AGAIN, f"{action.name} did not answer in {within.total_seconds():g} s; what it did is unknown")
    except Retry as error:
        asked = AGAIN if error.after is None else timedelta(seconds=max(0.0, error.after))
        return Wait(min(asked, LONGEST), str(error))
    except (Refused, Misconfigured) as error:
        return Failed(str(error))
