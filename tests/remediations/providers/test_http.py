"""The provider's wire (docs/provider.md), against the simulated provider and against one that misbehaves."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from sliceward.remediations.ports import Repair
from sliceward.remediations.providers.catalog import PROVIDERS, make
from sliceward.remediations.providers.plan import ProviderPlan
from sliceward.simulation.provider import running_provider
from sliceward.simulation.serving import served
from sliceward.topology.errors import Misconfigured, Refused, Retry
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sliceward.remediations.ports import Provider

HOST = HostId("c1", "host-1")
TOKEN = "s3cr3t-t0ken"  # noqa: S105 (of this test alone)


async def _ask(provider: Provider, operation: str = "op-1") -> Repair:
    return await provider.request_repair(HOST, instance_id="42", behavior="CHIP_ERROR", text="sick", operation_id=operation)


async def test_asking_twice_is_one_repair_and_it_comes_to_its_end() -> None:
    mended = asyncio.Event()

    async def mend(host: str) -> None:
        assert host == "host-1"
        mended.set()

    async with running_provider(timedelta(0), mend) as far, aiohttp.ClientSession() as session:
        provider = make(ProviderPlan("http", far.url), session)
        first = await _ask(provider)
        assert (await _ask(provider)).id == first.id
        assert (await _ask(provider, "op-2")).id != first.id
        await mended.wait()
        found = await provider.repair(first.id)
        assert found is not None
        assert found.state == "done"
        assert await provider.repair("unknown") is None
        assert await provider.repair("../../else") is None


@pytest.fixture
async def answers() -> AsyncIterator[tuple[str, list[web.Response], list[web.Request]]]:
    told: list[web.Response] = []
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        return told.pop(0)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    async with served(app) as url:
        yield url, told, seen


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (web.Response(status=503, headers={"Retry-After": "9"}), Retry),
        (web.Response(status=429), Retry),
        (web.Response(status=409), Retry),
        (web.Response(status=403, text=f"token {TOKEN} is not welcome"), Refused),
        (web.Response(status=302, headers={"Location": "/x"}), Refused),
        (web.Response(status=404), Refused),
        (web.Response(status=200, text="<html>"), Retry),
        (web.json_response({"id": "r-1", "state": "dancing"}), Retry),
        (web.json_response(["r-1"]), Retry),
    ],
    ids=["503", "429", "409", "403", "302", "404", "no JSON", "unknown state", "no repair"],
)
async def test_what_each_answer_means(
    answers: tuple[str, list[web.Response], list[web.Request]], answer: web.Response, expected: type[Exception]
) -> None:
    url, told, _ = answers
    told.append(answer)
    async with aiohttp.ClientSession() as session:
        provider = make(ProviderPlan("http", url, TOKEN), session)
        with pytest.raises(expected) as caught:
            await _ask(provider)
    assert TOKEN not in f"{caught.value!r} {provider!r} {ProviderPlan('http', url, TOKEN)!r}"


async def test_key_and_token_travel_as_headers(answers: tuple[str, list[web.Response], list[web.Request]]) -> None:
    url, told, seen = answers
    told.append(web.json_response({"id": "r-1", "state": "running", "text": "t"}, status=202))
    async with aiohttp.ClientSession() as session:
        assert await _ask(make(ProviderPlan("http", url, TOKEN), session)) == Repair("r-1", "running", "t")
    assert seen[0].headers["Idempotency-Key"] == "op-1"
    assert seen[0].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_nobody_there_is_retried(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Retry):
            await _ask(make(ProviderPlan("http", f"http://127.0.0.1:{unused_tcp_port}"), session))


@pytest.mark.parametrize(("kind", "url"), [("htp", "http://x"), ("other", "http://x"), ("http", "x")])
def test_a_provider_that_cannot_be_made_is_refused(kind: str, url: str) -> None:
    with pytest.raises(Misconfigured):
        make(ProviderPlan(kind, url), None)  # type: ignore[arg-type]  # never used
    assert set(PROVIDERS) == {"http", "nobody"}


async def test_nobody_refuses_and_knows_no_repair() -> None:
    async with aiohttp.ClientSession() as session:
        nobody = make(ProviderPlan("nobody"), session)
        with pytest.raises(Refused, match="human"):
            await _ask(nobody)
        assert await nobody.repair("r") is None
