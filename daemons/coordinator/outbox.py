"""Pages out: what a turn put into the outbox goes to each pager until it is sent, or the pager says no.

In order per incident and pager (the store gives only the oldest), with the same delivery id at each try, and with a
jittered, growing pause that honours what the receiver asked for. A no is kept as ``failed`` and shown.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sliceward.daemons.loops import Loop
    from sliceward.daemons.store import Delivery, Store, Waiting
    from sliceward.remediations.page import Page
    from sliceward.remediations.ports import Pager

log = structlog.get_logger(__name__)

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
GIVE_UP_AFTER = timedelta(hours=24)


def pause_after(attempts: int, *, asked: float | None, dice: random.Random) -> timedelta:
    """Give the pause before the next try: doubling from 1 s to 5 min, jittered by half, never shorter than asked for."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * float(2 ** min(attempts, 16)))
    own = longest * dice.uniform(0.5, 1.0)
    return own if asked is None else max(own, min(timedelta(seconds=asked), GIVE_UP_AFTER))


@dataclass(eq=False)
class Outbox:
    """Sends what is due. ``within``: longest time of one delivery. ``public_url``: address of our page, for a link in each page.

    ``counts``: deliveries by pager and outcome. ``waiting``: what is not sent yet, by pager, as of the last round.
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

    async def round(self) -> int:
        """Try everything that is due once; gives how many were tried. Raises `Retry` where the store is away."""
        due, aside = await self.store.outbox.due(self.clock())
        for name, why in aside.items():
            self.loop.set_aside[name] = why
            self.counts["", "set-aside"] += 1
            await self.store.outbox.failed(name.removeprefix("page "), why=why)
        by_pager: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in due:
            by_pager[delivery.pager].append(delivery)
        async with asyncio.TaskGroup() as tasks:
            for name, deliveries in by_pager.items():
                tasks.create_task(self._send_all(name, deliveries))
        self.waiting = await self.store.outbox.waiting()
        self.loop.beat()
        return len(due)

    async def _send_all(self, name: str, deliveries: Sequence[Delivery]) -> None:
        pager = self.pagers.get(name)
        for delivery in deliveries:
            if pager is None:
                self.counts[name, "failed"] += 1
                await self.store.outbox.failed(delivery.id, why=f"no pager is named {name!r} any more")
            else:
                await self._send(pager, delivery)

    async def _send(self, pager: Pager, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(self.within.total_seconds()):
                await pager.send(self._linked(delivery))
        except Refused as error:
            log.warning("page refused", incident=delivery.incident, pager=pager.name, why=str(error))
            self.counts[pager.name, "failed"] += 1
            await self.store.outbox.failed(delivery.id, why=str(error))
        except Retry as error:
            await self._again(delivery, str(error), asked=error.after)
        except TimeoutError:
            await self._again(delivery, f"no answer in {self.within.total_seconds():g} s", asked=None)
        except Misconfigured as error:
            await self._again(delivery, str(error), asked=LONGEST_PAUSE.total_seconds())
        except Exception as error:
            log.exception("page set aside", incident=delivery.incident, pager=pager.name)
            await self._again(delivery, f"{type(error).__name__}: {error}", asked=LONGEST_PAUSE.total_seconds())
        else:
            log.info("page sent", incident=delivery.incident, pager=pager.name, page_event=delivery.page.event.value)
            self.counts[pager.name, "sent"] += 1
            await self.store.outbox.sent(delivery.id, now=self.clock())

    def _linked(self, delivery: Delivery) -> Page:
        if not self.public_url:
            return delivery.page
        link = f"{self.public_url.rstrip('/')}/#{delivery.incident}"
        return replace(delivery.page, links={**delivery.page.links, "sliceward": link})

    async def _again(self, delivery: Delivery, why: str, *, asked: float | None) -> None:
        now = self.clock()
        if now - delivery.page.at > GIVE_UP_AFTER:
            self.counts[delivery.pager, "failed"] += 1
            await self.store.outbox.failed(delivery.id, why=f"given up after {delivery.attempts + 1} tries in 24 h: {why}")
            return
        self.counts[delivery.pager, "again"] += 1
        at = now + pause_after(delivery.attempts, asked=asked, dice=self.dice)
        log.warning("page not delivered", incident=delivery.incident, pager=delivery.pager, why=why, again=at.isoformat())
        await self.store.outbox.again(delivery.id, at=at, why=why)
