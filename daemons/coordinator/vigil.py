"""What the coordinator says of itself and of its sight: late loops, a store, cluster, broker or watcher silent for long.

None of this is an incident: nothing is decided about it, and the loop that decides may be the one that is late. So each
trouble is a page of its own, through the outbox, with a resolve when it is over. While the store is away, or does not say who
leads, so that the outbox sends nothing, a trigger goes straight to the pagers, to each until it takes it, and a resolve waits.
A store that hangs is waited for once in a round. What was told is kept in the store, so that a restart
neither repeats it nor forgets to resolve it; what went straight is kept in another place (`memo`) until the store has it. Who
reads it there does not know whether a pager got it: it is told again under the same delivery id, or resolved.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.coordinator.memo import NOWHERE
from sliceward.daemons.coordinator.stops import nobody_is_asked
from sliceward.daemons.loops import WHOLE
from sliceward.remediations.page import Page, PageEvent
from sliceward.topology.errors import Misconfigured, Refused, Retry
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sliceward.daemons.coordinator.memo import Memo
    from sliceward.daemons.coordinator.side import Side
    from sliceward.daemons.loops import Loop, Loops
    from sliceward.daemons.store import Store
    from sliceward.remediations.ports import Pager

log = structlog.get_logger(__name__)

SETTING = "troubles"
QUIET = timedelta(minutes=1)
"""A trouble is over when it was not seen for so long: one that comes and goes is one trouble."""
NO_PATIENCE = timedelta(0)
LONGEST = 1 << 20
"""Characters of what was told straight; an annotation holds a quarter of it."""
_UNKNOWN = "?"
"""In place of what the memo holds, where a call to it failed; never what is kept."""
_AWAY = (Retry, Refused, OSError, TimeoutError)
"""What a place that is away answers."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is not as it should be. ``key`` is the same while it lasts; it is told after ``patience``."""

    key: str
    kind: str
    text: str
    what_to_do: str
    patience: timedelta = NO_PATIENCE

    @property
    def id(self) -> str:
        """Short and fit for every column and receiver."""
        return f"own-{hashlib.sha256(self.key.encode()).hexdigest()[:10]}"


