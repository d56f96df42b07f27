"""Turns of incidents in, open incidents out: the part of the store that deciding stands on. Fenced by the leader's epoch."""

from __future__ import annotations

import json
import math
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import delete, or_, select, update

from sliceward.daemons.store.connect import Database, Unseated, database
from sliceward.daemons.store.displacements import Displacements, read
from sliceward.daemons.store.history import History
from sliceward.daemons.store.inbox import Inbox
from sliceward.daemons.store.outbox import Outbox, outbox_rows
from sliceward.daemons.store.silences import Silences
from sliceward.daemons.store.tables import AUDIT, DECISIONS, FENCE, FINDINGS, INCIDENTS, INTENTS, JOURNAL, RUNS, SETTINGS
from sliceward.daemons.store.turns import Statements, journal_rows, rows_of
from sliceward.daemons.store.upsert import upsert
from sliceward.daemons.store.values import Case, Loaded
from sliceward.playbooks import record
from sliceward.playbooks.world import Started
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from sliceward.playbooks.incident import Entry
    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.page import Page


Result = TypeVar("Result")


class Store:
    """The store of one coordinator.

    ``inbox``: alerts in; ``outbox``: pages out; ``silences``: what people asked to be left alone; ``displacements``: which gang had to
    go for which; ``history``: reads for the HTTP API.

    Every method raises `Retry` when the database does not answer; a method that writes as leader raises `Unseated`
    before `lead` was called and after another coordinator took over. ``unseated`` is told of the latter, whoever asked.
    """

    def __init__(self, opened: Database) -> None:
        """Use an opened database; see `open_store`."""
        self._database = opened
        self._statements = Statements(opened.dialect)
        self._epoch = 0
        self._last_ok = time.monotonic()
        self._proven = -math.inf
        self.unseated: Callable[[Unseated], None] = lambda _why: None
        self.inbox = Inbox(opened, self._fenced)
        self.outbox = Outbox(opened, self._fenced)
        self.silences = Silences(opened, self._fenced)
        self.displacements = Displacements(opened, self._fenced)
        self.history = History(opened)

    @property
    def epoch(self) -> int:
        """The epoch that this coordinator's writes carry; 0 before `lead`."""
        return self._epoch

    async def lead(self, holder: str, *, now: datetime, leads: Callable[[], bool] = lambda: True) -> int:
        """Begin a new epoch for ``holder``: from here on writes of all earlier leaders are refused.

        ``leads`` is asked once the fence is locked: who leads then is followed by no other before this is written, and who was
        frozen before it unseats nobody.

        Raises:
            Retry: it does not lead any more, or the database is away; no epoch began.
        """
        async with self._database.writing() as connection:
            await connection.execute(update(FENCE).values(epoch=FENCE.c.epoch + 1, holder=holder, at=now))
            epoch = int((await connection.execute(select(FENCE.c.epoch))).scalar_one())
            if not leads():
                raise Retry(f"the lead of {holder} ran out before it began")
        self._epoch = epoch
        return epoch

    async def ping(self) -> None:
        """Ask the database whether it is there, and remember when it was."""
        async with self._database.reading() as connection:
            await connection.execute(select(FENCE.c.epoch))
        self._last_ok = time.monotonic()

    async def prove(self, *, now: datetime) -> None:
        """Write as the leader, and change nothing but the time of it: whoever can do that leads, and the store takes writes."""
        async with self._fenced() as connection:
            await connection.execute(update(FENCE).values(at=now))
        self._last_ok = time.monotonic()

    async def confirm(self) -> None:
        """Ask, as the leader, whether it still leads: written is nothing, so that a disk that is slow to keep things does not matter."""
        with self._telling():
            async with self._database.writing() as connection:
                await connection.run_sync(self._look)
                seen = time.monotonic()
                await connection.rollback()
        self._proves(seen)
        self._last_ok = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the database last answered `ping` or `confirm`, or took a `save`."""
        return time.monotonic() - self._last_ok

    @property
    def proof_age(self) -> float:
        """Seconds since this coordinator led for certain: it held the fence, in a transaction that came to its end."""
        return time.monotonic() - self._proven

    async def load_open(self, cluster: str = "", *, since: datetime | None = None) -> Loaded:
        """Give every open incident with its present or last run, oldest first; rows that cannot be read are set aside by name.

        ``since``: and the displacements since then.
        """
        later = RUNS.alias("later")
        newest = select(later.c.id).where(later.c.incident == INCIDENTS.c.id).order_by(later.c.started.desc(), later.c.id.desc())
        last = newest.limit(1).correlate(INCIDENTS).scalar_subquery()
        wanted = select(INCIDENTS.c.id, INCIDENTS.c.body, RUNS.c.body.label("run")).where(INCIDENTS.c.open)
        if cluster:
            wanted = wanted.where(INCIDENTS.c.cluster == cluster)
        joined = wanted.outerjoin_from(INCIDENTS, RUNS, RUNS.c.id == last).order_by(INCIDENTS.c.opened, INCIDENTS.c.id)
        async with self._database.reading() as connection:
            rows = (await connection.execute(joined)).all()
            gone = () if since is None else await self.displacements.since(connection, since)
        cases: list[Case] = []
        displaced, aside = read(gone)
        for row in rows:
            try:
                cases.append(Case(record.incident(row.body), None if row.run is None else record.run(row.run)))
            except record.BadRecord as error:
                aside[row.id] = str(error)
        return Loaded(tuple(cases), aside, displaced)

    async def load(self, incident: str) -> Case | None:
        """Give one incident, open or closed. Raises `record.BadRecord` where its row cannot be read."""
        async with self._database.reading() as connection:
            body = (await connection.execute(select(INCIDENTS.c.body).where(INCIDENTS.c.id == incident))).scalar_one_or_none()
            runs = select(RUNS.c.body).where(RUNS.c.incident == incident).order_by(RUNS.c.started.desc(), RUNS.c.id.desc())
            run = (await connection.execute(runs.limit(1))).scalar_one_or_none()
        return None if body is None else Case(record.incident(body), None if run is None else record.run(run))

    async def save(self, *turns: Turn, now: datetime, pagers: Sequence[str] = ()) -> tuple[int, ...]:
        """Write turns in one transaction: all or nothing. ``pagers``: each page goes to each of them.

        Gives the sequence numbers of the journal's new lines, in order.
        """
        rows = await rows_of(turns, epoch=self._epoch, pagers=pagers, now=now)
        numbers = await self._write(lambda connection: self._statements.write(connection, rows))
        self._last_ok = time.monotonic()
        return numbers

    async def tell(self, page: Page, *, about: str, pagers: Sequence[str], now: datetime) -> None:
        """Put a page that belongs to no incident into the outbox."""
        rows = outbox_rows([page], pagers, cluster="", incident=about, now=now)
        async with self._fenced() as connection:
            if rows:
                await connection.execute(upsert(self._database.dialect, self.outbox.table, key=("id",), replace=False), rows)

    async def append(self, cluster: str, *entries: Entry) -> tuple[int, ...]:
        """Add lines to the journal that belong to no turn (pause, resume)."""
        rows = journal_rows(cluster, entries, self._epoch)
        return await self._write(lambda connection: self._statements.tell(connection, rows))

    async def started(self, since: datetime) -> tuple[Started, ...]:
        """Give the runs that harm and were begun or ended since then, for rate budgets and cool-downs: a repair takes days.

        A row that cannot be read counts as one that harms, without its hosts.
        """
        async with self._database.reading() as connection:
            late = or_(RUNS.c.started >= since, RUNS.c.ended >= since)
            rows = (await connection.execute(select(RUNS).where(late).order_by(RUNS.c.started))).all()
        found = []
        for row in rows:
            try:
                run = record.run(row.body)
            except record.BadRecord:
                found.append(Started(row.started, row.incident, row.cluster, row.playbook, frozenset(), row.ended))
                continue
            if run.harms:
                found.append(Started.of(run))
        return tuple(found)

    async def setting(self, name: str) -> Any | None:  # noqa: ANN401 (any JSON value)
        """Give a setting such as ``paused``, or None."""
        async with self._database.reading() as connection:
            found = (await connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.name == name))).scalar_one_or_none()
        return None if found is None else json.loads(found)

    async def set_setting(self, name: str, value: object, *, who: str, now: datetime) -> None:
        """Keep a setting (JSON)."""
        async with self._fenced() as connection:
            row = {"name": name, "value": record.text(value), "who": who, "at": now}
            await connection.execute(upsert(self._database.dialect, SETTINGS, key=("name",)), row)

    async def audit(self, *, who: str, what: str, about: str, reason: str, now: datetime) -> None:
        """Write down who asked for what; also what was refused."""
        async with self._fenced() as connection:
            await connection.execute(AUDIT.insert().values(at=now, who=who, what=what, about=about, reason=reason))

    async def forget(self, *, older_than: timedelta, now: datetime) -> int:
        """Drop closed incidents and all that belongs to them, and processed alerts, past their keep; give how many incidents."""
        edge = now - older_than
        old = select(INCIDENTS.c.id).where(INCIDENTS.c.closed < edge)
        async with self._fenced() as connection:
            for table in (FINDINGS, RUNS, JOURNAL, DECISIONS, INTENTS):
                await connection.execute(delete(table).where(table.c.incident.in_(old)))
            await self.outbox.forget(connection, edge)
            await self.inbox.forget(connection, edge)
            await self.displacements.forget(connection, edge)
            return int((await connection.execute(delete(INCIDENTS).where(INCIDENTS.c.closed < edge))).rowcount)

    @asynccontextmanager
    async def _fenced(self) -> AsyncIterator[AsyncConnection]:
        """Give a transaction that only the present leader gets."""
        with self._telling():
            async with self._database.writing() as connection:
                await connection.run_sync(self._claim)
                seen = time.monotonic()
                yield connection
        self._proves(seen)

    async def _write(self, work: Callable[[Connection], Result]) -> Result:
        """Do ``work`` in such a transaction, all in one go."""

        def claimed(connection: Connection) -> tuple[float, Result]:
            self._claim(connection)
            return time.monotonic(), work(connection)

        with self._telling():
            seen, result = await self._database.write(claimed)
        self._proves(seen)
        return result

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell of it where another leads by now; who never led was not unseated."""
        try:
            yield
        except Unseated as error:
            if self._epoch > 0:
                self.unseated(error)
            raise

    def _claim(self, connection: Connection) -> None:
        """Lock the fence, so that leaders' writes are one after another. Raises `Unseated` where another leads by now."""
        mine = update(FENCE).where(FENCE.c.epoch == self._epoch, FENCE.c.epoch > 0).values(holder=FENCE.c.holder)
        if connection.execute(mine).rowcount != 1:
            self._look(connection)

    def _look(self, connection: Connection) -> None:
        """Lock the fence, and look who leads. Raises `Unseated` where that is another by now."""
        leader = connection.execute(select(FENCE.c.epoch, FENCE.c.holder).with_for_update()).one()
        if not 0 < self._epoch == leader.epoch:
            raise Unseated(f"epoch {self._epoch} is over: {leader.holder or 'nobody'} leads in epoch {leader.epoch}")

    def _proves(self, seen: float) -> None:
        """Note when the fence was held, once that transaction is over: nobody else could begin an epoch in between."""
        self._proven = max(self._proven, seen)


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """Open, migrate and give the store at ``url`` (``sqlite:///PATH``, ``postgresql://…``); closed at the end.

    Raises:
        Misconfigured: no such URL, or a newer sliceward wrote it.
        Retry: the database does not answer.
    """
    async with database(url) as opened:
        yield Store(opened)
