"""Alerts: a payload of somebody else's is read with care, and a map of ours turns some of them into findings."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons.coordinator.alerts import (
    Alert,
    AlertMap,
    AlertRule,
    Unmapped,
    aged,
    mapped,
    read_map,
    read_payload,
)
from sliceward.detectors.finding import Finding, Kind, State
from sliceward.topology.errors import Misconfigured, Refused

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def an_alert(**more: object) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "LinkErrors", "node": "n1", "chip": "2", "peer": "n2", "peer_chip": "0"},
        "annotations": {"summary": "many errors"},
        "startsAt": "2026-11-22T11:59:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus",
        "fingerprint": "00ff00ff00ff00ff",
    } | more


def a_payload(*alerts: dict[str, Any], **more: object) -> bytes:
    return json.dumps({"version": "4", "groupKey": "{}", "alerts": list(alerts), "receiver": "web\\.hook"} | more).encode()


def test_an_alert_is_read_with_nanoseconds_and_without_an_end_while_it_fires() -> None:
    payload = read_payload(a_payload(an_alert(), truncatedAlerts=3), receiver="main", now=NOW)
    (alert,) = payload.alerts
    assert (alert.receiver, alert.status, alert.ends, payload.truncated) == ("main", State.FIRING, None, 3)
    assert alert.starts == datetime(2026, 11, 22, 11, 59, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("told", [10**400, -5, True, "3", None, [], float("inf")])
def test_a_count_of_alerts_cut_off_that_cannot_be_counted_is_none(told: object) -> None:
    assert read_payload(a_payload(truncatedAlerts=told), receiver="main", now=NOW).truncated == 0


def test_a_resolved_alert_has_an_end() -> None:
    (alert,) = read_payload(
        a_payload(an_alert(status="resolved", endsAt="2026-11-22T12:30:00+01:00")), receiver="m", now=NOW
    ).alerts
    assert alert.ends == datetime(2026, 11, 22, 11, 30, tzinfo=UTC)


REFUSED = {
    "no json": b"{",
    "no object": b"[]",
    "another version": json.dumps({"version": "3", "alerts": []}).encode(),
    "no alerts": json.dumps({"version": "4"}).encode(),
    "custom payload": json.dumps({"text": "hello"}).encode(),
    "alert is text": a_payload("x"),  # type: ignore[arg-type]  # that is what is wrong with it
    "unknown status": a_payload(an_alert(status="maybe")),
    "label is a number": a_payload(an_alert(labels={"a": 1})),
    "no labels": a_payload(an_alert(labels=None)),
    "fingerprint is no hex": a_payload(an_alert(fingerprint="../../x")),
    "no time": a_payload(an_alert(startsAt="yesterday")),
    "before all times": a_payload(an_alert(startsAt="0001-01-01T00:00:00+14:00")),
    "after all times": a_payload(an_alert(status="resolved", endsAt="9999-12-31T23:59:59-14:00")),
    "never begun": a_payload(an_alert(startsAt="0001-01-01T00:00:00Z")),
    "no zone": a_payload(an_alert(startsAt="2026-11-22T11:59:00")),
    "deep": b'{"version":"4","alerts":' + b"[" * 100_000,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_payload_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        read_payload(REFUSED[name], receiver="main", now=NOW)


def taken(body: bytes) -> tuple[Alert, ...] | None:
    """Give the alerts of a post, None where it is refused."""
    try:
        return read_payload(body, receiver="main", now=NOW).alerts
    except Refused:
        return None


@pytest.mark.parametrize("bad", ["\0", "\ud800"], ids=["NUL", "half a surrogate pair"])
def test_what_no_store_keeps_is_replaced_so_that_the_rest_of_the_group_is_taken(bad: str) -> None:
    odd = an_alert(labels={"alertname": "X", f"a{bad}b": f"c{bad}d"}, annotations={"summary": bad})
    one, two = read_payload(a_payload(odd, an_alert()), receiver="m", now=NOW).alerts
    assert (one.labels, one.annotations) == ({"alertname": "X", "a\ufffdb": "c\ufffdd"}, {"summary": "\ufffd"})
    assert two.labels == an_alert()["labels"]


JSON = st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())
POSTS = st.dictionaries(st.sampled_from(sorted(an_alert())), JSON, max_size=2).map(lambda more: a_payload(an_alert(**more)))


@given(st.binary(max_size=200) | POSTS)
def test_whatever_is_posted_is_taken_as_it_stands_or_refused(body: bytes) -> None:
    alerts = taken(body)
    assert alerts is None or [
        {"status": alert.status, "labels": alert.labels, "fingerprint": alert.fingerprint} for alert in alerts
    ] == [
        {"status": row["status"], "labels": replaced(row["labels"]), "fingerprint": row["fingerprint"]}
        for row in json.loads(body)["alerts"]
    ]


def replaced(labels: dict[str, str]) -> dict[str, str]:
    return {name.replace("\0", "\ufffd"): text.replace("\0", "\ufffd") for name, text in labels.items()}


RULES = AlertMap(
    defaults={"cluster": "c1"},
    rules=[
        AlertRule(alert="LinkErrors", match={"env": "test"}, kind=Kind.CHIP_THROTTLED, part="{cluster}/host/{node}"),
        AlertRule(alert="LinkErrors", kind=Kind.ICI_LINK_DEGRADED, part="{cluster}/link/{node}/{chip}~{peer}/{peer_chip}"),
        AlertRule(alert="GangSlow", kind=Kind.COLLECTIVE_STUCK, part="{gang}", gang="{gang}", text="{summary} on {node}"),
    ],
)


def the_alert(**labels: str) -> Alert:
    return Alert("main", "ff", State.FIRING, NOW, None, labels, {"summary": "slow"}, NOW)


def test_the_first_rule_that_fits_names_kind_and_part() -> None:
    (alert,) = read_payload(a_payload(an_alert()), receiver="main", now=NOW).alerts
    finding = mapped(alert, RULES)
    assert isinstance(finding, Finding)
    assert (finding.kind, str(finding.part), finding.text) == (
        Kind.ICI_LINK_DEGRADED,
        "c1/link/n1/2~n2/0",
        "many errors",
    )
    assert (finding.source, finding.state) == ("alert/main", State.FIRING)
    other = mapped(the_alert(alertname="LinkErrors", env="test", node="n1"), RULES)
    assert isinstance(other, Finding)
    assert other.kind is Kind.CHIP_THROTTLED


def test_a_link_is_the_same_from_both_ends() -> None:
    one = mapped(the_alert(alertname="LinkErrors", node="n1", chip="2", peer="n2", peer_chip="0"), RULES)
    two = mapped(the_alert(alertname="LinkErrors", node="n2", chip="0", peer="n1", peer_chip="2"), RULES)
    assert isinstance(one, Finding)
    assert isinstance(two, Finding)
    assert one.id == two.id


UNMAPPED = {
    "no rule": ({"alertname": "Other"}, "no rule"),
    "label missing": ({"alertname": "LinkErrors", "node": "n1"}, "'chip'"),
    "part is no part": ({"alertname": "GangSlow", "gang": "nonsense/what"}, "no part"),
    "gang is no gang": ({"alertname": "GangSlow", "gang": "c1/host/n1"}, "is no gang"),
    "name that is none": ({"alertname": "LinkErrors", "node": "../x", "chip": "1", "peer": "n", "peer_chip": "0"}, "no part"),
}


@pytest.mark.parametrize("name", UNMAPPED)
def test_what_cannot_be_mapped_says_why(name: str) -> None:
    labels, why = UNMAPPED[name]
    got = mapped(the_alert(**labels), RULES)
    assert isinstance(got, Unmapped)
    assert why in got.why


def test_lost_telemetry_is_unknown_and_resolved_stays_resolved() -> None:
    finding = mapped(the_alert(alertname="LinkErrors", env="test", node="n1"), RULES)
    assert isinstance(finding, Finding)
    assert aged(finding).state is State.UNKNOWN
    assert aged(finding).id == finding.id


def test_a_map_is_read_from_yaml_and_a_mistake_is_named(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text("rules:\n- {alert: A, kind: HostLost, part: 'c1/host/{node}'}\n")
    assert read_map(path).rules[0].kind is Kind.HOST_LOST
    path.write_text("rules:\n- {alert: A, kind: HostLots, part: x}\n")
    with pytest.raises(Misconfigured, match=r"rules\.0\.kind"):
        read_map(path)


def test_the_key_of_news_changes_with_state_and_end_only() -> None:
    firing = the_alert(alertname="A")
    again = Alert("main", "ff", State.FIRING, NOW, None, {}, {}, NOW + timedelta(hours=1))
    gone = Alert("main", "ff", State.RESOLVED, NOW, NOW + timedelta(hours=1), {}, {}, NOW)
    assert firing.key == again.key
    assert firing.key != gone.key
