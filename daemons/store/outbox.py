"""Pages on their way out: one row per page and pager, in order per incident, tried until sent or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update

from sliceward.daemons.store.tables import OUTBOX
from sliceward.daemons.store.values import Delivery, Waiting
from sliceward.playbooks import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from sliceward.daemons.store.connect import Database
    from sliceward.remediations.page import Page


def outbox_rows(
    pages: Sequence[Page], pagers: Sequence[str], *, cluster: str, incident: str, now: datetime
) -> list[dict[str, Any]]:
    """Give one row per page and pager. ``incident``: what the pages are about; those about one thing go out in order."""
    return [
        {
            "id": f"{page.delivery_id}:{pager}",
            "delivery_id": page.delivery_id,
            "dedup": page.dedup_key,
            "event": page.event.value,
            "cluster": cluster,
            "incident": incident,
            "pager": pager,
            "state": "pending",
            "attempts": 0,
            "next_try": now,
            "made": now,
            "why": "",
            "body": record.text(page),
        }
        for page in pages
        for pager in pagers
    ]


class Outbox:
    """The page outbox. Written by the leader only."""

    table = OUTBOX

    def __init__(self, database: Database, fenced: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> None:
        """``fenced`` gives the leader's transaction."""
        self._database = database
        self._fenced = fenced

    async def due(self, now: datetime, *, limit: int = 100) -> tuple[tuple[Delivery, ...], Mapping[str, str]]:
        """Give deliveries to try now, oldest first, at most ``limit`` for each pager, and rows that cannot be read: name -> why.

        A resolve never overtakes its trigger: per incident and pager only the oldest pending row is given.
        """
        earlier = OUTBOX.alias("earlier")
        waiting = select(earlier.c.seq).where(
            earlier.c.incident == OUTBOX.c.incident,
            earlier.c.pager == OUTBOX.c.pager,
            earlier.c.state == "pending",
            earlier.c.seq < OUTBOX.c.seq,
        )
        place = func.row_number().over(partition_by=OUTBOX.c.pager, order_by=OUTBOX.c.seq).label("place")
        pending = select(OUTBOX, place).where(OUTBOX.c.state == "pending", OUTBOX.c.next_try <= now, ~waiting.exists())
        first = pending.subquery()
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(first).where(first.c.place <= limit).order_by(first.c.seq))).all()
        found: list[Delivery] = []
        aside: dict[str, str] = {}
        for row in rows:
            try:
                page = record.page(row.body)
            except record.BadRecord as error:
                aside[f"page {row.id}"] = str(error)
                continue
            delivery = Delivery(
                row.id, row.cluster, row.incident, row.pager, page, row.state, row.attempts, row.next_try, row.why
            )
            found.append(delivery)
        return tuple(found), aside

    async def waiting(self) -> Mapping[str, Waiting]:
        """Give for each pager how much waits for it."""
        oldest = func.min(OUTBOX.c.made)
        wanted = select(OUTBOX.c.pager, func.count(), oldest).where(OUTBOX.c.state == "pending").group_by(OUTBOX.c.pager)
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted)).all()
        return {pager: Waiting(count, made) for pager, count, made in rows}

    async def sent(self, delivery: str, *, now: datetime) -> None:
        """Mark as delivered."""
        await self._mark(delivery, state="sent", sent=now, why="")

    async def again(self, delivery: str, *, at: datetime, why: str) -> None:
        """Try again then."""
        await self._mark(delivery, state="pending", next_try=at, why=why)

    async def held(self, deliveries: Sequence[str], *, why: str) -> None:
        """Say why these wait though they are due; that is no try."""
        async with self._fenced() as connection:
            waiting = OUTBOX.c.id.in_(deliveries), OUTBOX.c.state == "pending"
            await connection.execute(update(OUTBOX).where(*waiting).values(why=why))

    async def failed(self, delivery: str, *, why: str) -> None:
        """Give up: the receiver said no, or the row cannot be read. It stays to be shown."""
        await self._mark(delivery, state="failed", why=why)

    async def forget(self, connection: AsyncConnection, edge: datetime) -> None:
        """Drop what was sent before ``edge``."""
        await connection.execute(delete(OUTBOX).where(OUTBOX.c.state != "pending", OUTBOX.c.made < edge))

    async def _mark(self, delivery: str, **values: object) -> None:
        async with self._fenced() as connection:
            wanted = update(OUTBOX).where(OUTBOX.c.id == delivery)
            await connection.execute(wanted.values(attempts=OUTBOX.c.attempts + 1, **values))
