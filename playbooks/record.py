"""Incidents, runs, decisions and pages as plain JSON values and back: what the store keeps and the HTTP API shows.

Anything unreadable raises `BadRecord` that names the field, so that one poisoned row can be set aside by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sliceward.detectors.finding import BadFinding, Finding, from_json, to_json
from sliceward.playbooks.incident import How, Incident, Needs, Phase
from sliceward.playbooks.run import Ending, OnError, Purpose, Run, Step, StepState
from sliceward.remediations.page import Page, PageEvent
from sliceward.topology import ids
from sliceward.topology.errors import Misconfigured
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

_AS_IT_IS = frozenset({str, int, float, bool, type(None)})
_IDS = (
    ids.ClusterId,
    ids.PodId,
    ids.CubeId,
    ids.HostId,
    ids.ChipId,
    ids.LinkId,
    ids.SliceId,
    ids.GangId,
    ids.SwitchId,
    ids.DomainId,
)


class BadRecord(ValueError):
    """A stored row that cannot be read: ``what`` and why."""


def plain(value: object) -> Any:  # noqa: ANN401, PLR0911 (any JSON value; one line per kind of value)
    """Give ``value`` as JSON can hold it: ids printed, times RFC 3339 in UTC, durations in seconds."""
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, Finding):
        return json.loads(to_json(value))
    if isinstance(value, _IDS):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(v) for v in items]
    return value


def text(value: object) -> str:
    """Give ``value`` as JSON text; a number that is not finite becomes null."""
    return msgspec.json.encode(plain(value)).decode()


def incident(body: str) -> Incident:
    """Read an incident back. Raises `BadRecord`."""
    return _read("incident", body, _incident)


def run(body: str) -> Run:
    """Read a run back. Raises `BadRecord`."""
    return _read("run", body, _run)


def page(body: str) -> Page:
    """Read a page back. Raises `BadRecord`."""
    return _read("page", body, _page)


def incident_row(value: Incident) -> dict[str, Any]:
    """Give an incident as docs/api.md shows it."""
    row: dict[str, Any] = plain(value)
    row |= {
        "state": "open" if value.open else "closed",
        "kind": value.kind.value,
        "severity": value.severity.value,
        "part": str(value.part),
        "part_kind": "cluster" if isinstance(value.part, ids.ClusterId) else value.part.kind,
        "text": value.text,
        "needs": value.needs.value or None,
        "silenced": value.silenced or None,
        "domain": [host.name for host in value.domain],
    }
    return row


T = TypeVar("T")


def _read(what: str, body: str, build: Callable[[dict[str, Any]], T]) -> T:
    try:
        return build(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, Misconfigured, BadFinding) as error:
        raise BadRecord(f"{what} cannot be read: {type(error).__name__}: {error}") from error


def _incident(row: dict[str, Any]) -> Incident:
    findings = tuple(from_json(json.dumps(f).encode()) for f in row["findings"])
    if not findings:
        raise BadRecord("an incident without a finding")
    return Incident(
        **{name: str(row[name]) for name in _INCIDENT_TEXT},
        opened=_time(row["opened"]),
        settles=_time(row["settles"]),
        findings=findings,
        gang=_maybe(ids.GangId, row["gang"]),
        slice=_maybe(ids.SliceId, row["slice"]),
        domain=tuple(_one(ids.HostId, h) for h in row["domain"]),
        phase=Phase(row["phase"]),
        needs=Needs(row["needs"]),
        how=None if row["how"] is None else How(row["how"]),
        closed=_when(row["closed"]),
        paged=bool(row["paged"]),
        silenced=str(row.get("silenced") or ""),  # rows of before there were silences have none
        tried=tuple(str(name) for name in row["tried"]),
    )


_INCIDENT_TEXT = (
    "id", "cluster", "playbook", "mode", "why", "approved_by", "aborted_by", "abort_reason", "gist", "run", "folded_into",
)  # fmt: skip


def _run(row: dict[str, Any]) -> Run:
    return Run(
        **{name: str(row[name]) for name in ("id", "incident", "cluster", "playbook", "digest", "tenant", "why")},
        part=ids.parse(row["part"]),
        domain=tuple(_one(ids.HostId, h) for h in row["domain"]),
        gang=_maybe(ids.GangId, row["gang"]),
        started=_time(row["started"]),
        deadline=_time(row["deadline"]),
        steps=tuple(_step(s) for s in row["steps"]),
        on_failure=tuple(_step(s) for s in row["on_failure"]),
        facts=dict(row["facts"]),
        ending=Ending(row["ending"]),
        ended=_when(row["ended"]),
    )


def _step(row: dict[str, Any]) -> Step:
    return Step(
        **{name: str(row[name]) for name in ("name", "action", "inverse", "phase", "text")},
        timeout=timedelta(seconds=row["timeout"]),
        given=dict(row["given"]),
        on_error=OnError(row["on_error"]),
        irreversible=bool(row["irreversible"]),
        harm=bool(row["harm"]),
        purpose=Purpose(row["purpose"]),
        state=StepState(row["state"]),
        started=_when(row["started"]),
        ended=_when(row["ended"]),
        retry_at=_when(row["retry_at"]),
        asked=_when(row.get("asked")),  # rows of before it was noted have none
        attempts=int(row["attempts"]),
        facts=dict(row["facts"]),
    )


def _page(row: dict[str, Any]) -> Page:
    return Page(
        **{name: str(row[name]) for name in ("delivery_id", "dedup_key", "summary", "source", "component", "kind")},
        event=PageEvent(row["event"]),
        severity=Severity(row["severity"]),
        at=_time(row["at"]),
        facts={str(k): str(v) for k, v in row["facts"].items()},
        links={str(k): str(v) for k, v in row["links"].items()},
    )


def _time(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _when(value: str | None) -> datetime | None:
    return None if value is None else _time(value)


AnId = TypeVar("AnId", ids.HostId, ids.GangId, ids.SliceId)


def _one(kind: type[AnId], printed: str) -> AnId:
    part = ids.parse(printed)
    if not isinstance(part, kind):
        raise BadRecord(f"{printed!r} is no {kind.__name__}")
    return part


def _maybe(kind: type[AnId], printed: str | None) -> AnId | None:
    return None if printed is None else _one(kind, printed)


def when(text: str) -> datetime | None:
    """Give the time that ``text`` says, None where it says none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
