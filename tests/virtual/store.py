"""The store in memory: what outlives the coordinators (`Records`), and one coordinator's way to it (`MemoryStore`).

It passes the contract tests of the real ones (tests/virtual/test_store.py). Values are kept as they are, and read back through
their stored form only when they are loaded: that is what a restart sees. Every call goes over a `Way`, and may fail on it.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sliceward.daemons.store import Case, Delivery, Intent, Loaded, Unseated
from sliceward.playbooks import record
from sliceward.playbooks.world import Started
from sliceward.topology.errors import Retry
from tests.virtual.boxes import MemoryDisplacements, MemoryInbox, MemoryOutbox, MemorySilences
from tests.virtual.history import MemoryHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.incident import Entry, Incident
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.silences import Silence
    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.page import Page
    from sliceward.scheduling.rights import Displaced
    from sliceward.simulation.virtual.way import Way
    from sliceward.topology.ids import GangId

T = TypeVar("T")
Row = dict[str, Any]


@dataclass(eq=False, slots=True)
class Records:
    """Everything that is stored."""

    epoch: int = 0
    holder: str = ""
    incidents: dict[str, Incident] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    starts: dict[str, Started] = field(default_factory=dict)
    journal: list[Row] = field(default_factory=list)
    decisions: list[tuple[str, Decision]] = field(default_factory=list)
    intents: dict[str, Intent] = field(default_factory=dict)
    outbox: dict[str, Row] = field(default_factory=dict)
    inbox: list[Row] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)
    displacements: dict[tuple[GangId, datetime], Displaced] = field(default_factory=dict)
    audit: list[Row] = field(default_factory=list)
    numbers: int = 0
    alerts: int = 0

    def last_run(self, incident: str) -> Run | None:
        """Give the present or last run of an incident."""
        found = [run for run in self.runs.values() if run.incident == incident]
        return max(found, key=lambda run: (run.started, run.id), default=None)

    def keep_run(self, run: Run) -> None:
        """Keep a run, and its start if it harms."""
        self.runs[run.id] = run
        if run.harms:
            self.starts[run.id] = Started.of(run)

    def journaled(self, cluster: str, entries: Iterable[Entry]) -> tuple[int, ...]:
        """Add lines to the story; one that is no JSON leaves nothing of any."""
        rows = [
            {"cluster": cluster, "incident": one.incident, "at": one.at, "kind": one.kind.value, "text": one.text}
            | {"facts": record.text(one.facts) if one.facts else "{}"}
            for one in entries
        ]
        for row in rows:
            self.numbers += 1
            self.journal.append({"seq": self.numbers, **row})
        return tuple(range(self.numbers - len(rows) + 1, self.numbers + 1))

    def put_out(self, pages: Iterable[Page], pagers: Sequence[str], *, cluster: str, about: str, now: datetime) -> None:
        """Put pages into the outbox; one that is there stays as it is."""
        for page in pages:
            for pager in pagers:
                name = f"{page.delivery_id}:{pager}"
                made = Delivery(name, cluster, about, pager, page, "pending", 0, now)
                self.outbox.setdefault(name, {"delivery": made, "made": now, "sent": None})


class MemoryStore:
    """What a coordinator holds of the records. Without ``way`` every call succeeds at once. ``saved``: told of each turn written."""

    def __init__(self, records: Records, way: Way | None = None, saved: Callable[[Turn], None] = lambda _turn: None) -> None:
        self.records = records
        self._saved = saved
        self.inbox = MemoryInbox(self)
        self.outbox = MemoryOutbox(self)
        self.silences = MemorySilences(self)
        self.displacements = MemoryDisplacements(self)
        self.history = MemoryHistory(self)
        self._way = way
        self._epoch = 0
        self._last_ok = self._seconds()
        self._proven = -math.inf
        self.unseated: Callable[[Unseated], None] = lambda _why: None

    async def do(self, effect: Callable[[], T], *, fenced: bool = False) -> T:
        """Let something happen in the database; what is fenced only while this store's epoch lasts."""
        seen: list[float] = []
        whole = self._fenced(effect, seen) if fenced else effect
        try:
            if self._way is None:
                await asyncio.sleep(0)
                answer = whole()
            else:
                answer = await self._way.call(whole)
        except Unseated as error:
            if self._epoch > 0:
                self.unseated(error)
            raise
        self._proven = max(self._proven, *seen) if seen else self._proven
        return answer

    def _fenced(self, effect: Callable[[], T], seen: list[float]) -> Callable[[], T]:
        def checked() -> T:
            records = self.records
            if self._epoch == 0 or self._epoch != records.epoch:
                who = records.holder or "nobody"
                raise Unseated(f"epoch {self._epoch} is over: {who} leads in epoch {records.epoch}")
            seen.append(self._seconds())
            return effect()

        return checked

    def _seconds(self) -> float:
        return 0.0 if self._way is None else self._way.agenda.clock.seconds

    # ── leading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def age(self) -> float:
        return self._seconds() - self._last_ok

    @property
    def proof_age(self) -> float:
        return self._seconds() - self._proven

    async def lead(self, holder: str, *, now: datetime, leads: Callable[[], bool] = lambda: True) -> int:
        del now

        def lead() -> int:
            if not leads():
                raise Retry(f"the lead of {holder} ran out before it began")
            self.records.epoch += 1
            self.records.holder = holder
            return self.records.epoch

        self._epoch = await self.do(lead)
        return self._epoch

    async def ping(self) -> None:
        await self.do(lambda: None)
        self._last_ok = self._seconds()

    async def confirm(self) -> None:
        await self.do(lambda: None, fenced=True)
        self._last_ok = self._seconds()

    async def prove(self, *, now: datetime) -> None:
        del now
        await self.do(lambda: None, fenced=True)
        self._last_ok = self._seconds()

    # ── incidents ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def load_open(self, cluster: str = "", *, since: datetime | None = None) -> Loaded:
        def load() -> Loaded:
            known = sorted(self.records.incidents.values(), key=lambda one: (one.opened, one.id))
            cases = tuple(self._case(one) for one in known if one.open and cluster in ("", one.cluster))
            gone = (one for one in self.records.displacements.values() if since is not None and one.at >= since)
            return Loaded(cases, displaced=tuple(sorted(gone, key=lambda one: (one.at, str(one.gang)))))

        return await self.do(load)

    async def load(self, incident: str) -> Case | None:
        def load() -> Case | None:
            found = self.records.incidents.get(incident)
            return None if found is None else self._case(found)

        return await self.do(load)

    def _case(self, incident: Incident) -> Case:
        run = self.records.last_run(incident.id)
        stored = record.incident(record.text(incident))
        return Case(stored, None if run is None else record.run(record.text(run)))

    async def save(self, *turns: Turn, now: datetime, pagers: Sequence[str] = ()) -> tuple[int, ...]:
        def save() -> tuple[int, ...]:
            # The only thing that can break: lines that are no JSON. All of them first, then all the rest.
            numbers = [self.records.journaled(turn.incident.cluster, turn.entries) for turn in turns]
            for turn in turns:
                self._save(turn, now, pagers)
            return tuple(number for some in numbers for number in some)

        numbers = await self.do(save, fenced=True)
        self._last_ok = self._seconds()
        return numbers

    def _save(self, turn: Turn, now: datetime, pagers: Sequence[str]) -> None:
        records, incident = self.records, turn.incident
        records.incidents[incident.id] = incident
        if turn.run is not None:
            records.keep_run(turn.run)
        if turn.decision is not None:
            records.decisions.append((incident.id, turn.decision))
        if turn.call is not None and turn.run is not None:
            step, call = turn.call.step, turn.call
            ids = (call.operation, incident.cluster, incident.id, turn.run.id)
            records.intents[call.operation] = Intent(*ids, step.name, step.action, step.irreversible, self._epoch, now)
        if turn.answered is not None and turn.answered.operation in records.intents:
            known = records.intents[turn.answered.operation]
            records.intents[known.operation] = replace(known, result=turn.answered.text, result_at=now)
        records.put_out(turn.pages, pagers, cluster=incident.cluster, about=incident.id, now=now)
        self._saved(turn)

    async def tell(self, page: Page, *, about: str, pagers: Sequence[str], now: datetime) -> None:
        await self.do(lambda: self.records.put_out([page], pagers, cluster="", about=about, now=now), fenced=True)

    async def append(self, cluster: str, *entries: Entry) -> tuple[int, ...]:
        return await self.do(lambda: self.records.journaled(cluster, entries), fenced=True)

    async def started(self, since: datetime) -> tuple[Started, ...]:
        def started() -> tuple[Started, ...]:
            late = [one for one in self.records.starts.values() if one.at >= since or (one.ended and one.ended >= since)]
            return tuple(sorted(late, key=lambda one: one.at))

        return await self.do(started)

    # ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def setting(self, name: str) -> Any | None:  # noqa: ANN401 (any JSON value)
        return await self.do(lambda: json.loads(self.records.settings.get(name, "null")))

    async def set_setting(self, name: str, value: object, *, who: str, now: datetime) -> None:
        del who, now
        await self.do(lambda: self.records.settings.__setitem__(name, record.text(value)), fenced=True)

    async def audit(self, *, who: str, what: str, about: str, reason: str, now: datetime) -> None:
        def note() -> None:
            row = {"seq": len(self.records.audit) + 1, "at": now, "who": who, "what": what, "about": about, "reason": reason}
            self.records.audit.append(row)

        await self.do(note, fenced=True)

    async def forget(self, *, older_than: timedelta, now: datetime) -> int:
        return await self.do(lambda: self._forget(now - older_than), fenced=True)

    def _forget(self, edge: datetime) -> int:
        records = self.records
        old = {one.id for one in records.incidents.values() if one.closed is not None and one.closed < edge}
        records.incidents = {name: one for name, one in records.incidents.items() if name not in old}
        records.runs = {name: run for name, run in records.runs.items() if run.incident not in old}
        records.starts = {name: one for name, one in records.starts.items() if name in records.runs}
        records.journal = [row for row in records.journal if row["incident"] not in old]
        records.decisions = [pair for pair in records.decisions if pair[0] not in old]
        records.intents = {name: one for name, one in records.intents.items() if one.incident not in old}
        records.outbox = {
            name: row for name, row in records.outbox.items() if row["delivery"].state == "pending" or row["made"] >= edge
        }
        records.displacements = {key: one for key, one in records.displacements.items() if one.at >= edge}
        self.inbox.forget(edge)
        return len(old)
