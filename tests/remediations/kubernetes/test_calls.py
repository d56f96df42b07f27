"""Every failure of a call is one of our errors, and every call ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from kubernetes_asyncio.client import ApiClient, Configuration

from sliceward.remediations.kubernetes.calls import WRITES_AT_ONCE, Calls, path_of
from sliceward.remediations.kubernetes.cluster import KubernetesCluster
from sliceward.remediations.ports import JOBSET, NODE, POD
from sliceward.simulation.serving import served
from sliceward.topology.errors import Conflict, Refused, Retry, SlicewardError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@asynccontextmanager
async def _cluster(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], patience: float = 5.0
) -> AsyncIterator[KubernetesCluster]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    async with served(app, patience=0.1) as url:
        configuration = Configuration(host=url)
        configuration.api_key["BearerToken"] = "Bearer s3cr3t"
        async with ApiClient(configuration) as client:
            yield KubernetesCluster("c1", Calls(client, patience))


def _status(code: int, reason: str, message: str = "told", **details: object) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return web.json_response(body, status=code)


@pytest.mark.parametrize(
    ("answer", "expected", "after"),
    [
        (_status(409, "Conflict"), Conflict, None),
        (_status(429, "TooManyRequests", retryAfterSeconds=3), Retry, 3),
        (web.Response(status=429, headers={"Retry-After": "7"}), Retry, 7),
        (_status(401, "Unauthorized"), Retry, None),
        (_status(500, "InternalError", "failed calling webhook"), Retry, None),
        (web.Response(status=502, text="<html>"), Retry, None),
        (_status(504, "Timeout", retryAfterSeconds=1), Retry, 1),
        (_status(400, "BadRequest"), Refused, None),
        (_status(403, "Forbidden"), Refused, None),
        (_status(404, "NotFound"), Refused, None),
        (_status(415, "UnsupportedMediaType"), Refused, None),
        (_status(422, "Invalid"), Refused, None),
        (web.Response(status=200, text="[]"), Refused, None),
    ],
    ids=lambda value: f"{value.status} {value.text}"[:30] if isinstance(value, web.Response) else None,
)
async def test_what_an_answer_to_a_write_means(answer: web.Response, expected: type[SlicewardError], after: float | None) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async with _cluster(handle) as cluster:
        with pytest.raises(SlicewardError) as caught:
            await cluster.patch(NODE, "n", {"spec": {}})
    assert type(caught.value) is expected
    assert getattr(caught.value, "after", None) == after
    assert "s3cr3t" not in str(caught.value)


async def test_a_long_message_of_the_server_is_cut() -> None:
    async def handle(_: web.Request) -> web.Response:
        return _status(422, "Invalid", "x" * 9000)

    async with _cluster(handle) as cluster:
        with pytest.raises(Refused) as caught:
            await cluster.patch(NODE, "n", {})
    assert len(str(caught.value)) == 300


async def test_a_server_that_stalls_is_a_retry() -> None:
    async def handle(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with _cluster(handle, patience=0.05) as cluster:
        with pytest.raises(Retry, match="no answer in time"):
            await cluster.get(NODE, "n")


async def test_a_connection_that_breaks_is_a_retry() -> None:
    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with _cluster(handle) as cluster:
        with pytest.raises(Retry):
            await cluster.list(NODE)


async def test_a_patch_names_its_kind_and_each_call_brings_the_token() -> None:
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"metadata": {"name": "n", "managedFields": [1]}})

    async with _cluster(handle) as cluster:
        assert await cluster.patch(NODE, "n/../x", {"spec": {}}) == {"metadata": {"name": "n"}}
    assert seen[0].headers["Content-Type"] == "application/merge-patch+json"
    assert seen[0].headers["Authorization"] == "Bearer s3cr3t"
    assert seen[0].raw_path == "/api/v1/nodes/n%2F..%2Fx"


async def test_at_most_sixteen_writes_run_at_once() -> None:
    running, most = 0, 0

    async def handle(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return web.json_response({"metadata": {"name": "n"}})

    async with _cluster(handle) as cluster:
        await asyncio.gather(*(cluster.patch(NODE, f"n{n}", {"spec": {}}) for n in range(50)))
    assert most == WRITES_AT_ONCE


async def test_the_version_is_asked_for() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.json_response({"gitVersion": "v1.36.3"}) if request.path == "/version" else web.Response(status=500)

    async with _cluster(handle) as cluster:
        assert await cluster.version() == "v1.36.3"
        assert repr(cluster) == "KubernetesCluster('c1')"


async def test_a_list_whose_page_token_expired_is_a_retry() -> None:
    async def handle(request: web.Request) -> web.Response:
        if "continue" in request.query:
            return _status(410, "Expired")
        return web.json_response({"metadata": {"continue": "more"}, "items": []})

    async with _cluster(handle) as cluster:
        with pytest.raises(Retry):
            await cluster.list(NODE)


def test_paths() -> None:
    assert path_of(NODE) == "/api/v1/nodes"
    assert path_of(POD) == "/api/v1/pods"
    assert path_of(JOBSET, "ml", "llm") == "/apis/jobset.x-k8s.io/v1alpha2/namespaces/ml/jobsets/llm"
