"""Insert or replace, in the two dialects that we speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Table


def upsert(
    dialect: str,
    table: Table,
    rows: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    key: tuple[str, ...],
    replace: bool = True,
) -> postgresql.Insert | sqlite.Insert:
    """Give a statement that inserts ``rows``; where ``key`` exists it replaces the row, or leaves it with ``replace`` False."""
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table).values(rows)
    if not replace:
        return insert.on_conflict_do_nothing(index_elements=list(key))
    names = (rows if isinstance(rows, Mapping) else rows[0]).keys()
    return insert.on_conflict_do_update(
        index_elements=list(key), set_={name: insert.excluded[name] for name in names if name not in key}
    )


def upsert_many(dialect: str, table: Table, *, key: tuple[str, ...], replace: bool = True) -> postgresql.Insert | sqlite.Insert:
    """Give the same statement for rows that come with its execution, each with every column but one that counts by itself."""
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    if not replace:
        return insert.on_conflict_do_nothing(index_elements=list(key))
    return insert.on_conflict_do_update(
        index_elements=list(key),
        set_={column.name: insert.excluded[column.name] for column in table.columns if column.name not in key},
    )
