"""Alerts in: Alertmanager's webhook payload (version 4) read with care, and a YAML map that turns an alert into a finding.

The payload is somebody else's: unknown fields are ignored, what is needed is checked and bounded. The map is ours: unknown
keys are refused. An alert that no rule maps is kept and shown with the reason, and nothing is ever done about it.
Payload: Alertmanager ``notify/webhook/webhook.go`` and ``template/template.go``; a firing alert ends at 0001-01-01.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from sliceward.daemons import yaml_text
from sliceward.daemons.coordinator.pieces import Pieces, decoded
from sliceward.daemons.settings import Section
from sliceward.detectors.finding import Finding, Kind, State, storable
from sliceward.topology.errors import Misconfigured, Refused
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, GangId, HostId, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sliceward.topology.ids import PartId

VERSION = "4"
MOST_ALERTS = 200_000
MOST_CUT_OFF = 1_000_000_000
MOST_LABELS = 128
MOST_TEXT = 4096
MOST_SHOWN = 80
_EPOCH = datetime.fromtimestamp(0, UTC)
_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FRACTION = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it was sent. ``receiver``: name in the path of our webhook; ``ends``: None while it fires.

    ``machine``: instance id of the host that its part was on when it came in, "" where the fleet did not tell.
    """

    receiver: str
    fingerprint: str
    status: State
    starts: datetime
    ends: datetime | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    received: datetime
    machine: str = ""

    @property
    def key(self) -> str:
        """The same for the same news: Alertmanager sends the whole group again with each change."""
        ends = self.ends.isoformat() if self.ends else ""
        return f"{self.receiver}|{self.fingerprint}|{self.starts.isoformat()}|{self.status}|{ends}"


@dataclass(frozen=True, slots=True)
class Payload:
    """What one post held. ``truncated``: alerts that the sender cut off."""

    alerts: tuple[Alert, ...]
    truncated: int


def read_payload(*body: bytes, receiver: str, now: datetime) -> Payload:
    """Give the alerts of a post, whose body came in parts.

    Raises:
        Refused: the body is no version 4 payload; says which part is wrong.
    """
    said: dict[str, Any] = {}
    try:
        for name, value in Pieces(decoded(*body)).members({"alerts"}):
            said[name] = tuple(_alerts(value, receiver=receiver, now=now)) if isinstance(value, Iterator) else value
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is no JSON: {error}") from None
    alerts = said.get("alerts")
    if str(said.get("version")) != VERSION or not isinstance(alerts, tuple):
        raise Refused('the body is no Alertmanager payload: "version" must be "4" and "alerts" a list')
    return Payload(alerts, _truncated(said.get("truncatedAlerts")))


def _alerts(rows: Iterator[Any], *, receiver: str, now: datetime) -> Iterator[Alert]:
    for place, row in enumerate(rows):
        if place == MOST_ALERTS:
            raise Refused(f"more than {MOST_ALERTS} alerts in one post")
        yield _alert(row, place, receiver=receiver, now=now)


