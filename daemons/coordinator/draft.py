"""What one look at a cluster makes of its incidents, before it is saved: all of it is saved together, or none of it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.daemons.coordinator import apart
from sliceward.daemons.coordinator.calls import Begun
from sliceward.daemons.store import Case

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.playbooks.turn import Turn


@dataclass(eq=False)
class Draft:
    """``cases``: the open incidents of all clusters as they will be. ``turns``: by the name under which one is set aside."""

    known: Mapping[str, Case]
    cases: dict[str, Case] = field(init=False)
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    calls: dict[str, Begun] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with what is."""
        self.cases = dict(self.known)

    def copy(self) -> Draft:
        """Give one that goes on by itself from here."""
        other = Draft(self.known)
        other.cases, other.calls = dict(self.cases), dict(self.calls)
        other.turns = {name: [*turns] for name, turns in self.turns.items()}
        return other

    def add(self, turn: Turn) -> None:
        """Add the next turn of an incident."""
        incident = turn.incident
        self.turns.setdefault(apart.named(turn, self.known), []).append(turn)
        case = self.cases.get(incident.id)
        run = turn.run or (case.run if case else None)
        if incident.open:
            self.cases[incident.id] = Case(incident, run)
        else:
            self.cases.pop(incident.id, None)
        if turn.call is not None and run is not None:
            self.calls[incident.id] = Begun(incident.id, run, turn.call)
