"""What is set aside for a while, by name, because it raised what nobody expected; shown with the loop, and tried again later."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sliceward.daemons.loops import Loop

ASIDE_FOR = timedelta(seconds=60)
LONGEST_TEXT = 500


@dataclass(eq=False)
class Aside:
    """Incidents, or findings that are none yet, by name; each until then."""

    clock: Callable[[], datetime]
    loop: Loop
    _until: dict[str, datetime] = field(default_factory=dict)

    def put(self, name: str, error: Exception | str, *, wait: timedelta = ASIDE_FOR) -> None:
        """Set aside for ``wait``."""
        why = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self._until[name] = self.clock() + wait
        self.loop.set_aside[name] = why[:LONGEST_TEXT]

    def show(self, why: Mapping[str, str]) -> None:
        """Show what cannot be read at all, by name: nobody takes it up again."""
        self.loop.set_aside.update(why)

    def expire(self) -> None:
        """Take up again what was aside for long enough."""
        now = self.clock()
        for name in [name for name, until in self._until.items() if until <= now]:
            del self._until[name]
            self.loop.set_aside.pop(name, None)

    def __contains__(self, name: str) -> bool:
        """Whether it is aside now."""
        until = self._until.get(name)
        return until is not None and until > self.clock()

    def well(self, name: str) -> None:
        """Note that nothing is wrong with it any more."""
        self.loop.set_aside.pop(name, None)

    def forget(self, name: str) -> None:
        """Forget one that is over."""
        self._until.pop(name, None)
