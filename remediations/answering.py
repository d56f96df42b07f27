"""Every action answers with an `Outcome`, whatever its ports raise: unknown is `Wait`, a final no is `Failed`."""

from __future__ import annotations

from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sliceward.remediations.outcome import Failed, Outcome, Wait
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Ports

SOON = timedelta(seconds=1)
"""Until the next look at something that controllers finish in about a second."""
LATER = timedelta(seconds=5)
"""Until the next look at something that takes hosts or people a while."""

_Act = TypeVar("_Act", bound="Callable[..., Coroutine[Any, Any, Outcome]]")


def answering(act: _Act) -> _Act:
    """Turn the errors of ports into outcomes. The next call reads the present again, so no effect is assumed or lost."""

    @wraps(act)
    async def answer(self: object, target: Target, ports: Ports) -> Outcome:
        try:
            return await act(self, target, ports)
        except Retry as error:
            return Wait(timedelta(seconds=error.after) if error.after is not None else SOON, str(error))
        except (Refused, Misconfigured) as error:
            return Failed(str(error))

    return cast("_Act", answer)
