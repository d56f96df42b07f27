"""Where a cluster's address and credentials come from."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import test_utils, web

from sliceward.remediations.kubernetes import connect
from sliceward.topology.errors import Misconfigured, Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: me, user: {token: s3cr3t}}]
"""


async def test_a_cluster_that_is_down_is_no_mistake_of_configuration(tmp_path: Path, unused_tcp_port: int) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG % unused_tcp_port)
    async with connect("c1", kubeconfig=file, context="here") as cluster:
        assert cluster.name == "c1"
        with pytest.raises(Retry) as caught:
            await cluster.version()
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "context", "why"),
    [("", "here", ""), (KUBECONFIG % 1, "elsewhere", "elsewhere"), ("{[", None, ""), (None, None, "")],
    ids=["empty", "unknown context", "no YAML", "no file"],
)
async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, context: str | None, why: str) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Misconfigured) as caught:
        async with connect("c1", kubeconfig=file, context=context):
            pass
    assert str(file) in caught.value.where
    assert why in str(caught.value)
    assert caught.value.what_to_do


async def test_inside_a_pod_without_its_account_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(Misconfigured, match="service account"):
        async with connect("c1"):
            pass


async def test_a_call_waits_for_no_thread_that_others_keep_busy(tmp_path: Path) -> None:
    """Large fleets are read, and posts of alerts, in the threads of the loop; a Lease must be renewed all the same."""
    busy, threads = threading.Event(), ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    async with a_server() as (port, asked):
        kept = asyncio.create_task(asyncio.to_thread(busy.wait, 60))
        (tmp_path / "kubeconfig").write_text(KUBECONFIG % port)
        async with connect("c1", kubeconfig=tmp_path / "kubeconfig") as cluster:
            assert await cluster.version() == "v1.36.3"
        assert not kept.done()
        busy.set()
        await kept
    assert asked == ["/version"]


@pytest.mark.parametrize(("left_out", "asked_there"), [("", ["http://api.test/version"]), ("api.test", [])])
async def test_a_proxy_of_the_environment_is_used_but_for_those_that_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: str, asked_there: list[str]
) -> None:
    async with a_server() as (port, asked):
        for name, value in (("http_proxy", f"http://127.0.0.1:{port}"), ("no_proxy", left_out)):
            monkeypatch.setenv(name, value)
        (tmp_path / "kubeconfig").write_text((KUBECONFIG % 80).replace("127.0.0.1:80", "api.test"))
        async with connect("c1", kubeconfig=tmp_path / "kubeconfig") as cluster:
            if left_out:
                with pytest.raises(Retry):
                    await cluster.version()
            else:
                assert await cluster.version() == "v1.36.3"
    assert asked == asked_there


@asynccontextmanager
async def a_server() -> AsyncIterator[tuple[int, list[str]]]:
    """Give the port of what answers as an API server, or a proxy before it, and what it was asked for."""
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.raw_path)
        return web.json_response({"gitVersion": "v1.36.3"})

    async with test_utils.RawTestServer(answer) as server:
        assert server.port is not None
        yield server.port, asked
