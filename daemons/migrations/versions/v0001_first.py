"""The first form: incidents, runs, journal, decisions, intents, alerts in, pages out, audit, settings, fence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_TIME = sa.String(27)


def upgrade() -> None:
    """Make all tables."""
    seq = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "audit",
        sa.Column("seq", seq, primary_key=True, autoincrement=True),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("what", sa.String(64), nullable=False),
        sa.Column("about", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "decisions",
        sa.Column("seq", seq, primary_key=True, autoincrement=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("incident", sa.String(64), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("decisions_incident", "decisions", ["incident", "seq"])
    op.create_table(
        "fence",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("at", _TIME, nullable=False),
    )
    op.create_table(
        "inbox",
        sa.Column("seq", seq, primary_key=True, autoincrement=True),
        sa.Column("dedup", sa.String(64), nullable=False, unique=True),
        sa.Column("receiver", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("starts_at", _TIME, nullable=False),
        sa.Column("ends_at", _TIME),
        sa.Column("received", _TIME, nullable=False),
        sa.Column("processed", _TIME),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("inbox_present", "inbox", ["receiver", "fingerprint", "seq"])
    op.create_index("inbox_waiting", "inbox", ["processed", "seq"])
    op.create_table(
        "incident_findings",
        sa.Column("incident", sa.String(64), primary_key=True),
        sa.Column("finding", sa.String(64), primary_key=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", _TIME, nullable=False),
    )
    op.create_index("incident_findings_finding", "incident_findings", ["finding"])
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("how", sa.String(32)),
        sa.Column("opened", _TIME, nullable=False),
        sa.Column("closed", _TIME),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("gang", sa.Text()),
        sa.Column("playbook", sa.String(255), nullable=False),
        sa.Column("needs", sa.String(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index("incidents_open", "incidents", ["cluster", "open"])
    op.create_index("incidents_opened", "incidents", ["opened", "id"])
    op.create_table(
        "intents",
        sa.Column("operation", sa.String(128), primary_key=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("incident", sa.String(64), nullable=False),
        sa.Column("run", sa.String(80), nullable=False),
        sa.Column("step", sa.String(255), nullable=False),
        sa.Column("action", sa.String(255), nullable=False),
        sa.Column("irreversible", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("result_at", _TIME),
    )
    op.create_index("intents_incident", "intents", ["incident"])
    op.create_table(
        "journal",
        sa.Column("seq", seq, primary_key=True, autoincrement=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("incident", sa.String(64), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("journal_incident", "journal", ["incident", "seq"])
    op.create_table(
        "outbox",
        sa.Column("seq", seq, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(255), nullable=False, unique=True),
        sa.Column("delivery_id", sa.String(255), nullable=False),
        sa.Column("dedup", sa.String(255), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("incident", sa.String(64), nullable=False),
        sa.Column("pager", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", _TIME, nullable=False),
        sa.Column("made", _TIME, nullable=False),
        sa.Column("sent", _TIME),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_due", "outbox", ["state", "next_try"])
    op.create_index("outbox_incident", "outbox", ["incident", "pager", "seq"])
    op.create_table(
        "runs",
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("incident", sa.String(64), nullable=False),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("playbook", sa.String(255), nullable=False),
        sa.Column("started", _TIME, nullable=False),
        sa.Column("ended", _TIME),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index("runs_incident", "runs", ["incident"])
    op.create_index("runs_started", "runs", ["started"])
    op.create_table(
        "settings",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
    )
    op.execute("INSERT INTO fence (id, epoch, holder, at) VALUES (1, 0, '', '1970-01-01T00:00:00.000000Z')")


def downgrade() -> None:
    """Drop all tables."""
    op.drop_table("settings")
    op.drop_table("runs")
    op.drop_table("outbox")
    op.drop_table("journal")
    op.drop_table("intents")
    op.drop_table("incidents")
    op.drop_table("incident_findings")
    op.drop_table("inbox")
    op.drop_table("fence")
    op.drop_table("decisions")
    op.drop_table("audit")
