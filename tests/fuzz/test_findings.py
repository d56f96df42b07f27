"""Findings, progress and words of a watcher that are none, at a coordinator that runs: counted, told once a topic, nothing else disturbed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons import topics
from sliceward.detectors.finding import BadFinding, Evidence, Finding, Kind, State, from_json, to_json
from sliceward.topology.health import Severity
from sliceward.topology.ids import GangId, HostId
from tests.fuzz.ground import CLUSTER, FUZZ, Ground, until
from tests.fuzz.junk import broken_bytes, broken_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.processes import Daemon

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
GANG = GangId(CLUSTER, "default", "JobSet", "train")


def a_finding(host: str = "cube-0-host-00") -> Finding:
    part = HostId(CLUSTER, host)
    evidence = Evidence("host_ready", 0.0, 1.0, "", AT, str(part))
    return Finding(
        kind=Kind.HOST_LOST, part=part, state=State.FIRING, severity=Severity.ERROR, since=AT, seen=AT, score=0.9,
        detector="rule/test", version="1", text="gone", evidence=(evidence,), labels={"a": "b"},
    )  # fmt: skip


FINDING = to_json(a_finding())
PROGRESS = {
    "gang": str(GANG), "at": AT.isoformat(), "step": 7, "rate": 1.5, "rate_before": 1.5, "checkpoint_step": 5, "checkpoint_age": 3.0,
    "members": 32,
}  # fmt: skip
STATUS = {"online": True, "at": AT.isoformat(), "version": "1", "loops_late": ["detect"], "why": ""}
EVENT = {"id": "x", "request": "checkpoint", "ok": True, "why": "", "facts": {"checkpoint_step": 3}, "instance_id": "i"}


@dataclass(repr=False)
class Teller:
    """Who publishes. After each message comes a status of the watcher, by which it is known to have been heard."""

    ground: Ground
    daemon: Daemon
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    refusals: Counter[str] = field(default_factory=Counter)

    def tell(self, topic: str, payload: bytes) -> dict[str, float]:
        """Give by how much each count rose."""
        before = self.daemon.counts("sliceward_messages_total")
        self.ground.say(topic, payload)
        self.ground.say(topics.watcher(CLUSTER), json.dumps(STATUS).encode())
        heard = before.get("received", 0) + 2
        until(lambda: self.daemon.counts("sliceward_messages_total").get("received", 0) >= heard, "both messages")
        now = self.daemon.counts("sliceward_messages_total")
        return {name: now[name] - before.get(name, 0) for name in now if now[name] > before.get(name, 0)}

    def refused(self, topic: str, payload: bytes, outcome: str) -> None:
        assert self.tell(topic, payload).get(outcome) == 1
        assert self.daemon.says("message refused", f"topic {topic}")


@pytest.fixture(scope="module")
def teller(ground: Ground, coordinator: Daemon) -> Teller:
    return Teller(ground, coordinator)


def judge_finding(teller: Teller, payload: bytes) -> None:
    """On a topic of its own each time, whose id no finding has: what can be read is refused as another's."""
    topic = topics.finding(CLUSTER, f"{next(teller.numbers):016x}")
    if payload:
        teller.refused(topic, payload, "bad_finding")
    else:
        assert "bad_finding" not in teller.tell(topic, payload), "an empty message clears"


@FUZZ
@given(payload=broken_bytes(FINDING))
def test_findings_that_are_cut_changed_or_of_something_else(teller: Teller, payload: bytes) -> None:
    judge_finding(teller, payload)


@FUZZ
@given(tree=broken_tree(json.loads(FINDING)))
def test_findings_that_no_watcher_tells(teller: Teller, tree: Any) -> None:  # noqa: ANN401 (JSON)
    payload = json.dumps(tree).encode()
    judge_finding(teller, payload)
    try:
        found = from_json(payload)
    except BadFinding:
        return
    # On the topic that is its own it is taken, unless its part is of elsewhere.
    told = teller.tell(topics.finding(CLUSTER, found.id), payload)
    assert told["received"] == 2
    teller.ground.say(topics.finding(CLUSTER, found.id), b"")


WORDS = {
    "progress": (PROGRESS, topics.progress(CLUSTER, GANG.key), "bad_progress"),
    "status": (STATUS, topics.watcher(CLUSTER), "bad_watcher"),
    "event": (EVENT, topics.host(CLUSTER, "cube-0-host-00", topics.EVENT), "bad_event"),
}


@pytest.mark.parametrize("what", WORDS)
@FUZZ
@given(data=st.data())
def test_other_words_that_nobody_says(teller: Teller, what: str, data: st.DataObject) -> None:
    whole, topic, outcome = WORDS[what]
    payload = data.draw(broken_tree(whole).map(lambda tree: json.dumps(tree).encode()) | broken_bytes(json.dumps(whole).encode()))
    told = teller.tell(topic, payload)
    assert told.keys() <= {"received", outcome, "unasked_event"}
    assert told.get(outcome, 0) <= 1
    teller.refusals[what] += int(told.get(outcome, 0))


@pytest.mark.parametrize("what", WORDS)
def test_words_that_cannot_be_read_were_counted_and_told(teller: Teller, what: str) -> None:
    assert teller.refusals[what] >= 50
    assert teller.daemon.says("message refused", f"topic {WORDS[what][1]}")


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 16 << 20])
def test_sizes_beyond_all_reason(teller: Teller, size: int) -> None:
    topic = topics.finding(CLUSTER, f"{next(teller.numbers):016x}")
    before = teller.daemon.counts("sliceward_messages_total")
    teller.ground.say(topic, b"[" * size)
    outcome = "bad_finding" if size <= 1 << 20 else "dropped_large"
    until(lambda: teller.daemon.counts("sliceward_messages_total").get(outcome, 0) == before.get(outcome, 0) + 1, outcome)
    teller.daemon.says("message refused" if size <= 1 << 20 else "message dropped", f"topic {topic}")


def test_after_all_that_a_finding_opens_an_incident(teller: Teller) -> None:
    now = datetime.now(UTC)
    good = Finding(
        kind=Kind.CHIP_LOST, part=HostId(CLUSTER, "cube-2-host-03"), state=State.FIRING, severity=Severity.ERROR, since=now, seen=now,
        score=0.99, detector="rule/test", version="1", text="gone",
    )  # fmt: skip
    teller.ground.say(topics.finding(CLUSTER, good.id), to_json(good), retain=True)
    until(lambda: "cube-2-host-03" in json.dumps(teller.daemon.json("/api/v1/incidents")), "an incident about it")
    teller.daemon.unharmed()
