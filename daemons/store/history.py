"""Reads for the HTTP API and `explain`: rows as JSON values, filtered by equality, page by page, at most 500 at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from sliceward.daemons.store.tables import AUDIT, DECISIONS, INBOX, INCIDENTS, INTENTS, JOURNAL, OUTBOX
from sliceward.daemons.store.values import MOST_ROWS, Intent, Rows
from sliceward.daemons.turns import in_turns
from sliceward.playbooks import record
from sliceward.topology.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Row, Select, Table

    from sliceward.daemons.store.connect import Database

FEW = 20
"""Incidents that are read in one turn: each takes some tenths of a millisecond."""
_FILTERS: dict[str, frozenset[str]] = {
    "incidents": frozenset({"cluster", "state", "phase", "how", "kind", "severity", "part", "gang", "playbook", "needs"}),
    "journal": frozenset({"cluster", "incident", "kind"}),
    "outbox": frozenset({"cluster", "incident", "pager", "state", "event"}),
    "inbox": frozenset({"cluster", "receiver", "status", "fingerprint"}),
    "audit": frozenset({"who", "what", "about"}),
}


class History:
    """What was: incidents, story, decisions, intents, pages, alerts, audit."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def incidents(self, filters: Mapping[str, str] | None = None, *, after: str = "", limit: int = 100) -> Rows:
        """Give incidents as docs/api.md shows them, newest first. Filter ``state`` is ``open`` or ``closed``."""
        filters = dict(filters or {})
        state = filters.pop("state", "")
        wanted = _filtered(INCIDENTS, filters)
        if state:
            wanted = wanted.where(INCIDENTS.c.open.is_(state == "open"))
        if after:
            opened, _, name = after.partition("|")
            at = _time(opened)
            wanted = wanted.where(or_(INCIDENTS.c.opened < at, and_(INCIDENTS.c.opened == at, INCIDENTS.c.id < name)))
        rows = await self._rows(wanted.order_by(INCIDENTS.c.opened.desc(), INCIDENTS.c.id.desc()), limit)
        last = rows[limit - 1] if len(rows) > limit else None
        cursor = None if last is None else f"{last.opened.isoformat()}|{last.id}"
        return Rows(tuple([_incident(row) async for row in in_turns(rows[:limit], many=FEW)]), cursor)

    async def entries(self, filters: Mapping[str, str] | None = None, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        """Give lines of the story after a sequence number, in order."""
        return await self._numbered(JOURNAL, filters, after, limit)

    async def last_seq(self) -> int:
        """Give the sequence number of the newest line of the story, 0 where there is none."""
        async with self._database.reading() as connection:
            newest = select(JOURNAL.c.seq).order_by(JOURNAL.c.seq.desc()).limit(1)
            return int((await connection.execute(newest)).scalar_one_or_none() or 0)

    async def decisions(self, incident: str, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        """Give the decisions about an incident, in order, each with its ``seq``."""
        wanted = select(DECISIONS).where(DECISIONS.c.incident == incident, DECISIONS.c.seq > after)
        rows = await self._rows(wanted.order_by(DECISIONS.c.seq), limit)
        items = [{"seq": row.seq} | json.loads(row.body) async for row in in_turns(rows[:limit])]
        return Rows(tuple(items), str(rows[limit - 1].seq) if len(rows) > limit else None)

    async def intents(self, incident: str) -> tuple[Intent, ...]:
        """Give what was to be called for an incident, in order, each with its result where known."""
        async with self._database.reading() as connection:
            wanted = select(INTENTS).where(INTENTS.c.incident == incident).order_by(INTENTS.c.at, INTENTS.c.operation)
            rows = (await connection.execute(wanted)).mappings().all()
        return tuple(Intent(**row) for row in rows)

    async def pages(self, filters: Mapping[str, str] | None = None, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        """Give pages, one row per pager, in order."""
        return await self._numbered(OUTBOX, filters, after, limit)

    async def alerts(self, filters: Mapping[str, str] | None = None, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        """Give alerts as they came in, in order."""
        return await self._numbered(INBOX, filters, after, limit)

    async def audit(self, filters: Mapping[str, str] | None = None, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        """Give who asked for what, in order."""
        return await self._numbered(AUDIT, filters, after, limit)

    async def _numbered(self, table: Table, filters: Mapping[str, str] | None, after: int, limit: int) -> Rows:
        wanted = _filtered(table, dict(filters or {})).where(table.c.seq > after).order_by(table.c.seq)
        rows = await self._rows(wanted, limit)
        items = [_item(row) async for row in in_turns(rows[:limit])]
        return Rows(tuple(items), str(rows[limit - 1].seq) if len(rows) > limit else None)

    async def _rows(self, wanted: Select[Any], limit: int) -> list[Row[Any]]:
        """Give one row more than asked for, to know whether there is a next page."""
        if not 1 <= limit <= MOST_ROWS:
            raise Refused(f"limit {limit} is not between 1 and {MOST_ROWS}")
        async with self._database.reading() as connection:
            return list((await connection.execute(wanted.limit(limit + 1))).all())


def _filtered(table: Table, filters: Mapping[str, str]) -> Select[Any]:
    wanted = select(table)
    for name, value in filters.items():
        if name not in _FILTERS[table.name]:
            raise Refused(f"cannot filter by {name!r}; possible are {', '.join(sorted(_FILTERS[table.name]))}")
        wanted = wanted.where(table.c[name] == value)
    return wanted


def _incident(row: Row[Any]) -> Mapping[str, Any]:
    """Give the row as the API shows it; a row that cannot be read is shown with what its columns say."""
    try:
        return record.incident_row(record.incident(row.body))
    except record.BadRecord as error:
        shown = {name: record.plain(value) for name, value in row._mapping.items() if name not in ("body", "open", "epoch")}  # noqa: SLF001 (its documented name)
        return shown | {
            "state": "open" if row.open else "closed",
            "text": str(error),
            "findings": [],
            "domain": [],
            "set_aside": True,
        }


def _item(row: Row[Any]) -> Mapping[str, Any]:
    item = {name: record.plain(value) for name, value in row._mapping.items() if name not in ("epoch", "body", "dedup")}  # noqa: SLF001 (its documented name)
    if "facts" in item:
        item["facts"] = json.loads(item["facts"])
    if "body" in row._mapping:  # noqa: SLF001 (as above)
        item |= {"body": json.loads(row.body)}
    return item


def _time(text: str) -> datetime:
    from_text = record.when(text)
    if from_text is None:
        raise Refused(f"cursor {text!r} is not one of ours")
    return from_text
