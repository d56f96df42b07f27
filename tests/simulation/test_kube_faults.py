"""Faults of the emulated API server: each hits the request it names, once, and does what it says."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sliceward.simulation.kube.faults import After, Before, Cut, DuplicateEvents, Effect, RaiseFloor, Stall, WithholdBookmarks
from sliceward.simulation.kube.server import EmulatedApi, running_api
from tests.contracts.kubernetes_api import Api, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONFIG = {"metadata": {"name": "one"}, "data": {"a": "1"}}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[EmulatedApi, Api]]:
    async with running_api() as server, connected(server.write_kubeconfig(tmp_path / "kubeconfig"), real=False) as api:
        yield server, api


async def test_a_fault_before_the_effect_leaves_no_trace(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    server.faults.add(Before(500), "create", "*/configmaps")
    refused = await api.post(api.at("configmaps"), CONFIG)
    assert (refused.code, refused.reason) == (500, "InternalError")
    assert (await api.get(api.at("configmaps", "one"))).code == 404
    assert (await api.post(api.at("configmaps"), CONFIG)).code == 201


async def test_a_fault_after_the_effect_hides_what_was_done(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    server.faults.add(After(500), "create", "*/configmaps")
    refused = await api.post(api.at("configmaps"), CONFIG)
    assert refused.code == 500
    assert (await api.get(api.at("configmaps", "one")))["data"] == {"a": "1"}
    assert [(verb, effect) for verb, _, effect in server.faults.struck] == [("create", After(500))]


async def test_too_many_requests_say_when_to_come_back(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    server.faults.add(Before(429, retry_after=7), "get")
    refused = await api.get(api.at("configmaps", "one"))
    assert (refused.code, refused.reason, refused.headers["Retry-After"]) == (429, "TooManyRequests", "7")
    assert refused["details"]["retryAfterSeconds"] == 7


async def test_a_fault_hits_the_requests_it_counts_to(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    server.faults.add(Before(409), "get", "*/configmaps/*", nth=2, times=2)
    codes = [(await api.get(api.at("configmaps", "one"))).code for _ in range(4)]
    assert codes == [404, 409, 409, 404]
    server.faults.clear()


async def test_a_stalled_request_waits_and_is_then_done(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    server.faults.add(Stall(timedelta(seconds=0.2)), "create")
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await api.post(api.at("configmaps"), CONFIG)).code == 201
    assert loop.time() - began >= 0.2


async def test_a_client_that_gives_up_a_stalled_write_has_not_written(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    server.faults.add(Stall(), "create")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(api.post(api.at("configmaps"), CONFIG), 0.1)
    await asyncio.sleep(0.05)
    assert (await api.get(api.at("configmaps", "one"))).code == 404


async def test_an_answer_is_cut_in_the_middle(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    server.faults.add(Cut(), "list")
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.get(api.at("configmaps"))


@pytest.mark.parametrize("lines", [0, 1])
async def test_a_watch_is_cut_in_the_middle_of_a_line(served: tuple[EmulatedApi, Api], lines: int) -> None:
    server, api = served
    for name in ("a", "b"):
        await api.made("configmaps", {"metadata": {"name": name}})
    server.faults.add(Cut(lines=lines), "watch")
    async with api.watch(api.at("configmaps")) as stream:
        whole = [await stream.response.content.readline() for _ in range(lines)]
        assert all(line.endswith(b"\n") for line in whole)
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.response.content.read()


@pytest.mark.parametrize(
    ("effect", "kinds"), [(WithholdBookmarks(), ["ADDED"]), (DuplicateEvents(), ["ADDED", "ADDED", "BOOKMARK", "BOOKMARK"])]
)
async def test_a_watch_is_spoiled(served: tuple[EmulatedApi, Api], effect: Effect, kinds: list[str]) -> None:
    server, api = served
    await api.made("configmaps", CONFIG)
    server.faults.add(effect, "watch")
    query = {"sendInitialEvents": "1", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "1", "timeoutSeconds": "1"}
    async with api.watch(api.at("configmaps", api="v1"), fieldSelector="metadata.name=one", **query) as stream:
        assert [kind for kind, _ in await stream.rest()] == kinds


async def test_a_raised_floor_makes_old_versions_expire(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    version = (await api.made("configmaps", CONFIG))["metadata"]["resourceVersion"]
    await api.made("configmaps", {"metadata": {"name": "two"}})
    server.faults.add(RaiseFloor(), "watch")
    async with api.watch(api.at("configmaps"), resourceVersion=version) as stream:
        kind, status = await stream.next()
    assert (kind, status["code"]) == ("ERROR", 410)


async def test_a_running_watch_outlives_a_raised_floor(served: tuple[EmulatedApi, Api]) -> None:
    server, api = served
    version = (await api.made("configmaps", CONFIG))["metadata"]["resourceVersion"]
    async with api.watch(api.at("configmaps"), resourceVersion=version) as stream:
        await api.made("leases", {"metadata": {"name": "l"}}, "coordination.k8s.io/v1")
        server.compact()
        await api.made("configmaps", {"metadata": {"name": "two"}})
        assert await stream.take(1) == [("ADDED", "two")]


async def test_a_watcher_that_does_not_read_is_closed_and_costs_no_memory(tmp_path: Path) -> None:
    async with running_api(log_capacity=50) as server, connected(server.write_kubeconfig(tmp_path / "k"), real=False) as api:
        version = (await api.made("configmaps", {"metadata": {"name": "big"}}))["metadata"]["resourceVersion"]
        path = api.at("configmaps")
        async with api.watch(path, resourceVersion=version) as stream:
            for at in range(120):
                await api.patch(f"{path}/big", {"data": {"a": str(at) + "x" * 500_000}})
            collection = next(of for of in server.store.collections() if of.kind.plural == "configmaps")
            assert len(collection.log) < 100
            async with asyncio.timeout(30):
                read = await stream.response.content.read()
            assert len(read) < 100 * 500_000
        async with api.watch(path, resourceVersion=version) as late:
            assert (await late.next())[1]["code"] == 410
