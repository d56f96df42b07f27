"""Turns as rows, table by table: a thousand turns are one transaction of a handful of statements, each run over all of its rows.

The statements of a dialect are made once: made anew for each row, they cost more than the writing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, update

from sliceward.daemons.store.outbox import outbox_rows
from sliceward.daemons.store.tables import DECISIONS, FINDINGS, INCIDENTS, INTENTS, JOURNAL, OUTBOX, RUNS
from sliceward.daemons.store.upsert import upsert
from sliceward.detectors.finding import storable
from sliceward.playbooks import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Executable

    from sliceward.playbooks.incident import Entry
    from sliceward.playbooks.turn import Turn

Row = dict[str, Any]
AT_ONCE = 20
"""Turns that are made into rows before others have their turn: 5 ms."""


@dataclass(slots=True)
class Rows:
    """What is written, in order: where an incident has several turns, the last one stands. ``results``: by operation."""

    incidents: list[Row] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    intents: list[Row] = field(default_factory=list)
    results: dict[str, Row] = field(default_factory=dict)
    pages: list[Row] = field(default_factory=list)
    journal: list[Row] = field(default_factory=list)


async def rows_of(turns: Iterable[Turn], *, epoch: int, pagers: Sequence[str], now: datetime) -> Rows:
    """Give the rows of turns. ``pagers``: each page goes to each of them."""
    rows = Rows()
    for number, turn in enumerate(turns, start=1):
        _add(rows, turn, epoch=epoch, pagers=pagers, now=now)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    return rows


def _add(rows: Rows, turn: Turn, *, epoch: int, pagers: Sequence[str], now: datetime) -> None:
    incident, run, call = turn.incident, turn.run, turn.call
    about = {"cluster": incident.cluster, "incident": incident.id}
    rows.incidents.append(_incident_row(turn, epoch))
    for finding in incident.findings:
        part = {"part": str(finding.part), "state": finding.state.value, "since": finding.since}
        rows.findings.append(about | {"finding": finding.id, "kind": finding.kind.value} | part)
    if run is not None:
        row = {name: getattr(run, name) for name in ("id", "incident", "cluster", "playbook", "started", "ended")}
        rows.runs.append(row | {"epoch": epoch, "body": record.text(run)})
    if turn.decision is not None:
        rows.decisions.append(about | {"at": turn.decision.at, "epoch": epoch, "body": record.text(turn.decision)})
    if call is not None and run is not None:
        what = {"run": run.id, "step": call.step.name, "action": call.step.action, "irreversible": call.step.irreversible}
        rows.intents.append(about | {"operation": call.operation, "epoch": epoch, "at": now} | what)
        rows.results.pop(call.operation, None)  # it is called again: what it answered before is no result of that
    if turn.answered is not None:
        said = {"result": storable(turn.answered.text), "result_at": now}
        rows.results[turn.answered.operation] = {"answered": turn.answered.operation} | said
    rows.pages += outbox_rows(turn.pages, pagers, cluster=incident.cluster, incident=incident.id, now=now)
    rows.journal += journal_rows(incident.cluster, turn.entries, epoch)


def _incident_row(turn: Turn, epoch: int) -> Row:
    incident = turn.incident
    row: Row = {"open": incident.open, "epoch": epoch, "body": record.text(incident)}
    row |= {name: getattr(incident, name) for name in ("id", "cluster", "opened", "closed", "playbook")}
    row |= {"phase": incident.phase.value, "kind": incident.kind.value, "severity": incident.severity.value}
    row |= {"part": str(incident.part), "gang": None if incident.gang is None else str(incident.gang)}
    return row | {"needs": incident.needs.value, "how": None if incident.how is None else incident.how.value}


def journal_rows(cluster: str, entries: Iterable[Entry], epoch: int) -> list[Row]:
    """Give the rows of lines of the story."""
    return [
        {
            "cluster": cluster,
            "incident": entry.incident,
            "at": entry.at,
            "kind": entry.kind.value,
            "text": storable(entry.text),
            "facts": record.text(entry.facts),
            "epoch": epoch,
        }
        for entry in entries
    ]


class Statements:
    """The statements of one dialect."""

    def __init__(self, dialect: str) -> None:
        """Make them."""
        self._incidents = upsert(dialect, INCIDENTS, key=("id",))
        self._findings = upsert(dialect, FINDINGS, key=("incident", "finding"))
        self._runs = upsert(dialect, RUNS, key=("id",))
        self._decisions = insert(DECISIONS)
        # A repeated call is the same operation, of this leader and without a result: it may be under way.
        self._intents = upsert(dialect, INTENTS, key=("operation",))
        results = update(INTENTS).where(INTENTS.c.operation == bindparam("answered"))
        self._results = results.values(result=bindparam("result"), result_at=bindparam("result_at"))
        self._pages = upsert(dialect, OUTBOX, key=("id",), replace=False)
        self._journal = insert(JOURNAL).returning(JOURNAL.c.seq, sort_by_parameter_order=True)

    def write(self, connection: Connection, rows: Rows) -> tuple[int, ...]:
        """Write rows; gives the numbers of the journal's new lines, in order."""
        for statement, some in self._in_order(rows):
            if some:
                connection.execute(statement, some)
        return self.tell(connection, rows.journal)

    def _in_order(self, rows: Rows) -> Iterator[tuple[Executable, list[Row]]]:
        """Go through the statements: an intent stands before its result."""
        yield self._incidents, rows.incidents
        yield self._findings, rows.findings
        yield self._runs, rows.runs
        yield self._decisions, rows.decisions
        yield self._intents, rows.intents
        yield self._results, [*rows.results.values()]
        yield self._pages, rows.pages

    def tell(self, connection: Connection, journal: list[Row]) -> tuple[int, ...]:
        """Add lines to the journal; gives their numbers, in order."""
        return tuple(connection.execute(self._journal, journal).scalars().all()) if journal else ()
