"""The deciding loop: a round looks at all clusters; in between, what calls answered is gone on with at once.

Level-triggered: a change only wakes it. Book-keeping is under one lock; calls of actions run beside it (`Calls`).
"""

from __future__ import annotations

import asyncio
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING

from sliceward.daemons.coordinator.aside import Aside
from sliceward.daemons.coordinator.attention import SLICE
from sliceward.daemons.coordinator.calls import Calls
from sliceward.daemons.coordinator.docket import Docket
from sliceward.daemons.coordinator.looks import Looks, sooner
from sliceward.daemons.coordinator.outage import Outage
from sliceward.daemons.coordinator.stops import Stops
from sliceward.playbooks import turn as turns
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sliceward.daemons.coordinator.calls import Answer
    from sliceward.daemons.coordinator.rules import Rules
    from sliceward.daemons.coordinator.side import Side
    from sliceward.daemons.loops import Loop
    from sliceward.daemons.store import Store
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.turn import Turn

SHORTEST_PAUSE = 0.02


@dataclass(eq=False, repr=False)  # what is held here is a whole fleet: no line of a traceback
class Deciding:
    """The incidents (`docket`), each look at them (`looks`), and what keeps calls from being made (`stops`), in one loop."""

    store: InitVar[Store]
    sides: InitVar[Mapping[str, Side]]
    rules: InitVar[Rules]
    dice: InitVar[random.Random]
    clock: Callable[[], datetime]
    loop: Loop
    stops: Stops = field(default_factory=Stops)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    docket: Docket = field(init=False)
    looks: Looks = field(init=False)
    _calls: Calls = field(init=False)
    _outage: Outage = field(init=False)
    _changed: bool = False
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self, store: Store, sides: Mapping[str, Side], rules: Rules, dice: random.Random) -> None:
        """Put the parts together; nothing is under way yet."""
        self._outage = Outage(dice)
        aside = Aside(self.clock, self.loop)
        self._calls = Calls(self._stirred.set, self.wake)
        self.docket = Docket(store, self.clock, aside, self.stops, rules.look_back, rules.pagers)
        self.looks = Looks(sides, rules, self.clock, self.docket, self._calls, self.stops, aside, self.loop, self.lock)

    def wake(self) -> None:
        """Say that something changed."""
        self._changed = True
        self._stirred.set()

    async def load(self) -> None:
        """Read the open incidents, the starts of late and the pause from the store."""
        await self.docket.load()
        self.stops.paused = str(await self.docket.store.setting("paused") or "")

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Decide whenever woken and at least every ``decide_every``, until ``stopping``; then wait for the calls under way."""
        ticks = asyncio.get_running_loop().time
        try:
            while not self.stops.stopping:
                self._changed = False
                began = ticks()
                due = await self.round()
                # Changes may come faster than a large fleet is read: at least half of the time is everybody else's.
                await self._rest(ticks() + max(SHORTEST_PAUSE, ticks() - began, self._outage.pause), due)
            await self.idle()
            if self.docket.in_doubt:
                await self.go_on()  # an intent that was not called is not left to the next leader to ask about
        finally:
            await self._calls.drop()

    async def _rest(self, least: float, due: datetime | None) -> None:
        """Rest until something changed or is ``due``, and until ``least`` at the least; go on meanwhile with what calls answer."""
        ticks = asyncio.get_running_loop().time
        latest, stuck = ticks() + self.looks.rules.decide_every.total_seconds(), False
        while not self.stops.stopping:
            until = latest if due is None else min(latest, ticks() + (due - self.clock()).total_seconds())
            pause = (least if self._changed else max(least, until)) - ticks()
            if pause <= 0:
                return
            if self._calls.answers and not stuck:
                waiting = {**self._calls.answers}
                due = sooner(due, await self.go_on())
                stuck = self._still_wait(waiting)  # what cannot be taken in now waits for the next round
                continue
            self._stirred.clear()
            rests = self.looks.attention.seconds()
            try:
                async with asyncio.timeout(min(pause, SLICE)):
                    await self._stirred.wait()
            except TimeoutError:
                pass
            await self.looks.attention.hear(rests)

    async def idle(self) -> None:
        """Go on with what calls answer until none is under way, and no answer waits that can be taken in."""
        stuck = False
        while self._calls.under_way or self._calls.answers:
            if stuck or not self._calls.answers:
                await self._calls.next()
            waiting = {**self._calls.answers}
            await self.go_on()
            stuck = self._still_wait(waiting)
            if stuck and not self._calls.under_way:
                break

    def _still_wait(self, waiting: Mapping[str, Answer]) -> bool:
        """Whether one of these answers was not taken in."""
        return any(self._calls.answers.get(name) is answer for name, answer in waiting.items())

    async def round(self) -> datetime | None:
        """Look at every incident of every cluster once. Gives when the next look is due, if any is."""
        due = await self._tried({side.name: None for side in self.looks.sides.values()})
        if not self._outage.lasts:
            self.loop.beat()
        return due

    async def go_on(self) -> datetime | None:
        """Take in what calls answered, and decide what follows for those incidents. Gives when the next look is due, if any is."""
        return await self._tried(self._answered())

    def _answered(self) -> dict[str, frozenset[str]]:
        """Give the incidents whose calls answered, by cluster; of one that is over nobody wants to know."""
        found: dict[str, frozenset[str]] = {}
        for name in [*self._calls.answers]:
            case = self.docket.cases.get(name)
            if case is None:
                del self._calls.answers[name]
            else:
                cluster = case.incident.cluster
                found[cluster] = found.get(cluster, frozenset()) | {name}
        return found

    async def _tried(self, clusters: Mapping[str, frozenset[str] | None]) -> datetime | None:
        """Look at clusters, whatever comes of it.

        The answers that a look had taken out which came to nothing are lost, not effects: the intents stand, and the next call
        reads the present.
        """
        try:
            due = await self._over(clusters)
        except (Retry, Refused) as error:
            self.loop.retried(str(error))
            self._outage.note(error)
        except Exception as error:  # noqa: BLE001 (told of there)
            self.loop.failed(f"{type(error).__name__}: {error}")
            self._outage.note(error)
        else:
            self._outage.end()
            return due
        return None

    async def _over(self, clusters: Mapping[str, frozenset[str] | None]) -> datetime | None:
        """Look at clusters, at the named incidents of each, or at all of them (None)."""
        async with self.lock:
            await self.docket.read_again()
        due: datetime | None = None
        for name, only in clusters.items():
            due = sooner(due, await self.looks.at(self.looks.sides[name], only))
        return due

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def approve(self, incident: str, *, by: str, reason: str) -> Incident:
        """Take a person's yes. Raises `Refused` where nothing waits for one, KeyError where the incident is not open."""
        async with self.lock:
            case = self.docket.cases[incident]
            return await self._said(turns.approve(case.incident, by=by, reason=reason, now=self.clock()))

    async def abort(self, incident: str, *, by: str, reason: str) -> Incident:
        """Take a person's stop. Raises KeyError where the incident is not open."""
        with self.stops.aborting(incident):
            async with self.lock:
                case = self.docket.cases[incident]
                return await self._said(turns.abort(case.incident, case.run, by=by, reason=reason, now=self.clock()))

    async def _said(self, turn: Turn) -> Incident:
        await self.docket.take_in(turn)
        self.wake()
        return turn.incident
