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
    """One loop. ``deadline`` in seconds between rounds; ``set_aside``: rows or objects that it skips, name -> why.

    ``last``: when a round ended; ``whole``: when one ended with its work done. ``resting``: it was not begun yet (a replica that
    stands by), and is not late.
    """

    name: str
    deadline: float
    clock: Callable[[], float]
    last: float = 0.0
    whole: float = 0.0
    beats: int = 0
    error: str = ""
    resting: bool = False
    set_aside: dict[str, str] = field(default_factory=dict)

    def beat(self) -> None:
        """Say that one whole round was done."""
        self.last = self.whole = self.clock()
        self.beats, self.error = self.beats + 1, ""

    def failed(self, error: str) -> None:
        """Say that a round failed as a whole, and nobody knows why: no beat, so that the deadline passes if it goes on."""
        self.error = error

    def retried(self, why: str) -> None:
        """Say that a round came to its end and found something away: it goes on, without a result, and a restart would not help."""
        self.last, self.error = self.clock(), why

    def begin(self) -> None:
        """Say that it runs from now on: its first deadline starts."""
        self.last = self.whole = self.clock()
        self.resting = False

    @property
    def age(self) -> float:
        """Seconds since the last round ended; 0 while it rests."""
        return 0.0 if self.resting else self.clock() - self.last

    @property
    def late(self) -> bool:
        """Whether the deadline has passed: it hangs, or fails for a reason that nobody knows. A restart may help."""
        return self.age > self.deadline

    @property
    def stalled(self) -> bool:
        """Whether it had no result for longer than its deadline, though it may go round: what it needs is away."""
        return not self.resting and self.clock() - self.whole > self.deadline


WHOLE = ("cluster ", "findings of ")
"""What the name of a whole cluster begins with where it is set aside: nothing is decided there."""


class Loops:
    """All loops of one daemon. ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with no loop."""
        self._clock = clock
        self._loops: dict[str, Loop] = {}

    def add(self, name: str, *, deadline: float) -> Loop:
        """Add a loop that starts its first deadline now."""
        loop = Loop(name, deadline, self._clock, last=self._clock(), whole=self._clock())
        self._loops[name] = loop
        return loop

    def __iter__(self) -> Iterator[Loop]:
        """Go through the loops in the order in which they were added."""
        return iter(self._loops.values())

    @property
    def undecided(self) -> tuple[str, ...]:
        """Whole clusters that are set aside, by name."""
        return tuple(name for loop in self._loops.values() for name in loop.set_aside if name.startswith(WHOLE))

    @property
    def late(self) -> tuple[Loop, ...]:
        """Loops past their deadline."""
        return tuple(loop for loop in self._loops.values() if loop.late)
