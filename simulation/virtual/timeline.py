"""Everybody in virtual time: who has something to do now does it, one callback at a time; else time goes to what is due next.

A coordinator lives on a `sliceward.simulation.virtual.loop.VirtualLoop` of its own, which may be dropped or frozen while the world,
which lives on the `sliceward.simulation.virtual.agenda.Agenda`, goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.simulation.virtual.agenda import NEVER
from sliceward.simulation.virtual.loop import MOST

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from sliceward.simulation.virtual.agenda import Agenda, Clock
    from sliceward.simulation.virtual.loop import VirtualLoop


class Stuck(Exception):
    """Nobody has anything to do, or somebody never waits."""


@dataclass(slots=True)
class Timeline:
    """The world's agenda and the loops of the coordinators; ``steps`` were taken so far.

    ``each``: asked before each step of a loop, None while nobody wants to be; it may take loops away. ``over``: set by whoever
    wants time to stand still.
    """

    clock: Clock
    agenda: Agenda
    dice: random.Random
    loops: list[VirtualLoop] = field(default_factory=list)
    each: Callable[[VirtualLoop], bool] | None = None
    over: bool = False
    steps: int = 0

    def run(self) -> None:
        """Let everybody do what there is to do, callback by callback, and time pass in between, until it is ``over``.

        Raises:
            Stuck: nothing will ever happen, or nobody lets time pass.
        """
        clock, agenda = self.clock, self.agenda
        while not self.over:
            self._act()
            loops, due = self.loops, agenda.due
            soonest = min([loop.due for loop in loops], default=NEVER)
            if soonest == due == NEVER:
                raise Stuck(f"nothing is due after {clock.seconds:.3f} s")
            clock.seconds = max(clock.seconds, min(soonest, due))
            if due <= soonest:
                agenda.act()

    def _act(self) -> None:
        """Let all loops do what is ready at this instant."""
        until = self.steps + MOST
        while busy := [loop for loop in self.loops if loop.busy]:
            # One alone goes on until nothing is ready; several take turns.
            alone = len(self.loops) == 1
            loop = busy[0] if alone else self.dice.choice(busy)
            self.steps += loop.run(self.each, one=not alone)
            if self.steps >= until:
                raise Stuck(f"{MOST} steps at {self.clock.seconds:.3f} s, and no end")
