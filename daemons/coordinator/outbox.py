"""Pages out: what a turn put into the outbox goes to each pager until it is sent, or the pager says no.

In order per incident and pager (the store gives only the oldest), with the same delivery id at each try, and with a
jittered, growing pause that honours what the receiver asked for. A no is kept as ``failed`` and shown. Each pager has a
lane of its own: one that hangs delays neither the others nor the loop. While nobody can say who leads, pages are held, which is shown
on their rows, for `UNSURE_FOR` at the longest.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.coordinator.stops import nobody_is_asked
from sliceward.detectors.finding import storable
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from sliceward.daemons.loops import Loop
    from sliceward.daemons.store import Delivery, Store, Waiting
    from sliceward.remediations.page import Page
    from sliceward.remediations.ports import Pager

log = structlog.get_logger(__name__)

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
GIVE_UP_AFTER = timedelta(hours=24)
UNSURE_FOR = timedelta(seconds=30)
"""After so long in which nobody said who leads, pages go out all the same: one that comes twice is better than none, and has its delivery id."""
HOLDING = 5.0
"""Seconds in which the store is to take that; it may be the store that hangs."""


def pause_after(attempts: int, *, asked: float | None, dice: random.Random) -> timedelta:
    """Give the pause before the next try: doubling from 1 s to 5 min, jittered by half, never shorter than asked for."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * float(2 ** min(attempts, 16)))
    own = longest * dice.uniform(0.5, 1.0)
    return own if asked is None else max(own, min(timedelta(seconds=asked), GIVE_UP_AFTER))


