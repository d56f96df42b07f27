"""Long calls in tests: done at once, in the order of the loop, with no thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Any = TypeVar("_Any")


async def at_once(call: Callable[[], _Any]) -> _Any:
    """Call it here and now."""
    return call()
