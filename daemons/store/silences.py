"""Silences as people made them. Written by the leader only, and never forgotten: they say why something was left alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select, update

from sliceward.daemons.store.tables import SILENCES
from sliceward.daemons.store.values import MOST_ROWS
from sliceward.playbooks import record
from sliceward.playbooks.silences import KINDS, Matches, Silence, Stand
from sliceward.topology.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from sliceward.daemons.store.connect import Database


class Silences:
    """The table of silences."""

    def __init__(self, database: Database, fenced: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> None:
        """``fenced`` gives the leader's transaction."""
        self._database = database
        self._fenced = fenced

    async def add(self, silence: Silence) -> None:
        """Keep a new one."""
        names = ("id", "begins", "ends", "made", "by", "why", "ended", "ended_by", "ended_why")
        row = {name: getattr(silence, name) for name in names}
        async with self._fenced() as connection:
            await connection.execute(SILENCES.insert().values(**row, body=record.text(silence.matches)))

    async def end(self, silence: Silence) -> None:
        """Keep when it was ended, by whom and why."""
        wanted = update(SILENCES).where(SILENCES.c.id == silence.id, SILENCES.c.ended.is_(None))
        async with self._fenced() as connection:
            await connection.execute(wanted.values(ended=silence.ended, ended_by=silence.ended_by, ended_why=silence.ended_why))

    async def present(self, now: datetime) -> tuple[tuple[Silence, ...], Mapping[str, str]]:
        """Give those that are not over, and rows that cannot be read: name -> why."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(SILENCES).where(~_over(now)).order_by(SILENCES.c.seq))).all()
        found: list[Silence] = []
        aside: dict[str, str] = {}
        for row in rows:
            try:
                found.append(_silence(row))
            except record.BadRecord as error:
                aside[f"silence {row.id}"] = str(error)
        return tuple(found), aside

    async def one(self, name: str) -> Silence | None:
        """Give one. Raises `record.BadRecord` where its row cannot be read."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(SILENCES).where(SILENCES.c.id == name))).one_or_none()
        return None if row is None else _silence(row)

    async def page(
        self, filters: Mapping[str, str], *, now: datetime, after: int = 0, limit: int = 100
    ) -> tuple[tuple[Silence, ...], str | None]:
        """Give silences in the order in which they were made, and the cursor of the page after them.

        Filters are ``state`` (pending, active, ended), ``id`` and ``by``. One that cannot be read covers nothing and says so.
        """
        if not 1 <= limit <= MOST_ROWS:
            raise Refused(f"limit {limit} is not between 1 and {MOST_ROWS}")
        wanted = select(SILENCES).where(SILENCES.c.seq > after, *_filtered(filters, now)).order_by(SILENCES.c.seq)
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted.limit(limit + 1))).all()
        following = str(rows[limit - 1].seq) if len(rows) > limit else None
        return tuple(_shown(row) for row in rows[:limit]), following


def _over(now: datetime) -> ColumnElement[bool]:
    return or_(SILENCES.c.ends <= now, SILENCES.c.ended.is_not(None))


def _filtered(filters: Mapping[str, str], now: datetime) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for name, value in filters.items():
        match name, value:
            case (("id" | "by"), _):
                found.append(SILENCES.c[name] == value)
            case "state", Stand.ENDED:
                found.append(_over(now))
            case "state", Stand.ACTIVE:
                found += [~_over(now), SILENCES.c.begins <= now]
            case "state", Stand.PENDING:
                found += [~_over(now), SILENCES.c.begins > now]
            case "state", _:
                raise Refused(f"state {value!r} is none of {', '.join(Stand)}")
            case _:
                raise Refused(f"cannot filter by {name!r}; possible are by, id, state")
    return found


def _silence(row: Row[Any], matches: Matches | None = None) -> Silence:
    return Silence(
        id=row.id,
        matches=_matches(row) if matches is None else matches,
        begins=row.begins,
        ends=row.ends,
        by=row.by,
        why=row.why,
        made=row.made,
        ended=row.ended,
        ended_by=row.ended_by,
        ended_why=row.ended_why,
    )


def _matches(row: Row[Any]) -> Matches:
    try:
        body = json.loads(row.body)
        return Matches(**{kind: tuple(str(pattern) for pattern in body[kind]) for kind in KINDS})
    except (ValueError, TypeError, KeyError) as error:
        raise record.BadRecord(f"silence {row.id}: {type(error).__name__}: {error}") from error


def _shown(row: Row[Any]) -> Silence:
    try:
        return _silence(row)
    except record.BadRecord as error:
        shown = _silence(row, Matches())
        return Silence(shown.id, shown.matches, shown.begins, shown.ends, shown.by, f"{shown.why} ({error})", shown.made)
