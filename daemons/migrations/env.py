"""Entry of Alembic: runs inside the transaction that the store opened, so a failed step leaves nothing behind."""

from __future__ import annotations

from alembic import context

from sliceward.daemons.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table="schema_version",
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
