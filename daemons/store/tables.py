"""Tables of the store. The same on SQLite and PostgreSQL; changes go through `sliceward.daemons.migrations`.

Bodies are JSON text (made and read by `sliceward.playbooks.record`); columns beside a body exist to select by. Times are
RFC 3339 in UTC with microseconds and a fixed width, so that they sort as text and people can read them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect


class Time(TypeDecorator[datetime]):
    """A point in time as ``2026-11-22T16:15:16.123456Z``."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 (SQLAlchemy's signature)
        """Write."""
        return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401, ARG002 (as above)
        """Read."""
        return None if value is None else datetime.fromisoformat(value)


METADATA = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_uq",
    }
)
_SEQ = BigInteger().with_variant(Integer, "sqlite")


def _seq() -> Column[int]:
    return Column("seq", _SEQ, primary_key=True, autoincrement=True)


FENCE = Table(
    "fence", METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", String(255), nullable=False),
    Column("at", Time, nullable=False),
)  # fmt: skip

INCIDENTS = Table(
    "incidents", METADATA,
    Column("id", String(64), primary_key=True),
    Column("cluster", String(255), nullable=False),
    Column("open", Boolean, nullable=False),
    Column("phase", String(32), nullable=False),
    Column("how", String(32)),
    Column("opened", Time, nullable=False),
    Column("closed", Time),
    Column("kind", String(64), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("part", Text, nullable=False),
    Column("gang", Text),
    Column("playbook", String(255), nullable=False),
    Column("needs", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("incidents_open", "cluster", "open"),
    Index("incidents_opened", "opened", "id"),
)  # fmt: skip

FINDINGS = Table(
    "incident_findings", METADATA,
    Column("incident", String(64), primary_key=True),
    Column("finding", String(64), primary_key=True),
    Column("cluster", String(255), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("part", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", Time, nullable=False),
    Index("incident_findings_finding", "finding"),
)  # fmt: skip

RUNS = Table(
    "runs", METADATA,
    Column("id", String(80), primary_key=True),
    Column("incident", String(64), nullable=False),
    Column("cluster", String(255), nullable=False),
    Column("playbook", String(255), nullable=False),
    Column("started", Time, nullable=False),
    Column("ended", Time),
    Column("epoch", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("runs_incident", "incident"),
    Index("runs_started", "started"),
)  # fmt: skip

JOURNAL = Table(
    "journal", METADATA,
    _seq(),
    Column("cluster", String(255), nullable=False),
    Column("incident", String(64), nullable=False),
    Column("at", Time, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Index("journal_incident", "incident", "seq"),
    sqlite_autoincrement=True,
)  # fmt: skip

DECISIONS = Table(
    "decisions", METADATA,
    _seq(),
    Column("cluster", String(255), nullable=False),
    Column("incident", String(64), nullable=False),
    Column("at", Time, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("decisions_incident", "incident", "seq"),
    sqlite_autoincrement=True,
)  # fmt: skip

INTENTS = Table(
    "intents", METADATA,
    Column("operation", String(128), primary_key=True),
    Column("cluster", String(255), nullable=False),
    Column("incident", String(64), nullable=False),
    Column("run", String(80), nullable=False),
    Column("step", String(255), nullable=False),
    Column("action", String(255), nullable=False),
    Column("irreversible", Boolean, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("at", Time, nullable=False),
    Column("result", Text),
    Column("result_at", Time),
    Index("intents_incident", "incident"),
)  # fmt: skip

INBOX = Table(
    "inbox", METADATA,
    _seq(),
    Column("dedup", String(64), nullable=False, unique=True),
    Column("receiver", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("cluster", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("starts_at", Time, nullable=False),
    Column("ends_at", Time),
    Column("received", Time, nullable=False),
    Column("processed", Time),
    Column("why", Text, nullable=False, default=""),
    Column("body", Text, nullable=False),
    Index("inbox_waiting", "processed", "seq"),
    Index("inbox_present", "receiver", "fingerprint", "seq"),
    sqlite_autoincrement=True,
)  # fmt: skip

OUTBOX = Table(
    "outbox", METADATA,
    _seq(),
    Column("id", String(255), nullable=False, unique=True),
    Column("delivery_id", String(255), nullable=False),
    Column("dedup", String(255), nullable=False),
    Column("event", String(16), nullable=False),
    Column("cluster", String(255), nullable=False),
    Column("incident", String(64), nullable=False),
    Column("pager", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", Time, nullable=False),
    Column("made", Time, nullable=False),
    Column("sent", Time),
    Column("why", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("outbox_due", "state", "next_try"),
    Index("outbox_incident", "incident", "pager", "seq"),
    sqlite_autoincrement=True,
)  # fmt: skip

AUDIT = Table(
    "audit", METADATA,
    _seq(),
    Column("at", Time, nullable=False),
    Column("who", String(255), nullable=False),
    Column("what", String(64), nullable=False),
    Column("about", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

SETTINGS = Table(
    "settings", METADATA,
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", Time, nullable=False),
    Column("who", String(255), nullable=False),
)  # fmt: skip

SILENCES = Table(
    "silences", METADATA,
    _seq(),
    Column("id", String(64), nullable=False, unique=True),
    Column("begins", Time, nullable=False),
    Column("ends", Time, nullable=False),
    Column("made", Time, nullable=False),
    Column("by", String(255), nullable=False),
    Column("why", Text, nullable=False),
    Column("ended", Time),
    Column("ended_by", String(255), nullable=False),
    Column("ended_why", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("silences_ends", "ends"),
    sqlite_autoincrement=True,
)  # fmt: skip

DISPLACEMENTS = Table(
    "displacements", METADATA,
    Column("gang", Text, primary_key=True),
    Column("at", Time, primary_key=True),
    Column("by", Text, nullable=False),
    Index("displacements_at", "at"),
)  # fmt: skip
