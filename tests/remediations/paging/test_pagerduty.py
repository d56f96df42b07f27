"""PagerDuty Events v2: body and limits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sliceward.remediations.page import Page, PageEvent
from sliceward.remediations.paging.pagerduty import MOST_BYTES, MOST_FACTS, PagerDutyPager, payload
from sliceward.remediations.paging.plan import PagerPlan
from sliceward.topology.errors import Refused
from sliceward.topology.health import Severity

KEY = "k" * 32
NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
PAGE = Page(
    "d-1", "inc-1", PageEvent.TRIGGER, Severity.WARNING, "summary", "c1", "host", "HostLost", NOW, {"a": "b"}, {"see": "http://x"}
)


def test_a_trigger_carries_what_a_human_reads() -> None:
    assert json.loads(payload(PAGE, KEY)) == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "inc-1",
        "payload": {
            "summary": "summary",
            "source": "c1",
            "severity": "warning",
            "timestamp": "2026-09-01T12:00:00+00:00",
            "component": "host",
            "group": "c1",
            "class": "HostLost",
            "custom_details": {"a": "b"},
        },
        "client": "sliceward",
        "links": [{"href": "http://x", "text": "see"}],
    }


def test_a_resolve_needs_only_its_key() -> None:
    resolve = json.loads(payload(replace(PAGE, event=PageEvent.RESOLVE), KEY))
    assert resolve == {"routing_key": KEY, "event_action": "resolve", "dedup_key": "inc-1"}


def test_limits_are_kept() -> None:
    large = replace(PAGE, summary="s" * 2000, facts={f"f{n}": "x" * 9000 for n in range(50)})
    event = json.loads(payload(large, KEY))
    assert len(event["payload"]["summary"]) == 1024
    assert len(event["payload"]["custom_details"]) == MOST_FACTS
    huge = replace(PAGE, facts={"k" * 300_000: "x", "l" * 300_000: "x"})
    assert len(payload(huge, KEY)) < MOST_BYTES


async def test_a_deduplication_key_that_is_too_long_is_refused_before_it_is_sent() -> None:
    pager = PagerDutyPager(PagerPlan("pagerduty", "p", secret=KEY), None)  # type: ignore[arg-type]  # never used
    with pytest.raises(Refused, match="300 characters"):
        await pager.send(replace(PAGE, dedup_key="x" * 300))
