"""Displacements: which gang had to go for which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

_TIME = sa.String(27)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "displacements",
        sa.Column("gang", sa.Text(), primary_key=True),
        sa.Column("at", _TIME, primary_key=True),
        sa.Column("by", sa.Text(), nullable=False),
    )
    op.create_index("displacements_at", "displacements", ["at"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("displacements")