@dataclass(eq=False)
class Vigil:
    """Looks each round and tells. ``silence``: how long a store, cluster, broker or watcher may be silent; ``within``: one delivery.

    ``leads``, ``asks``: as in `Stops`; where nobody can say who leads, the pagers are told all the same.
    """

    store: Store
    sides: Sequence[Side]
    loops: Loops
    pagers: Mapping[str, Pager]
    clock: Callable[[], datetime]
    loop: Loop
    silence: timedelta
    within: timedelta = timedelta(seconds=15)
    leads: Callable[[], bool] = lambda: True
    memo: Memo = NOWHERE
    asks: Callable[[], Awaitable[None]] = nobody_is_asked
    _took: dict[str, set[str]] = field(default_factory=dict)  # the pagers that took what went past the store
    _hanging: set[str] = field(default_factory=set)  # the pagers that did not answer in this round
    _store_away: bool = False  # whether the store did not answer in this round, or does not say who leads
    _memo_hangs: bool = False  # whether the memo did not answer in time in this round
    _first: dict[str, datetime] = field(default_factory=dict)
    _last: dict[str, datetime] = field(default_factory=dict)
    _told: dict[str, dict[str, str]] = field(default_factory=dict)
    _past: dict[str, dict[str, str]] = field(default_factory=dict)  # given to the pagers past the store, and not saved there yet
    _kept: str | None = None  # what the memo holds; None: not read yet
    _recalled: bool = False
    _unsaved: bool = False

    async def round(self) -> None:
        """Tell what began to be told about, and what is over. Raises `Retry` where the store is away."""
        now, seen = self.clock(), {trouble.key: trouble for trouble in self.troubles()}
        self._first = {key: self._first.get(key, now) for key in seen}
        self._last |= dict.fromkeys(seen, now)
        self._hanging.clear()
        self._store_away = self._memo_hangs = False
        await self._recall()
        told, past = self._told, self._past
        for key, trouble in seen.items():
            if key not in told and now - self._first[key] >= trouble.patience:
                row = past.get(key) or {"kind": trouble.kind, "text": trouble.text, "since": self._first[key].isoformat()}
                if await self._page(trouble, PageEvent.TRIGGER, row["since"]):
                    told[key], self._unsaved = row, True
        for key, row in (past | told).items():
            if key in seen or now - self._last.setdefault(key, now) < QUIET:
                continue
            if await self._page(Trouble(key, row["kind"], row["text"], "nothing any more"), PageEvent.RESOLVE, row["since"]):
                told.pop(key, None)
                past.pop(key, None)
                self._took.pop(key, None)
                self._unsaved = True
        await self._keep()
        if self._unsaved:
            if not self._recalled:
                raise Retry("the store did not say yet what was told before")
            await self.store.set_setting(SETTING, told, who="coordinator", now=now)
            self._unsaved = False
        self._past = {key: row for key, row in past.items() if key not in told}
        self.loop.beat()

    def troubles(self) -> Iterator[Trouble]:
        """Give what is not as it should be now."""
        away = self.store.age > self.silence.total_seconds()
        if away:
            yield Trouble("store", "StoreAway", "the store does not answer: nothing is decided", "look at the database")
        for loop in self.loops:
            if loop.late and loop is not self.loop:
                said = f": {loop.error}" if loop.error else ""
                text = f"loop {loop.name} has not finished a round for more than {loop.deadline:.0f} s{said}"
                yield Trouble(f"loop {loop.name}", "LoopLate", text, "see the coordinator's log; it may have to be restarted")
            elif loop.stalled and not away and loop is not self.loop:
                text = f"loop {loop.name} goes round and has no result: {loop.error}"
                yield Trouble(
                    f"stalled {loop.name}", "LoopStalled", text, "mend what it names; no restart is needed", self.silence
                )
            aside = [name for name in loop.set_aside if name.startswith(("inc-", *WHOLE))]
            for name in sorted(aside)[:20]:
                text = f"{name} is set aside: {loop.set_aside[name]}"
                yield Trouble(
                    f"aside {name}", "SetAside", text, f"nothing is done about {name} until this is mended", self.silence
                )
        for side in self.sides:
            yield from self._blindness(side)

    def _blindness(self, side: Side) -> Iterator[Trouble]:
        """Give the first of API server, broker and watcher that is silent: who cannot hear one knows nothing of the next."""
        name, lasting = side.name, self.silence
        if not side.heard:  # what it said and cannot be read is set aside, and told of, as a whole
            text = f"the API server of cluster {name} is silent" + (f": {side.problem}" if side.problem else "")
            yield Trouble(
                f"cluster {name}", "ClusterSilent", text, "nothing is done there meanwhile; look at the API server", lasting
            )
        if not side.bus.connected:
            text = f"the broker of cluster {name} is away: every finding there is unknown"
            yield Trouble(f"broker {name}", "BrokerAway", text, "look at the broker, and at the way to it", lasting)
        elif not side.watched:
            text = f"the watcher of cluster {name} is silent: nobody looks at its chips"
            yield Trouble(f"watcher {name}", "WatcherSilent", text, "look at the watcher's log", lasting)

    async def _recall(self) -> None:
        """Read once what was told before a restart; while a place is away, what is known here must do."""
        if self._kept is None:
            try:
                async with asyncio.timeout(self.within.total_seconds()):
                    self._kept = await self.memo.recall()
            except _AWAY as error:
                self._memo_hangs = isinstance(error, TimeoutError)
                log.debug("what was told straight before is not known yet", why=str(error))
            else:
                self._past = _rows(self._kept) | self._past
        if not self._recalled:
            try:
                async with asyncio.timeout(self.within.total_seconds()):
                    kept = await self.store.setting(SETTING)
            except (Retry, TimeoutError):
                self._store_away = True
                return
            self._told = (kept if isinstance(kept, dict) else {}) | self._told
            self._recalled = True

    async def _keep(self) -> None:
        """Keep what went past the store, unless that is kept; never over what was not read yet, or is another's by now."""
        text = json.dumps(self._past) if self._past else ""
        if self._kept in (None, text) or self._memo_hangs or not self.leads():
            return
        self._kept = _UNKNOWN  # a time-out says neither yes nor no
        try:
            async with asyncio.timeout(self.within.total_seconds()):
                await self.memo.keep(text)
        except _AWAY as error:
            self._memo_hangs = isinstance(error, TimeoutError)
            log.warning("what was told straight is not kept", why=str(error))
        else:
            self._kept = text

    async def _page(self, trouble: Trouble, event: PageEvent, since: str) -> bool:
        """Put the page into the outbox, or while that sends nothing give a trigger to the pagers; gives whether all have it so."""
        now, took = self.clock(), self._took.get(trouble.key, set()) if event is PageEvent.TRIGGER else set[str]()
        word = "" if event is PageEvent.TRIGGER else "over: "
        page = Page(
            delivery_id=f"{trouble.id}-{since}-{event.value}",
            dedup_key=f"sliceward/{trouble.id}",
            event=event,
            severity=Severity.ERROR,
            summary=f"{word}{trouble.text}"[:1_024],
            source="sliceward/coordinator",
            component=trouble.key[:255],
            kind=trouble.kind,
            at=now,
            facts={"what is broken": trouble.text, "what a human must decide": trouble.what_to_do, "since": since},
        )
        log.warning("own trouble", about=trouble.key, page_event=event.value, text=trouble.text)
        if await self._put(page, trouble.id, [name for name in self.pagers if name not in took]):
            return True
        # A resolve that one of many pagers took leaves the page open at the others; the outbox sends it to each, in order.
        if event is not PageEvent.TRIGGER or not self.leads():
            return False
        # Before it goes out: one resolve too many harms nobody, one too few leaves a page open for ever.
        self._past[trouble.key] = {"kind": trouble.kind, "text": trouble.text, "since": since}
        await self._keep()
        return await self._straight(trouble.key, page)

    async def _put(self, page: Page, about: str, pagers: Sequence[str]) -> bool:
        """Put a page into the outbox; gives whether that can send it. Raises `Refused` where another leads."""
        if self._store_away or not await self._is_said():
            return False
        try:
            async with asyncio.timeout(self.within.total_seconds()):
                await self.store.tell(page, about=about, pagers=pagers, now=page.at)
        except (Retry, TimeoutError):
            await self._is_said()  # whoever was frozen in it hears now that another leads, and tells nobody
            self._store_away = True
            return False
        return True

    async def _is_said(self) -> bool:
        """Whether it is known that this replica leads."""
        try:
            async with asyncio.timeout(self.within.total_seconds()):
                await self.asks()
        except (Retry, TimeoutError):
            self._store_away = True
        return not self._store_away

    async def _straight(self, key: str, page: Page) -> bool:
        """Send without the outbox, to each pager that has not got it yet: a store that is away is itself the trouble. Gives whether all have."""
        took = self._took.setdefault(key, set())
        left = {name: pager for name, pager in self.pagers.items() if name not in took | self._hanging}
        answers = await asyncio.gather(*(self._given(name, pager, page) for name, pager in left.items()))
        took.update(name for name, taken in zip(left, answers, strict=True) if taken)
        return took >= self.pagers.keys()

    async def _given(self, name: str, pager: Pager, page: Page) -> bool:
        """Send to one pager; gives whether it took it. One that hangs is asked for nothing more in this round."""
        why = "the lead ran out"
        try:
            async with asyncio.timeout(self.within.total_seconds()):
                if self.leads():
                    await pager.send(page)
                    return True
        except (Retry, Refused, Misconfigured) as error:
            why = str(error)
        except TimeoutError:
            why = f"no answer in {self.within.total_seconds():g} s"
            self._hanging.add(name)
        except Exception:
            log.exception("page not delivered", pager=name, about=page.component)
            return False
        log.warning("page not delivered", pager=name, why=why, about=page.component)
        return False


def _rows(text: str) -> dict[str, dict[str, str]]:
    """Read what was kept; what cannot be read is left out."""
    try:
        rows = json.loads(text[:LONGEST] or "{}")
        return {str(key): {name: str(row[name]) for name in ("kind", "text", "since")} for key, row in rows.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        log.warning("what was told straight before cannot be read")
        return {}
