"""What keeps calls from being made: a pause, a stop of one incident, the end of this process, a lead that is over.

Whoever asks for a pause or an abort waits for the look that is under way, to have it saved; it is heard from the moment on at which
it is asked for, so that none of the calls of that look begins against it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

log = structlog.get_logger(__name__)


async def nobody_is_asked() -> None:
    """Ask nobody: whether it leads is known by itself."""


@dataclass(eq=False)
class Stops:
    """``leads``: whether this replica may act at this moment. ``paused``: why harm is stopped, as saved, "" while it is not.

    ``asks``: asked right before each write, where ``leads`` alone does not say so: raises `Refused` where another leads, `Retry` where
    nobody knows.
    ``fenced``: why another coordinator leads now, "" while this one does. ``ends``: called then, for whoever waits meanwhile.
    """

    leads: Callable[[], bool] = lambda: True
    asks: Callable[[], Awaitable[None]] = nobody_is_asked
    ends: Callable[[], None] = lambda: None
    paused: str = ""
    stopping: bool = False
    fenced: str = ""
    _pauses: list[str] = field(default_factory=list)
    _aborts: list[str] = field(default_factory=list)

    @property
    def calling(self) -> bool:
        """Whether calls may begin at all."""
        return not self.stopping and self.leads()

    @property
    def why_paused(self) -> str:
        """Why harm is stopped now, saved or just asked for; "" while it is not."""
        return self.paused or next(iter(self._pauses), "")

    def is_aborted(self, incident: str) -> bool:
        """Whether somebody has just asked to stop this incident, and it may not be saved yet."""
        return incident in self._aborts

    def fence(self, why: str) -> None:
        """Note that another leads: nothing more may be decided or called here."""
        if not self.fenced:
            log.warning("lead lost", why=why)
        self.fenced, self.stopping = self.fenced or why, True
        self.ends()

    @contextmanager
    def pausing(self, why: str) -> Iterator[None]:
        """Let a pause hold while it waits to be saved."""
        self._pauses.append(why)
        try:
            yield
        finally:
            self._pauses.remove(why)

    @contextmanager
    def aborting(self, incident: str) -> Iterator[None]:
        """Let the stop of an incident hold while it waits to be saved."""
        self._aborts.append(incident)
        try:
            yield
        finally:
            self._aborts.remove(incident)