@dataclass(eq=False)
class Outbox:
    """Sends what is due. ``within``: longest time of one delivery, as configured. ``public_url``: address of our page, for a link in each page.

    ``leads``: whether this replica may send at this moment; ``asks``: asked before it, where that alone does not say so (`Stops`). ``counts``: deliveries by pager and outcome. ``waiting``: what is not sent yet, by pager, as of the last round.
    """

    store: Store
    pagers: Mapping[str, Pager]
    clock: Callable[[], datetime]
    loop: Loop
    dice: random.Random
    within: timedelta = timedelta(seconds=15)
    public_url: str = ""
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    look_again: timedelta = timedelta(seconds=1)
    leads: Callable[[], bool] = lambda: True
    asks: Callable[[], Awaitable[None]] = nobody_is_asked
    _unsure: Retry | None = None  # why nobody said in this round who leads
    _silent: tuple[datetime, datetime] | None = None  # since when nobody says so, and when that was seen last
    _held: set[str] = field(default_factory=set)  # the deliveries whose rows say so
    _taken: set[str] = field(default_factory=set)  # those that a pager took, and the store does not know of yet

    @property
    def slice_(self) -> timedelta:
        """How long a lane takes more pages and a round starts more lanes, so that a round ends within the loop's deadline."""
        return timedelta(seconds=self.loop.deadline / 4)

    @property
    def patience(self) -> timedelta:
        """Longest time of one delivery."""
        return min(self.within, self.slice_)

    async def round(self) -> int:
        """Try what is due, and while one pager is slow also what becomes due for the others; gives how many were begun.

        Raises `Retry` where the store is away, or does not say who leads.
        """
        self._unsure = None
        lanes: dict[str, asyncio.Task[bool]] = {}
        begun, busy, ends = 0, True, self._seconds() + self.slice_.total_seconds()
        async with asyncio.TaskGroup() as tasks:
            while busy and self._seconds() <= ends:
                # Before the store is read: what a lane under way has sent meanwhile may still stand there as due.
                taken = {name for name, lane in lanes.items() if not (lane.done() and lane.result())}
                for name, deliveries in (await self._due()).items():
                    if name not in taken:
                        lanes[name] = tasks.create_task(self._send_all(name, deliveries), name=f"pages for {name}")
                        begun += len(deliveries)
                under_way = [lane for lane in lanes.values() if not lane.done()]
                if under_way:
                    await asyncio.wait(under_way, timeout=self.look_again.total_seconds())
                busy = any(not lane.done() for lane in under_way)
        self.waiting = await self.store.outbox.waiting()
        if self._unsure is not None:
            raise self._unsure
        self.loop.beat()
        return begun

    async def _due(self) -> dict[str, list[Delivery]]:
        """Give what is due by pager; rows that cannot be read are given up by name."""
        due, aside = await self.store.outbox.due(self.clock())
        for name, why in aside.items():
            self.loop.set_aside[name] = why
            self.counts["", "set-aside"] += 1
            await self.store.outbox.failed(name.removeprefix("page "), why=storable(why))
        by_pager: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in due:
            by_pager[delivery.pager].append(delivery)
        return by_pager

    @staticmethod
    def _seconds() -> float:
        return asyncio.get_running_loop().time()

    async def _send_all(self, name: str, deliveries: Sequence[Delivery]) -> bool:
        """Send to one pager until it does not answer in time, or was slow for long; what is left stays due.

        Gives whether it got all, so that it may get more in this round.
        """
        pager, ends = self.pagers.get(name), self._seconds() + self.slice_.total_seconds()
        for delivery in deliveries:
            if self._seconds() > ends:
                return False
            if pager is None:
                self.counts[name, "failed"] += 1
                await self.store.outbox.failed(delivery.id, why=f"no pager is named {name!r} any more")
            elif not (await self._may_send(deliveries) and await self._answered(pager, delivery)):
                return False
        return True

    async def _answered(self, pager: Pager, delivery: Delivery) -> bool:
        """Send one page, note what came of it, and say whether there was any answer in time."""
        try:
            if delivery.id not in self._taken:
                async with asyncio.timeout(self.patience.total_seconds()):
                    await pager.send(self._linked(delivery))
        except Refused as error:
            log.warning("page refused", incident=delivery.incident, pager=pager.name, why=str(error))
            self.counts[pager.name, "failed"] += 1
            await self.store.outbox.failed(delivery.id, why=storable(str(error)))
        except Retry as error:
            await self._again(delivery, str(error), asked=error.after)
        except TimeoutError:
            await self._again(delivery, f"no answer in {self.patience.total_seconds():g} s", asked=None)
            return False
        except Misconfigured as error:
            await self._again(delivery, str(error), asked=LONGEST_PAUSE.total_seconds())
        except Exception as error:
            log.exception("page set aside", incident=delivery.incident, pager=pager.name)
            await self._again(delivery, f"{type(error).__name__}: {error}", asked=LONGEST_PAUSE.total_seconds())
        else:
            if delivery.id not in self._taken:
                log.info("page sent", incident=delivery.incident, pager=pager.name, page_event=delivery.page.event.value)
                self.counts[pager.name, "sent"] += 1
            self._taken.add(delivery.id)  # where the store does not note it, the page is not sent again each round
            await self.store.outbox.sent(delivery.id, now=self.clock())
            self._taken.remove(delivery.id)
        return True

    async def _may_send(self, deliveries: Sequence[Delivery]) -> bool:
        """Whether this replica leads, or nobody could say so for long; else the rows of these say why they wait.

        Who was frozen since the store was read sends nothing where another leads: that has sent it, and perhaps its resolve too.
        """
        if self._unsure is None:
            try:
                await self.asks()
            except Retry as error:
                self._unsure = error  # told once the other lanes have sent what they are sending
                self._note_silence()
            else:
                self._silent = None
                self._held.clear()
        if self._unsure is None or self._silent is None:
            return self.leads()
        since, last = self._silent
        if last - since >= UNSURE_FOR:
            return self.leads()
        await self._hold(deliveries, str(self._unsure))
        return False

    def _note_silence(self) -> None:
        """Count how long nobody says who leads; a gap is no part of it: who was frozen in it does not know what others did."""
        now = self.clock()
        since, last = self._silent or (now, now)
        whole = timedelta(0) <= now - last <= timedelta(seconds=self.loop.deadline)
        self._silent = (since if whole else now, now)

    async def _hold(self, deliveries: Sequence[Delivery], why: str) -> None:
        """Show once on each row that it is held, where the store takes that."""
        new = {one.id for one in deliveries} - self._held
        if new:
            why = storable(f"held for at most {UNSURE_FOR.total_seconds():g} s: {why}")
            with suppress(Retry, TimeoutError):
                async with asyncio.timeout(HOLDING):
                    await self.store.outbox.held(sorted(new), why=why)
                self._held |= new

    def _linked(self, delivery: Delivery) -> Page:
        if not self.public_url:
            return delivery.page
        link = f"{self.public_url.rstrip('/')}/#{delivery.incident}"
        return replace(delivery.page, links={**delivery.page.links, "sliceward": link})

    async def _again(self, delivery: Delivery, why: str, *, asked: float | None) -> None:
        now, why = self.clock(), storable(why)
        if now - delivery.page.at > GIVE_UP_AFTER:
            self.counts[delivery.pager, "failed"] += 1
            await self.store.outbox.failed(delivery.id, why=f"given up after {delivery.attempts + 1} tries in 24 h: {why}")
            return
        self.counts[delivery.pager, "again"] += 1
        at = now + pause_after(delivery.attempts, asked=asked, dice=self.dice)
        log.warning("page not delivered", incident=delivery.incident, pager=delivery.pager, why=why, again=at.isoformat())
        await self.store.outbox.again(delivery.id, at=at, why=why)
