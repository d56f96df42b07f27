"""Standard Webhooks 1.0.0, to the letter."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from sliceward.remediations.page import Page, PageEvent
from sliceward.remediations.paging.plan import PagerPlan, Surroundings
from sliceward.remediations.paging.signing import sign
from sliceward.remediations.paging.webhook import MOST_BYTES, WebhookPager, payload
from sliceward.simulation.receiver import running_receiver
from sliceward.topology.errors import Misconfigured
from sliceward.topology.health import Severity

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
PAGE = Page("d-1", "inc-1", PageEvent.TRIGGER, Severity.ERROR, "summary", "c1", "host", "HostLost", NOW, {"a": "b"})


def test_the_published_test_vector() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = sign(key, message="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp="1614265330", body=b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secrets", [SECRET, f"{SECRET} {OLD}", f"{OLD}\n{SECRET}"], ids=["one", "both", "rotated"])
async def test_a_receiver_that_knows_one_secret_accepts_and_drops_the_repeat(secrets: str) -> None:
    async with running_receiver(SECRET) as receiver, aiohttp.ClientSession() as session:
        clock = [NOW]
        pager = WebhookPager(PagerPlan("webhook", "w", receiver.url, secrets), Surroundings(session, lambda: clock[0], print))
        await pager.send(PAGE)
        clock[0] += timedelta(minutes=5)
        await pager.send(PAGE)
        await pager.send(replace(PAGE, event=PageEvent.RESOLVE, delivery_id="d-2"))
        assert receiver.incidents["inc-1"].events == ["trigger", "resolve"]
        assert (receiver.sent, receiver.repeats, receiver.refused) == (2, 1, 0)


def test_the_type_tells_what_happened() -> None:
    assert json.loads(payload(PAGE))["type"] == "sliceward.incident.triggered"
    assert json.loads(payload(replace(PAGE, event=PageEvent.RESOLVE)))["type"] == "sliceward.incident.resolved"


@pytest.mark.parametrize("count", [1, 30, 200, 3000])
def test_the_body_stays_below_its_limit_and_keeps_what_matters(count: int) -> None:
    large = replace(PAGE, summary="s" * 5000, facts={f"fact-{n}": "x" * 900 for n in range(count)})
    body = payload(large)
    assert len(body) < MOST_BYTES
    assert json.loads(body)["data"]["dedup_key"] == "inc-1"
    assert json.loads(body)["data"]["summary"].endswith("…")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(Misconfigured, match="url"):
        WebhookPager(PagerPlan("webhook", "w", "ftp://x", SECRET), None)  # type: ignore[arg-type]  # never used