def _truncated(value: object) -> int:
    """Give how many alerts the sender cut off; it is added to a counter, so it must be a number that can be counted."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_CUT_OFF else 0


def _alert(row: Any, place: int, *, receiver: str, now: datetime) -> Alert:  # noqa: ANN401 (JSON of others)
    where = f"alerts[{place}]"
    if not isinstance(row, dict):
        raise Refused(f"{where} is no object")
    if row.get("status") not in ("firing", "resolved"):
        raise Refused(f'{where}.status is neither "firing" nor "resolved"')
    status = State(row["status"])
    labels = _texts(row.get("labels"), f"{where}.labels")
    fingerprint = row.get("fingerprint")
    if not isinstance(fingerprint, str) or not re.fullmatch(r"[0-9a-fA-F]{1,64}", fingerprint):
        raise Refused(f"{where}.fingerprint is no hexadecimal text")
    return Alert(
        receiver=receiver,
        fingerprint=fingerprint,
        status=status,
        starts=_time(row.get("startsAt"), f"{where}.startsAt"),
        ends=_time(row.get("endsAt"), f"{where}.endsAt") if status is State.RESOLVED else None,
        labels=labels,
        annotations=_texts(row.get("annotations") or {}, f"{where}.annotations"),
        received=now,
    )


def _texts(value: Any, where: str) -> dict[str, str]:  # noqa: ANN401 (JSON of others)
    if not isinstance(value, dict) or len(value) > MOST_LABELS:
        raise Refused(f"{where} is no object of at most {MOST_LABELS} texts")
    for name, text in value.items():
        if not isinstance(text, str):
            raise Refused(f"{where}.{name[:MOST_SHOWN]} is no text")
    # Replaced, not refused: one odd text must not cost the other alerts of its group, which a 400 would drop for good.
    return {storable(name[:MOST_TEXT]): storable(text[:MOST_TEXT]) for name, text in value.items()}


def _time(value: Any, where: str) -> datetime:  # noqa: ANN401 (JSON of others)
    try:
        # RFC 3339 with up to nanoseconds; Python reads microseconds.
        when = datetime.fromisoformat(_FRACTION.sub(r"\1", value))
        utc = when.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{where} is no RFC 3339 time") from None
    if when.tzinfo is None:
        raise Refused(f"{where} has no time zone")
    if utc < _EPOCH:
        raise Refused(f"{where} is before 1970: it was never set")
    return utc


# ── the map ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class AlertRule(Section):
    """One rule: which alerts, and the finding that they mean. ``{label}`` stands for the value of a label."""

    alert: str = Field(description="Name of the alert (label `alertname`).")
    match: dict[str, str] = Field(default_factory=dict, description="Further labels with the value that they must have.")
    kind: Kind = Field(description="Kind of the finding.")
    part: str = Field(description="Id of the part, e.g. `{cluster}/host/{node}`.")
    gang: str = Field(default="", description="Id of the gang that suffers, if labels tell it.")
    machine: str = Field(
        default="",
        description="Instance id of the machine, if labels tell it; default is that of the host when the alert came in.",
    )
    severity: Severity = Field(default=Severity.ERROR, description="Severity of the finding.")
    text: str = Field(default="", description="What it says; default is the annotation `summary`, else the alert's name.")


class AlertMap(Section):
    """Rules in order; the first that matches decides."""

    defaults: dict[str, str] = Field(default_factory=dict, description="Labels that alerts get where they lack them.")
    rules: list[AlertRule] = Field(default_factory=list, description="The rules.")


@dataclass(frozen=True, slots=True)
class Unmapped:
    """No finding comes of an alert, and why."""

    why: str


def read_map(path: Path) -> AlertMap:
    """Give the map in a file.

    Raises:
        Misconfigured: the file cannot be used; names the rule.
    """
    data = yaml_text.read_mapping(path)
    try:
        return AlertMap.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Misconfigured(f"{path}: {where}", first["msg"], "See docs/how-to/alerts-in.md") from None


def mapped(alert: Alert, rules: AlertMap) -> Finding | Unmapped:
    """Give the finding that an alert means, or why it means none."""
    labels = {**rules.defaults, **alert.labels}
    rule = next((rule for rule in rules.rules if _fits(rule, labels)), None)
    if rule is None:
        return Unmapped(f"no rule for alert {labels.get('alertname', '')!r} with these labels")
    try:
        part = parse(_filled(rule.part, labels))
        gang = _gang(_filled(rule.gang, labels)) if rule.gang else None
        machine = _filled(rule.machine, labels) if rule.machine else alert.machine
        text = _filled(rule.text, {**alert.annotations, **labels}) if rule.text else ""
    except KeyError as error:
        return Unmapped(f"the rule needs label {error.args[0]!r}, which the alert has not")
    except Misconfigured as error:
        return Unmapped(f"the rule gives no part: {error}")
    found = _finding(alert, rule, part, gang=gang, text=text or alert.annotations.get("summary") or rule.alert)
    return replace(found, instance_id=machine) if isinstance(part, HostId | ChipId) else found


def _fits(rule: AlertRule, labels: Mapping[str, str]) -> bool:
    return labels.get("alertname") == rule.alert and all(labels.get(name) == value for name, value in rule.match.items())


def _filled(template: str, labels: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: labels[match[1]], template)


def _gang(text: str) -> GangId:
    gang = parse(text)
    if not isinstance(gang, GangId):
        raise Misconfigured(f"id {text!r}", "is no gang")
    return gang


def _finding(alert: Alert, rule: AlertRule, part: PartId, *, gang: GangId | None, text: str) -> Finding:
    return Finding(
        kind=rule.kind,
        part=part,
        state=alert.status,
        severity=rule.severity,
        since=alert.starts,
        seen=alert.ends or alert.received,
        score=1.0,
        detector=f"alert/{rule.alert}",
        version=VERSION,
        text=text[:MOST_TEXT],
        gang=gang,
        labels=alert.labels,
        source=f"alert/{alert.receiver}",
    )


def aged(finding: Finding) -> Finding:
    """Give a finding whose telemetry is lost: unknown, all else as it was last seen."""
    return finding if finding.state is State.RESOLVED else replace(finding, state=State.UNKNOWN)
