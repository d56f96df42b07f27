"""A page on the console is one line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sliceward.remediations.page import Page, PageEvent
from sliceward.remediations.paging.catalog import make
from sliceward.remediations.paging.plan import PagerPlan, Surroundings
from sliceward.topology.health import Severity

PAGE = Page("d", "k", PageEvent.TRIGGER, Severity.ERROR, "a\nb", "c1", "h", "HostLost", datetime(2026, 9, 1, tzinfo=UTC))


async def test_a_page_is_written_as_one_line() -> None:
    lines: list[str] = []
    around = Surroundings(None, lambda: PAGE.at, lines.append)  # type: ignore[arg-type]  # the console needs no session
    pager = make(PagerPlan("console", "here"), around)
    await pager.send(PAGE)
    await pager.send(replace(PAGE, event=PageEvent.RESOLVE))
    assert lines == ["PAGE [error] a b", "RESOLVED [error] a b"]
    assert repr(pager) == "ConsolePager('here')"
