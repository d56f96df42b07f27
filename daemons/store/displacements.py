"""Which gang had to go for which: remembered over a restart, or the one that went would make the other go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from sliceward.daemons.store.tables import DISPLACEMENTS
from sliceward.daemons.store.upsert import upsert
from sliceward.scheduling.rights import Displaced
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import GangId, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from sliceward.daemons.store.connect import Database


class Displacements:
    """The table of displacements."""

    def __init__(self, database: Database, fenced: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> None:
        """``fenced`` gives the leader's transaction."""
        self._database = database
        self._fenced = fenced

    async def add(self, *those: Displaced) -> None:
        """Keep new ones; one that is known stays as it is."""
        rows = [{"gang": str(each.gang), "at": each.at, "by": str(each.by)} for each in those]
        async with self._fenced() as connection:
            if rows:
                await connection.execute(upsert(self._database.dialect, DISPLACEMENTS, key=("gang", "at"), replace=False), rows)

    async def since(self, connection: AsyncConnection, edge: datetime) -> Sequence[Row[Any]]:
        """Give the rows since then, the oldest first."""
        wanted = select(DISPLACEMENTS).where(DISPLACEMENTS.c.at >= edge).order_by(DISPLACEMENTS.c.at, DISPLACEMENTS.c.gang)
        return (await connection.execute(wanted)).all()

    async def forget(self, connection: AsyncConnection, edge: datetime) -> None:
        """Drop those of before."""
        await connection.execute(delete(DISPLACEMENTS).where(DISPLACEMENTS.c.at < edge))


def read(rows: Sequence[Row[Any]]) -> tuple[tuple[Displaced, ...], dict[str, str]]:
    """Give what rows say, and those that cannot be read: name -> why."""
    found: list[Displaced] = []
    aside: dict[str, str] = {}
    for row in rows:
        try:
            found.append(Displaced(_gang(row.gang), _gang(row.by), row.at))
        except Misconfigured as error:
            aside[f"displacement of {row.gang}"] = str(error)
    return tuple(found), aside


def _gang(text: str) -> GangId:
    found = parse(text)
    if not isinstance(found, GangId):
        raise Misconfigured(repr(text), "is no gang", "Delete the row")
    return found
