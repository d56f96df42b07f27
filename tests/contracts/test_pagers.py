"""One contract for all pagers that speak HTTP: what each answer means, one delivery id, and no secret in sight."""

from __future__ import annotations

import asyncio
import base64
import json
import traceback
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from sliceward.remediations.page import Page, PageEvent
from sliceward.remediations.paging import delivery
from sliceward.remediations.paging.catalog import PAGERS, make
from sliceward.remediations.paging.plan import PagerPlan, Surroundings
from sliceward.simulation.serving import served
from sliceward.topology.errors import Misconfigured, Refused, Retry
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sliceward.remediations.ports import Pager

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
SECRETS = {"webhook": "whsec_" + base64.b64encode(b"k" * 32).decode(), "pagerduty": "R0UTINGKEY" + "0123456789" * 2 + "ab"}
PATHS = {"webhook": "/hook/t0ken-in-the-path", "pagerduty": ""}
PAGE = Page(
    delivery_id="inc-1.trigger.0",
    dedup_key="inc-1",
    event=PageEvent.TRIGGER,
    severity=Severity.CRITICAL,
    summary="ICI link c1/link/a/0~b/1 is degraded",
    source="c1",
    component="a",
    kind="IciLinkDegraded",
    at=NOW,
    facts={"gang": "llm"},
    links={"incident": "http://127.0.0.1:8482/#inc-1"},
)


@dataclass
class Receiver:
    """Answers what it is told to and keeps what came."""

    url: str = ""
    status: int = 202
    words: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)
    stall: float = 0.0
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.methods.append(request.method)
        self.got.append((request.path, dict(request.headers), await request.read()))
        return web.Response(status=self.status, text=self.words, headers=self.headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    answering = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answering.answer)
    async with served(app) as answering.url:
        yield answering


@asynccontextmanager
async def _pager(kind: str, url: str, secret: str | None = None) -> AsyncIterator[Pager]:
    async with aiohttp.ClientSession() as session:
        plan = PagerPlan(kind, "on-call", url + PATHS[kind], SECRETS[kind] if secret is None else secret)
        yield make(plan, Surroundings(session, lambda: NOW, lambda _line: None))


kinds = pytest.mark.parametrize("kind", ["webhook", "pagerduty"])


@kinds
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, None),
        (202, None),
        (204, None),
        (302, Refused),
        (400, Refused),
        (401, Refused),
        (403, Refused),
        (404, Refused),
        (408, Retry),
        (410, Refused),
        (425, Retry),
        (429, Retry),
        (500, Retry),
        (502, Retry),
        (503, Retry),
        (504, Retry),
    ],
)
async def test_what_each_answer_means(receiver: Receiver, kind: str, status: int, expected: type[Exception] | None) -> None:
    receiver.status, receiver.words = status, ""
    receiver.headers = {"Location": "/elsewhere"} if status == 302 else {}
    async with _pager(kind, receiver.url) as pager:
        if expected is None:
            await pager.send(PAGE)
        else:
            with pytest.raises(expected):
                await pager.send(PAGE)
    assert len(receiver.got) == 1


@kinds
async def test_retry_after_is_honoured(receiver: Receiver, kind: str) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "17"}
    async with _pager(kind, receiver.url) as pager:
        with pytest.raises(Retry) as caught:
            await pager.send(PAGE)
    assert caught.value.after == 17


@kinds
async def test_nobody_there_is_retried(kind: str, unused_tcp_port: int) -> None:
    async with _pager(kind, f"http://127.0.0.1:{unused_tcp_port}") as pager:
        with pytest.raises(Retry):
            await pager.send(PAGE)


@kinds
async def test_no_answer_in_time_is_retried(kind: str, monkeypatch: pytest.MonkeyPatch, silent_port: int) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT", 0.05)
    async with _pager(kind, f"http://127.0.0.1:{silent_port}") as pager:
        with pytest.raises(Retry, match="no answer"):
            await pager.send(PAGE)


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    waiting: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, writer: waiting.append(writer), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    for writer in waiting:
        writer.close()
    server.close()


@kinds
@pytest.mark.parametrize("status", [400, 500])
async def test_no_error_and_no_repr_shows_a_secret(receiver: Receiver, kind: str, status: int) -> None:
    secret, path = SECRETS[kind], PATHS[kind]
    receiver.status, receiver.words = status, f"bad key {secret} at {receiver.url}{path}"
    plan = PagerPlan(kind, "on-call", receiver.url + path, secret)
    async with _pager(kind, receiver.url) as pager:
        with pytest.raises((Retry, Refused)) as caught:
            await pager.send(PAGE)
        shown = f"{pager!r} {plan!r} {caught.value!r} {''.join(traceback.format_exception(caught.value))}"
    assert secret not in shown
    assert not path or path not in shown


@kinds
async def test_an_address_that_cannot_be_reached_is_not_shown(kind: str, unused_tcp_port: int) -> None:
    async with _pager(kind, f"http://127.0.0.1:{unused_tcp_port}") as pager:
        with pytest.raises(Retry) as caught:
            await pager.send(PAGE)
    shown = "".join(traceback.format_exception(caught.value))
    assert str(unused_tcp_port) not in shown
    assert SECRETS[kind] not in shown


@kinds
async def test_one_page_keeps_its_identity_over_retries(receiver: Receiver, kind: str) -> None:
    async with _pager(kind, receiver.url) as pager:
        receiver.status = 503
        with pytest.raises(Retry):
            await pager.send(PAGE)
        receiver.status = 202
        await pager.send(PAGE)
    (_, first, one), (_, second, other) = receiver.got
    assert first.get("webhook-id") == second.get("webhook-id")
    assert _dedup(json.loads(one)) == _dedup(json.loads(other)) == "inc-1"


@kinds
async def test_trigger_and_resolve_share_the_deduplication_key(receiver: Receiver, kind: str) -> None:
    resolved = Page(**{f: getattr(PAGE, f) for f in Page.__dataclass_fields__} | {"event": PageEvent.RESOLVE})
    async with _pager(kind, receiver.url) as pager:
        await pager.send(PAGE)
        await pager.send(resolved)
    bodies = [json.loads(body) for _, _, body in receiver.got]
    assert {_dedup(body) for body in bodies} == {"inc-1"}


@kinds
@pytest.mark.parametrize("secret", ["", "short", "not base64!"])
def test_a_secret_that_cannot_work_is_refused_at_the_start_and_not_shown(kind: str, secret: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        make(PagerPlan(kind, "on-call", "http://127.0.0.1", secret), None)  # type: ignore[arg-type]  # never used
    assert caught.value.where == "pagers.on-call.secret"
    assert not secret or secret not in str(caught.value)


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(Misconfigured, match="pagerduty"):
        make(PagerPlan("pagerdutty", "on-call"), None)  # type: ignore[arg-type]  # never used
    assert set(PAGERS) == {"console", "pagerduty", "webhook"}


def _dedup(body: dict[str, Any]) -> str:
    return str(body["data"]["dedup_key"] if "data" in body else body["dedup_key"])
