"""Insert or replace, in the two dialects that we speak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Table


def upsert(dialect: str, table: Table, *, key: tuple[str, ...], replace: bool = True) -> postgresql.Insert | sqlite.Insert:
    """Give a statement that inserts the rows of its execution, each with every column but one that counts by itself.

    Where ``key`` exists it replaces the row, or leaves it with ``replace`` False.
    """
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    if not replace:
        return insert.on_conflict_do_nothing(index_elements=list(key))
    return insert.on_conflict_do_update(
        index_elements=list(key),
        set_={column.name: insert.excluded[column.name] for column in table.columns if column.name not in key},
    )
