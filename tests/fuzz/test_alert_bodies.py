"""Bodies of alerts that are none, at a coordinator that runs: each is answered and counted, and the alerts beside them are kept."""

from __future__ import annotations

import json
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from sliceward.daemons.coordinator.webhook import MOST_AT_ONCE, MOST_BYTES, MOST_RECEIVERS
from tests.fuzz.ground import FUZZ, Ground, until
from tests.fuzz.http_client import Answer, connect, post, read
from tests.fuzz.junk import broken_bytes, broken_tree
from tests.fuzz.processes import Daemon, a_coordinator

if TYPE_CHECKING:
    from collections.abc import Iterator

HOOK = "/v1/webhooks/alertmanager/main"
MAP = "rules: [{alert: ChipGone, kind: ChipLost, part: 'c1/chip/{node}/{chip}'}]\n"
MIB = 1 << 20


def an_alert(fingerprint: str = "00ff") -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "ChipGone", "node": "cube-0-host-00", "chip": "1"},
        "annotations": {"summary": "gone"},
        "startsAt": "2026-11-22T11:59:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus",
        "fingerprint": fingerprint,
    }


def a_payload(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "receiver": "main", "alerts": list(alerts)}


@dataclass
class Sender:
    """Who posts. ``numbers``: of the valid alerts beside, each of which must be new."""

    daemon: Daemon
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    before: dict[str, float] = field(default_factory=dict)

    def counts(self) -> dict[str, float]:
        self.before = self.daemon.counts("sliceward_webhook_requests_total", "code")
        return self.before

    def send(self, body: bytes, **how: str) -> Answer:
        """Post it; the answer is counted, and says why and what to do where it is a no."""
        before = self.before
        answer = post(self.daemon.port, HOOK, body, **how)
        code = str(answer.status)
        assert self.counts().get(code, 0) == before.get(code, 0) + 1
        if answer.status != 200:
            assert answer.status in (400, 413, 415), answer
            answer.problem()
        return answer

    def well(self) -> None:
        """Post a valid alert, which must be taken in."""
        body = json.dumps(a_payload(an_alert(f"{next(self.numbers):016x}"))).encode()
        answer = self.send(body)
        assert json.loads(answer.body) == {"accepted": 1, "duplicate": 0}

    def well_at_times(self) -> None:
        if sum(self.before.values()) % 5 == 0:
            self.well()


@pytest.fixture(scope="module")
def sender(ground: Ground) -> Iterator[Sender]:
    (ground.folder / "alerts.yaml").write_text(MAP)
    with a_coordinator(ground, alerts={"map": str(ground.folder / "alerts.yaml")}) as daemon:
        yield Sender(daemon)


@FUZZ
@given(body=broken_bytes(json.dumps(a_payload(an_alert())).encode()))
def test_bytes_that_are_cut_changed_or_of_something_else(sender: Sender, body: bytes) -> None:
    sender.send(body)
    sender.well_at_times()


@FUZZ
@given(payload=broken_tree(a_payload(an_alert(), an_alert("0a"))))
def test_payloads_that_no_alertmanager_sends(sender: Sender, payload: Any) -> None:  # noqa: ANN401 (JSON)
    sender.send(json.dumps(payload).encode())
    sender.well_at_times()


SIZES = (0, 1, 2, 64 * 1024, MIB, MOST_BYTES, MOST_BYTES + 1, 64 * MIB)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["noise", "nested", "one text", "alerts"])
def test_sizes_from_nothing_to_beyond_all_reason(sender: Sender, form: str, size: int) -> None:
    match form:
        case "noise":
            body = b"\x00" * size
        case "nested":
            body = b"[" * size
        case "one text":
            begin, end = json.dumps(a_payload() | {"groupKey": "?"}).encode().split(b"?")
            body = begin + b"x" * (size - len(begin) - len(end)) + end
        case _:
            begin, end, one = b'{"version": "4", "alerts": [', b"{}]}", b'{"status": "firing"}, '
            body = begin + one * ((size - len(begin) - len(end)) // len(one)) + end
    answer = sender.send(body)
    assert (answer.status == 413) == (len(body) > MOST_BYTES)
    sender.well()


@pytest.mark.parametrize(
    "truncated",
    ["1e999", "-5", "9" * 4000, "true", '"many"', "[]"],
    ids=["infinite", "less than none", "long", "yes", "text", "list"],
)
def test_a_number_that_cannot_be_counted_spoils_no_figure(sender: Sender, truncated: str) -> None:
    body = json.dumps(a_payload()).replace('"truncatedAlerts": 0', f'"truncatedAlerts": {truncated}')
    before = sender.daemon.counts("sliceward_alerts_total")["truncated"]
    assert sender.send(body.encode()).status == 200
    assert sender.daemon.counts("sliceward_alerts_total")["truncated"] == before


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
def test_a_body_that_is_not_what_its_header_says(sender: Sender, encoding: str) -> None:
    assert sender.send(b"\x1f\x8b nonsense", more=f"Content-Encoding: {encoding}\r\n").status == 415
    sender.well()


def test_a_body_that_swells_when_it_is_unpacked(sender: Sender) -> None:
    bomb = zlib.compress(b" " * 64 * MIB, 9)
    assert sender.send(bomb, more="Content-Encoding: deflate\r\n").status == 415
    sender.well()


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/json" + "x" * 500])
def test_a_body_of_another_type(sender: Sender, kind: str) -> None:
    assert sender.send(b"{}", content_type=kind).status == 415


def test_names_of_receivers_that_somebody_invents_are_no_new_series_for_ever(sender: Sender) -> None:
    for number in range(MOST_RECEIVERS + 20):
        assert post(sender.daemon.port, f"/v1/webhooks/alertmanager/r{number}", b"{}").status == 400
    sender.counts()
    names = sender.daemon.counts("sliceward_webhook_requests_total", "receiver")
    assert len(names) <= MOST_RECEIVERS + 1
    assert names[""] >= 20


def test_who_sends_half_a_body_holds_his_place_for_seconds_only(sender: Sender) -> None:
    head = f"POST {HOOK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    before = sender.counts()
    with ExitStack() as stack:
        doors = [stack.enter_context(connect(sender.daemon.port)) for _ in range(MOST_AT_ONCE + 4)]
        for door in doors:
            door.sendall(head.encode() + b"{")
        answers = [read(door) for door in doors]
        assert {answer.status for answer in answers} == {503}, "Alertmanager sends what met a 503 again"
        assert {answer.problem()["code"] for answer in answers} == {"NotNow"}
    assert sender.counts()["503"] == before.get("503", 0) + MOST_AT_ONCE + 4
    sender.well()


def test_who_hangs_up_in_the_middle_is_counted(sender: Sender) -> None:
    head = f"POST {HOOK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    before = sender.counts().get("503", 0)
    for _ in range(20):
        with connect(sender.daemon.port) as door:
            door.sendall(head.encode() + b"{")
    until(lambda: sender.counts().get("503", 0) == before + 20, "a count of all who hung up")
    sender.well()


def test_after_all_that_an_alert_becomes_a_finding(sender: Sender) -> None:
    alert = an_alert("0b") | {"startsAt": datetime.now(UTC).isoformat()}
    alert["labels"]["node"] = "cube-1-host-02"
    assert sender.send(json.dumps(a_payload(alert)).encode()).status == 200
    until(lambda: "cube-1-host-02/1" in json.dumps(sender.daemon.json("/api/v1/findings")), "the finding")
    sender.daemon.unharmed()
