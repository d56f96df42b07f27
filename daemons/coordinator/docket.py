"""The open incidents as they were last saved, and what is in doubt about them: whatever is written about them is written here.

An intent is in doubt from before its save until its call begins or it is taken back, and an incident whose save had no answer is in
doubt until it was read again: the store is right, and what is remembered here may be another story.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.coordinator import apart
from sliceward.daemons.coordinator.starts import Starts
from sliceward.daemons.coordinator.tally import Tally
from sliceward.daemons.store import Case
from sliceward.playbooks import turn as turns
from sliceward.scheduling import rights
from sliceward.scheduling.risk import REMEMBERED
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

    from sliceward.daemons.coordinator.aside import Aside
    from sliceward.daemons.coordinator.calls import Begun
    from sliceward.daemons.coordinator.draft import Draft
    from sliceward.daemons.coordinator.stops import Stops
    from sliceward.daemons.store import Store
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.run import Call, Run
    from sliceward.playbooks.turn import Turn
    from sliceward.playbooks.world import Started
    from sliceward.scheduling.rights import Displaced

log = structlog.get_logger(__name__)


@dataclass(eq=False, repr=False)  # what is held here is a whole fleet: no line of a traceback
class Docket:
    """``look_back``: how long ago a start still matters. ``pagers``: to whom each page goes.

    ``displaced``: which gangs had to go for which, as read at the start. ``told``: called with the number of each new line of the story. ``paging``: called when a page was put into the outbox.
    """

    store: Store
    clock: Callable[[], datetime]
    aside: Aside
    stops: Stops
    look_back: timedelta
    pagers: tuple[str, ...]
    told: Callable[[int], None] = lambda _seq: None
    paging: Callable[[], None] = lambda: None
    cases: dict[str, Case] = field(default_factory=dict)
    displaced: tuple[Displaced, ...] = ()
    tally: Tally = field(default_factory=Tally)
    _starts: Starts = field(default_factory=Starts)
    _doubtful: dict[str, Call | None] = field(default_factory=dict)

    async def load(self) -> None:
        """Read the open incidents, the starts and the displacements of late."""
        loaded = await self.store.load_open(since=self.clock() - rights.REMEMBERED)
        self.displaced = loaded.displaced
        self.cases = {case.incident.id: case for case in loaded.cases}
        self.aside.show(loaded.set_aside)
        await self._read_starts()

    def started(self) -> tuple[Started, ...]:
        """Give the runs begun or ended of late."""
        return self._starts.since(self.clock() - self.look_back)

    def remembered(self) -> tuple[Started, ...]:
        """Give those of so long ago as hosts that failed are remembered."""
        return self._starts.since(self.clock() - REMEMBERED)

    async def _read_starts(self) -> None:
        edge = self.clock() - max(self.look_back, REMEMBERED)
        self._starts.read(await self.store.started(edge), edge)

    # ── what is written ───────────────────────────────────────────────────────────────────────────────────────────────

    async def take_in(self, *what: Turn) -> None:
        """Save turns, and remember what they made of their incidents."""
        await self.save(*what)
        for turn in what:
            known = self.cases.get(turn.incident.id)
            self._keep(turn.incident, turn.run or (known.run if known else None))

    async def take_in_draft(self, draft: Draft) -> list[Begun]:
        """Save what a look came to, and give the calls whose intents stand now. Whatever happens from here on: they are in doubt."""
        self._doubtful |= {name: one.call for name, one in draft.calls.items()}
        for name, why in (await apart.saved(draft.turns, self.take_in)).items():
            self.aside.put(name, why)
        saved = [one for name, one in draft.calls.items() if name in self.cases and self.cases[name].run is one.run]
        self.settle(draft.calls.keys() - {one.incident for one in saved})
        return saved

    async def save(self, *what: Turn) -> None:
        """Write turns, and tell of them; what they made of their incidents is not remembered yet."""
        try:
            numbers = await self.store.save(*what, now=self.clock(), pagers=self.pagers)
        except Retry:
            for turn in what:
                self._doubtful[turn.incident.id] = turn.call or self._doubtful.get(turn.incident.id)
            raise
        self.tally.saved(what)
        for turn in what:
            for entry in turn.entries:
                log.info(entry.kind.value, incident=entry.incident, text=entry.text)
        if numbers:
            self.told(numbers[-1])
        if any(turn.pages for turn in what):
            self.paging()

    def _keep(self, incident: Incident, run: Run | None) -> None:
        if run is not None:
            self._starts.note(run)
        if incident.open:
            self.cases[incident.id] = Case(incident, run)
        else:
            self.cases.pop(incident.id, None)
            self.aside.forget(incident.id)

    # ── what is in doubt ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def in_doubt(self) -> bool:
        """Whether anything is."""
        return bool(self._doubtful)

    def is_doubtful(self, incident: str) -> bool:
        """Whether this incident is."""
        return incident in self._doubtful

    def doubt(self, incident: str, call: Call) -> None:
        """Note that an intent stands which was not called."""
        self._doubtful[incident] = call

    def settle(self, incidents: Iterable[str]) -> None:
        """Note that these are in doubt no more: their calls began, or their intents do not stand."""
        for name in incidents:
            self._doubtful.pop(name, None)

    async def read_again(self) -> None:
        """Read again what was written or not when the answer was lost.

        An intent in doubt was not called: who does not know that it stands does not call, and whose call began is in doubt no more.
        It is taken back, or the next try would be one that goes on with something irreversible, which asks for no reason.
        """
        if self._doubtful or self._starts.are_stale(self.clock() - max(self.look_back, REMEMBERED)):
            await self._read_starts()
        for name, call in sorted(self._doubtful.items()):
            try:
                await self._ask_about(name, call)
            except (Retry, Refused):
                raise
            except Exception as error:
                log.exception("incident set aside", incident=name)
                self.aside.put(name, error)
                if call is not None:
                    continue  # nothing is decided about it for as long as its intent may stand
            if self._doubtful.get(name) is call:
                self._doubtful.pop(name, None)

    async def _ask_about(self, name: str, call: Call | None) -> None:
        """Read one incident again, and take its intent back where it stands."""
        case = await self.store.load(name)
        if case is None:
            return
        self._keep(case.incident, case.run)
        run = case.run
        if call is not None and run is not None and run.open and _stands(call, run):
            turn = turns.withdraw(case.incident, run, self.clock())
            await self.save(turn)
            self._keep(turn.incident, turn.run or run)


def _stands(call: Call, run: Run) -> bool:
    """Whether the intent of this very try is what the run shows."""
    step = run.current
    return step is not None and run.operation == call.operation and step.attempts >= call.step.attempts
