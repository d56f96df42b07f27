"""Alerts that webhooks delivered: stored before the sender hears yes, told apart by their dedup key, read in order.

Any coordinator may take an alert in, so `Inbox.put` alone of all writes is not fenced: it adds what is true whoever leads.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, or_, select, update

from sliceward.daemons.store.tables import INBOX
from sliceward.daemons.store.upsert import upsert
from sliceward.daemons.store.values import Alert, Put, Received
from sliceward.daemons.turns import in_turns
from sliceward.playbooks import record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from sliceward.daemons.store.connect import Database

_CHUNK = 50
"""Rows of one INSERT: to make the statement takes a quarter of a millisecond a row, in which the event loop stands still."""


FIRES_ANEW = timedelta(minutes=5)
"""What is said to fire so long after it was resolved, with the same begin, fires once more: Alertmanager calls an alert resolved of which
Prometheus told it nothing for a while, and tries to deliver a word for one ``group_interval`` (5 minutes) at most."""


def dedup_key(alert: Alert, *, after: int = 0) -> str:
    """Give the same key for the same state of the same alert, however often a sender repeats it.

    ``after``: number of the word by which it was resolved before it fired anew; 0 where it was not.
    """
    ends = "" if alert.ends_at is None or alert.status == "firing" else alert.ends_at.isoformat()
    said = (alert.receiver, alert.fingerprint, alert.starts_at.isoformat(), alert.status, ends, *([str(after)] if after else []))
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


_NEWEST = select(func.max(INBOX.c.seq)).group_by(INBOX.c.receiver, INBOX.c.fingerprint)
"""The last word of each alert."""


class Inbox:
    """The alert inbox."""

    def __init__(self, database: Database, fenced: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> None:
        """``fenced`` gives the leader's transaction."""
        self._database = database
        self._fenced = fenced

    async def put(self, alerts: Sequence[Alert], *, now: datetime) -> Put:
        """Store all alerts of a delivery in one transaction; on disk when this returns.

        One that fires and is sent again is no second row, but is as fresh as its last sending.
        """
        accepted = 0
        async with self._database.writing() as connection:
            for begin in range(0, len(alerts), _CHUNK):
                said = {dedup_key(alert): alert for alert in alerts[begin : begin + _CHUNK]}
                new = await self._insert(connection, [_row(alert, now) for alert in said.values()])
                accepted += len(new)
                known = [alert for key, alert in said.items() if key not in new and alert.status == "firing"]
                if known:
                    accepted += await self._fire_again(connection, known, now)
        return Put(accepted, len(alerts) - accepted)

    async def _insert(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> set[str]:
        """Store rows; gives the keys of those that were not there."""
        insert = upsert(self._database.dialect, INBOX, key=("dedup",), replace=False)
        return set((await connection.execute(insert.returning(INBOX.c.dedup), rows)).scalars())

    async def _fire_again(self, connection: AsyncConnection, alerts: Sequence[Alert], now: datetime) -> int:
        """Note that these fire still, or that they fire anew after they were resolved; gives how many do that."""
        receivers, fingerprints = {alert.receiver for alert in alerts}, {alert.fingerprint for alert in alerts}
        those = INBOX.c.receiver.in_(receivers) & INBOX.c.fingerprint.in_(fingerprints)
        newest = select(func.max(INBOX.c.seq)).where(those).group_by(INBOX.c.receiver, INBOX.c.fingerprint)
        last = {
            (row.receiver, row.fingerprint): row for row in await connection.execute(select(INBOX).where(INBOX.c.seq.in_(newest)))
        }
        still, anew = [], []
        for alert in alerts:
            word = last[alert.receiver, alert.fingerprint]
            if word.status == "firing":
                still.append(word.seq)
            elif word.starts_at == alert.starts_at and now - word.received >= FIRES_ANEW:
                anew.append(_row(alert, now) | {"dedup": dedup_key(alert, after=word.seq)})
        fresh = update(INBOX).where(INBOX.c.seq.in_(still), INBOX.c.received < now)
        await connection.execute(fresh.values(received=now))
        return len(await self._insert(connection, anew)) if anew else 0

    async def take(self, limit: int = 500) -> tuple[tuple[Received, ...], Mapping[str, str]]:
        """Give alerts that nobody processed, oldest first, and rows that cannot be read: name -> why."""
        return await self._read(select(INBOX).where(INBOX.c.processed.is_(None)).order_by(INBOX.c.seq).limit(limit))

    async def done(self, numbers: Sequence[int], *, now: datetime, why: str = "") -> None:
        """Mark as processed; ``why`` says what became of them where that is not plain (unmapped, set aside)."""
        async with self._fenced() as connection:
            await connection.execute(update(INBOX).where(INBOX.c.seq.in_(numbers)).values(processed=now, why=why))

    def present(self, *, since: datetime) -> AsyncGenerator[Received]:
        """Give the last word of every alert, one by one: all that fire, and those that were resolved after ``since``.

        None is held here: thousands at once are what each garbage collection looks through. It holds a connection: who reads no
        further closes it. What cannot be read is left out, and so is that from which nothing follows (`done` said why).
        """
        shown = or_(INBOX.c.status == "firing", INBOX.c.received >= since)
        return self._last_words(INBOX.c.why == "", shown)

    def idle(self) -> AsyncGenerator[Received]:
        """Give the last words that fire and from which nothing follows: once the rules are others, something may."""
        return self._last_words(INBOX.c.why != "", INBOX.c.status == "firing", INBOX.c.processed.is_not(None))

    async def _last_words(self, *which: ColumnElement[bool]) -> AsyncGenerator[Received]:
        wanted = select(INBOX).where(INBOX.c.seq.in_(_NEWEST), *which)
        async with self._database.reading() as connection:
            async for row in in_turns(await connection.execute(wanted.order_by(INBOX.c.seq))):
                try:
                    received = _received(row)
                except (ValueError, TypeError):
                    continue
                yield received

    async def forget(self, connection: AsyncConnection, edge: datetime) -> None:
        """Drop what was processed, and last sent, before ``edge``, but never the last word of an alert that fires and means something."""
        last = INBOX.c.seq.in_(_NEWEST) & (INBOX.c.status == "firing") & (INBOX.c.why == "")
        await connection.execute(delete(INBOX).where(INBOX.c.processed < edge, INBOX.c.received < edge, ~last))

    async def _read(self, wanted: Any) -> tuple[tuple[Received, ...], Mapping[str, str]]:  # noqa: ANN401 (a statement)
        found: list[Received] = []
        aside: dict[str, str] = {}
        async with self._database.reading() as connection:
            # Its rows are here, and each is made of its columns when it is asked for.
            async for row in in_turns(await connection.execute(wanted)):
                try:
                    found.append(_received(row))
                except (ValueError, TypeError) as error:
                    aside[f"alert {row.seq}"] = f"{type(error).__name__}: {error}"
        return tuple(found), aside


def _row(alert: Alert, now: datetime) -> dict[str, Any]:
    return {
        "dedup": dedup_key(alert),
        "receiver": alert.receiver,
        "fingerprint": alert.fingerprint,
        "cluster": alert.cluster,
        "status": alert.status,
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        "received": now,
        "why": "",
        "body": record.text(alert.body),
    }


def _received(row: Row[Any]) -> Received:
    body = json.loads(row.body)
    if not isinstance(body, dict):
        raise TypeError(f"body of the alert is {type(body).__name__}, not a mapping")
    return Received(
        row.seq,
        row.received,
        Alert(row.receiver, row.fingerprint, row.status, row.starts_at, row.ends_at, body, row.cluster),
    )
