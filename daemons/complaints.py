"""What was refused, told once a speaker: the first is logged with where, why and what to do, and all are counted elsewhere.

Who speaks nonsense does so each period; a log that repeats it hides what matters, and fills the disk of a hostile one's choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import structlog.typing

MOST_SPEAKERS = 10_000
LONGEST = 300
MORE = "counted, not logged again for this one"


@dataclass(frozen=True, slots=True)
class Complaints:
    """The speakers that were complained about; beyond the most of them nothing is logged any more."""

    log: structlog.typing.FilteringBoundLogger
    most: int = MOST_SPEAKERS
    _known: set[str] = field(default_factory=set)

    def tell(self, event: str, *, where: str, why: str, what_to_do: str) -> None:
        """Log ``event`` as a warning, if it is the first about ``where``. What the sender wrote is cut."""
        shown = where[:LONGEST]
        key = f"{event} {shown}"
        if key in self._known or len(self._known) >= self.most:
            return
        self._known.add(key)
        self.log.warning(event, where=shown, why=why[:LONGEST], what_to_do=what_to_do, more=MORE)
