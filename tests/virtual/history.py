"""Reads of the store in memory for those who look back, with the filters and pages of the real ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sliceward.daemons.store.values import MOST_ROWS, Intent, Rows
from sliceward.playbooks import record
from sliceward.topology.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.virtual.store import MemoryStore

Row = dict[str, Any]
FILTERS = {
    "incidents": {"cluster", "state", "phase", "how", "kind", "severity", "part", "gang", "playbook", "needs"},
    "journal": {"cluster", "incident", "kind"},
    "outbox": {"cluster", "incident", "pager", "state", "event"},
    "inbox": {"cluster", "receiver", "status", "fingerprint"},
    "audit": {"who", "what", "about"},
}


class MemoryHistory:
    """What was."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def incidents(self, filters: Mapping[str, str] | None = None, *, after: str = "", limit: int = 100) -> Rows:
        rows = await self._store.do(lambda: [record.incident_row(one) for one in self._store.records.incidents.values()])
        rows.sort(key=lambda row: (row["opened"], row["id"]), reverse=True)
        if after:
            opened, _, name = after.partition("|")
            if record.when(opened) is None:
                raise Refused(f"cursor {opened!r} is not one of ours")
            rows = [row for row in rows if (row["opened"], row["id"]) < (opened, name)]
        found = _chosen("incidents", rows, filters, limit)
        last = found[limit - 1] if len(found) > limit else None
        return Rows(tuple(found[:limit]), None if last is None else f"{last['opened']}|{last['id']}")

    async def entries(self, filters: Mapping[str, str] | None = None, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        rows = [{**row, "facts": json.loads(row["facts"])} for row in self._store.records.journal]
        return await self._numbered("journal", rows, filters, after, limit)

    async def last_seq(self) -> int:
        return await self._store.do(lambda: max((row["seq"] for row in self._store.records.journal), default=0))

    async def decisions(self, incident: str, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        known = enumerate(self._store.records.decisions, start=1)
        rows = [{"seq": seq} | record.plain(one) for seq, (about, one) in known if about == incident and seq > after]
        return Rows(tuple(rows[:limit]), str(rows[limit - 1]["seq"]) if len(rows) > limit else None)

    async def intents(self, incident: str) -> tuple[Intent, ...]:
        known = [one for one in self._store.records.intents.values() if one.incident == incident]
        return tuple(sorted(known, key=lambda one: (one.at, one.operation)))

    async def pages(self, filters: Mapping[str, str] | None = None, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        rows = []
        for seq, row in enumerate(self._store.records.outbox.values(), start=1):
            one = row["delivery"]
            shown = {"seq": seq, "id": one.id, "delivery_id": one.page.delivery_id, "event": one.page.event.value}
            shown |= {"cluster": one.cluster, "incident": one.incident, "pager": one.pager, "state": one.state, "why": one.why}
            rows.append(shown | {"body": record.plain(one.page)})
        return await self._numbered("outbox", rows, filters, after, limit)

    async def alerts(self, filters: Mapping[str, str] | None = None, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        rows = [
            {"seq": row["seq"], "why": row["why"], "received": record.plain(row["received"]), **record.plain(row["alert"])}
            for row in self._store.records.inbox
        ]
        return await self._numbered("inbox", rows, filters, after, limit)

    async def audit(self, filters: Mapping[str, str] | None = None, *, after: int = 0, limit: int = MOST_ROWS) -> Rows:
        return await self._numbered("audit", self._store.records.audit, filters, after, limit)

    async def _numbered(self, table: str, rows: Iterable[Row], filters: Mapping[str, str] | None, after: int, limit: int) -> Rows:
        await self._store.do(lambda: None)
        found = _chosen(table, [row for row in rows if row["seq"] > after], filters, limit)
        return Rows(tuple(found[:limit]), str(found[limit - 1]["seq"]) if len(found) > limit else None)


def _chosen(table: str, rows: list[Row], filters: Mapping[str, str] | None, limit: int) -> list[Row]:
    if not 1 <= limit <= MOST_ROWS:
        raise Refused(f"limit {limit} is not between 1 and {MOST_ROWS}")
    for name, value in (filters or {}).items():
        if name not in FILTERS[table]:
            raise Refused(f"cannot filter by {name!r}; possible are {', '.join(sorted(FILTERS[table]))}")
        rows = [row for row in rows if row[name] == value]
    return rows
