"""Progress of the loops of a daemon: each loop beats, each has a deadline; late ones are shown, exported and paged.

A dead thread in a live process looked healthy for 90 minutes elsewhere; here liveness *is* loop progress.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(slots=True)
class Loop:
    """One loop. ``deadline`` in seconds between beats; ``set_aside``: rows or objects that it skips, name -> why.

    ``resting``: it was not begun yet (a replica that stands by), and is not late.
    """

    name: str
    deadline: float
    clock: Callable[[], float]
    last: float = 0.0
    beats: int = 0
    error: str = ""
    resting: bool = False
    set_aside: dict[str, str] = field(default_factory=dict)

    def beat(self) -> None:
        """Say that one whole round was done."""
        self.last, self.beats, self.error = self.clock(), self.beats + 1, ""

    def failed(self, error: str) -> None:
        """Say that a round failed as a whole: no beat, so that the deadline passes if it goes on."""
        self.error = error

    def begin(self) -> None:
        """Say that it runs from now on: its first deadline starts."""
        self.last, self.resting = self.clock(), False

    @property
    def age(self) -> float:
        """Seconds since the last whole round; 0 while it rests."""
        return 0.0 if self.resting else self.clock() - self.last

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.age > self.deadline


class Loops:
    """All loops of one daemon. ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with no loop."""
        self._clock = clock
        self._loops: dict[str, Loop] = {}

    def add(self, name: str, *, deadline: float) -> Loop:
        """Add a loop that starts its first deadline now."""
        loop = Loop(name, deadline, self._clock, last=self._clock())
        self._loops[name] = loop
        return loop

    def __iter__(self) -> Iterator[Loop]:
        """Go through the loops in the order in which they were added."""
        return iter(self._loops.values())

    @property
    def late(self) -> tuple[Loop, ...]:
        """Loops past their deadline."""
        return tuple(loop for loop in self._loops.values() if loop.late)
