"""Console: a page as one line, for the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations.page import PageEvent

if TYPE_CHECKING:
    from sliceward.remediations.page import Page
    from sliceward.remediations.paging.plan import PagerPlan, Surroundings


class ConsolePager:
    """Writes through the function that it was given."""

    def __init__(self, plan: PagerPlan, around: Surroundings) -> None:
        """Need nothing but a name."""
        self.name = plan.name
        self._write = around.write

    def __repr__(self) -> str:
        """Show the name alone."""
        return f"ConsolePager({self.name!r})"

    async def send(self, page: Page) -> None:
        """Write one line."""
        word = "PAGE" if page.event is PageEvent.TRIGGER else "RESOLVED"
        self._write(f"{word} [{page.severity.value}] {' '.join(page.summary.split())}")
