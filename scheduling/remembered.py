"""What was found out of one ground and is dear to find out again: kept with the ground, and gone with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.scheduling.ground import Ground

_Found = TypeVar("_Found")


def remembered(ground: Ground, what: tuple[object, ...], find: Callable[[], _Found]) -> _Found:
    """Give what was found of this very ground before, or find it now; ``what`` names it with all that it depends on beside the ground."""
    memo = ground.memo
    if what not in memo:
        memo[what] = find()
    return cast("_Found", memo[what])
