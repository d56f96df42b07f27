"""A pager that keeps its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sliceward.remediations.page import Page


class FakePager:
    """``pages``: every delivery; ``delivered``: by delivery id, as a receiver that drops repeats would hold them."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.pages: list[Page] = []
        self.delivered: dict[str, Page] = {}
        self.failing: list[Exception] = []

    async def send(self, page: Page) -> None:
        if self.failing:
            raise self.failing.pop(0)
        self.pages.append(page)
        self.delivered.setdefault(page.delivery_id, page)
