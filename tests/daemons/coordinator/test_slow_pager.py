"""A pager that hangs delays its own pages alone, and never the loop."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.daemons.coordinator.outbox import Outbox
from sliceward.daemons.loops import Loop
from sliceward.daemons.store import open_store
from sliceward.remediations.page import Page, PageEvent
from sliceward.topology.errors import Retry
from sliceward.topology.health import Severity
from tests.builders import NOW
from tests.fakes.pager import FakePager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime
    from pathlib import Path

    import pytest

    from sliceward.daemons.store import Delivery, Store
    from sliceward.remediations.ports import Pager

SHORT = timedelta(milliseconds=50)
LONG = timedelta(hours=1)


class HangingPager:
    """Takes calls and answers none until ``answering`` is set."""

    name = "hanging"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.called, self.answering = asyncio.Event(), asyncio.Event()

    async def send(self, page: Page) -> None:
        self.asked.append(page.delivery_id)
        self.called.set()
        await self.answering.wait()


class NotingPager(FakePager):
    """Says when it got something."""

    def __init__(self) -> None:
        super().__init__("well")
        self.got = asyncio.Event()

    async def send(self, page: Page) -> None:
        await super().send(page)
        self.got.set()


async def tell(store: Store, number: int, *pagers: str) -> None:
    page = Page(f"d-{number}", f"i-{number}", PageEvent.TRIGGER, Severity.ERROR, "broken", "s", "p", "HostLost", NOW, {}, {})
    await store.tell(page, about=f"i-{number}", pagers=pagers, now=NOW)


@asynccontextmanager
async def an_outbox(folder: Path, *pagers: Pager, within: timedelta) -> AsyncIterator[Outbox]:
    async with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        await store.lead("one", now=NOW)
        loop, dice = Loop("outbox", 60, clock=lambda: 0.0), random.Random(1)  # noqa: S311 (jitter)
        outbox = Outbox(store, {pager.name: pager for pager in pagers}, lambda: NOW, loop, dice, within)
        outbox.look_again = timedelta(milliseconds=1)
        yield outbox


async def test_a_page_for_another_pager_is_sent_while_one_hangs(tmp_path: Path) -> None:
    hanging, well = HangingPager(), NotingPager()
    async with an_outbox(tmp_path, hanging, well, within=LONG) as outbox, asyncio.timeout(20):
        await tell(outbox.store, 1, "hanging")
        round_ = asyncio.create_task(outbox.round())
        await hanging.called.wait()
        await tell(outbox.store, 2, "hanging", "well")
        await well.got.wait()
        assert not round_.done()
        assert hanging.asked == ["d-1"]
        hanging.answering.set()
        assert await round_ == 2
        assert (await outbox.round(), hanging.asked, len(well.pages)) == (1, ["d-1", "d-2"], 1)


async def test_after_a_time_out_the_rest_of_a_pagers_pages_waits_for_the_next_round(tmp_path: Path) -> None:
    hanging = HangingPager()
    async with an_outbox(tmp_path, hanging, within=SHORT) as outbox:
        for number in range(3):
            await tell(outbox.store, number, "hanging")
        for number in range(3):
            await outbox.round()
            assert hanging.asked == [f"d-{one}" for one in range(number + 1)]
        assert outbox.loop.beats == 3


async def test_a_page_that_is_answered_while_the_store_is_read_goes_out_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = HangingPager()
    async with an_outbox(tmp_path, slow, within=LONG) as outbox, asyncio.timeout(20):
        await tell(outbox.store, 1, "hanging")
        read = outbox.store.outbox.due

        async def read_late(now: datetime) -> tuple[tuple[Delivery, ...], Mapping[str, str]]:
            found = await read(now)
            if slow.called.is_set() and not slow.answering.is_set():
                slow.answering.set()
                await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "pages for hanging"])
            return found

        monkeypatch.setattr(outbox.store.outbox, "due", read_late)
        await outbox.round()
        assert slow.asked == ["d-1"]


async def test_a_pager_that_says_no_in_time_is_asked_for_all(tmp_path: Path) -> None:
    away = FakePager("away")
    away.failing = [Retry("down")] * 3
    async with an_outbox(tmp_path, away, within=LONG) as outbox:
        for number in range(3):
            await tell(outbox.store, number, "away")
        assert await outbox.round() == 3
        assert away.failing == []


async def test_however_long_a_delivery_may_take_a_round_ends_within_the_loops_deadline(tmp_path: Path) -> None:
    for within, patience in ((timedelta(seconds=15), 15), (LONG, 15), (timedelta(seconds=3), 3)):
        async with an_outbox(tmp_path, within=within) as outbox:
            assert outbox.patience == timedelta(seconds=patience)
            # Until it stops looking again, then one batch that stops taking more, then its last delivery.
            assert 2 * outbox.slice_ + outbox.patience < timedelta(seconds=outbox.loop.deadline)


async def test_what_a_receiver_says_cannot_stop_the_outbox(tmp_path: Path) -> None:
    away = FakePager("away")
    away.failing = [Retry("\0 \ud800")]
    async with an_outbox(tmp_path, away, within=LONG) as outbox:
        await tell(outbox.store, 1, "away")
        await outbox.round()
        (row,) = (await outbox.store.history.pages()).items
        assert row["why"] == "\ufffd \ufffd"
