"""What a heartbeat says on the wire, signed and plain, and that nothing of its secrets is ever told."""

from __future__ import annotations

import asyncio
import base64
import json
import traceback
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sliceward.remediations.paging import delivery
from sliceward.remediations.paging.heartbeat import Beat, HeartbeatPlan, HttpHeartbeat
from sliceward.remediations.paging.plan import Surroundings
from sliceward.simulation.receiver import running_receiver
from sliceward.topology.errors import Misconfigured, Refused, Retry
from tests.contracts.test_pagers import receiver, silent_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contracts.test_pagers import Receiver

__all__ = ["receiver", "silent_port"]
NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
TOKEN = "GenieKey s3cr3t-of-the-service"  # noqa: S105 (a test's)
PATH = "/ping/5ecret-uuid"
PLAN = HeartbeatPlan("on-call", "", timedelta(minutes=1))
BEAT = Beat("beat-3-1", NOW, "sliceward/host-1", 3)


@asynccontextmanager
async def heart(url: str, **more: str) -> AsyncIterator[HttpHeartbeat]:
    async with aiohttp.ClientSession() as session:
        yield HttpHeartbeat(replace(PLAN, url=url, **more), Surroundings(session, lambda: NOW, lambda _line: None))  # type: ignore[arg-type]  # fields by name


async def test_a_signed_beat_is_heard_and_one_with_another_secret_is_not() -> None:
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    async with running_receiver(SECRET) as far:
        async with heart(far.heartbeat_url, secret=SECRET) as one:
            await one.send(BEAT)
        async with heart(far.heartbeat_url, secret=f"{other} {SECRET}") as rotating:
            await rotating.send(replace(BEAT, id="beat-3-2"))
        async with heart(far.heartbeat_url, secret=other) as forged:
            with pytest.raises(Refused):
                await forged.send(BEAT)
        async with heart(far.heartbeat_url) as unsigned:
            with pytest.raises(Refused):
                await unsigned.send(BEAT)
    assert far.refused == 2
    assert [beat["type"] for beat in far.beats] == ["sliceward.heartbeat"] * 2
    assert far.beats[0]["data"] == {"source": "sliceward/host-1", "epoch": 3, "every_seconds": 60.0}
    assert far.sent == 0, "a heartbeat is no page"


async def test_a_plain_post_carries_the_token_and_the_same_body(receiver: Receiver) -> None:
    async with heart(receiver.url + PATH, token=TOKEN) as one:
        await one.send(BEAT)
    ((path, headers, body),) = receiver.got
    assert (path, headers["Authorization"], headers["Content-Type"]) == (PATH, TOKEN, "application/json")
    assert json.loads(body)["timestamp"] == NOW.isoformat()
    assert "webhook-signature" not in headers


async def test_a_get_has_no_body(receiver: Receiver) -> None:
    async with heart(receiver.url + PATH, method="GET") as one:
        await one.send(BEAT)
    ((path, headers, body),) = receiver.got
    assert (path, body) == (PATH, b"")
    assert "Authorization" not in headers
    assert receiver.methods == ["GET"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, None), (204, None), (302, Refused), (401, Refused), (404, Refused), (429, Retry), (500, Retry), (503, Retry)],
)
async def test_what_each_answer_means(receiver: Receiver, status: int, expected: type[Exception] | None) -> None:
    receiver.status, receiver.words = status, ""
    async with heart(receiver.url) as one:
        if expected is None:
            await one.send(BEAT)
        else:
            with pytest.raises(expected):
                await one.send(BEAT)
    assert len(receiver.got) == 1, "nothing is sent twice, and no redirect is followed"


async def test_no_answer_in_time_is_told(monkeypatch: pytest.MonkeyPatch, silent_port: int) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT", 0.05)
    async with heart(f"http://127.0.0.1:{silent_port}") as one, asyncio.timeout(20):
        with pytest.raises(Retry, match="no answer"):
            await one.send(BEAT)


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_error_and_no_repr_shows_a_secret(receiver: Receiver, status: int, method: str) -> None:
    receiver.status, receiver.words = status, f"bad {TOKEN} ({TOKEN.split()[1]}) and {SECRET} at {receiver.url}{PATH}"
    async with heart(receiver.url + PATH, token=TOKEN, secret=SECRET, method=method) as one:
        with pytest.raises((Retry, Refused)) as caught:
            await one.send(BEAT)
        plan = replace(PLAN, url=receiver.url + PATH, token=TOKEN, secret=SECRET)
        shown = f"{one!r} {plan!r} {one._signer!r} {''.join(traceback.format_exception(caught.value))}"  # noqa: SLF001 (must not show)
    for secret in (SECRET, TOKEN.split()[1], PATH, base64.b64encode(b"k" * 32).decode(), "k" * 32):
        assert secret not in shown


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"url": "ftp://x"}, "pagers.on-call.heartbeat.url"),
        ({"every": timedelta(0)}, "pagers.on-call.heartbeat.every"),
        ({"token": "a\nX-Other: b"}, "pagers.on-call.heartbeat.token"),
        ({"secret": "short"}, "pagers.on-call.secret"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_work_is_refused_at_the_start(change: dict[str, object], where: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        HttpHeartbeat(replace(PLAN, **{"url": "http://127.0.0.1"} | change), None)  # type: ignore[arg-type]  # never used
    assert caught.value.where == where
