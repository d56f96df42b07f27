from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from sliceward.daemons.loops import Loops
from sliceward.daemons.serving import serving
from sliceward.daemons.sources.pod_list import ApiServer, PodList
from sliceward.daemons.sources.pods import Node
from sliceward.topology.errors import Misconfigured, Retry
from sliceward.topology.names import NAMES
from tests.daemons.sources.builders import eventually
from tests.daemons.sources.test_reporter import a_pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Server:
    """An API server that says what a test tells it to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, json.dumps({"items": [a_pod()]}), list[tuple[str, str]]()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((str(request.rel_url), request.headers.get("Authorization", "")))
        if request.path.startswith("/api/v1/nodes/"):
            return web.json_response({"metadata": {"labels": {NAMES.host_index: "5"}, "annotations": {NAMES.instance_id: "77"}}})
        return web.Response(status=self.status, text=self.body)


@asynccontextmanager
async def a_list(server: Server, **options: Any) -> AsyncIterator[PodList]:  # noqa: ANN401 (fields)
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", server.answer)
    async with serving(app, host="127.0.0.1", port=0) as port:
        yield PodList(ApiServer(f"http://127.0.0.1:{port}", **options), "prod", "node-1", NAMES, timeout=10.0)


async def test_it_asks_for_this_nodes_pods_with_the_token_of_the_moment(tmp_path: Path) -> None:
    server, token = Server(), tmp_path / "token"
    async with a_list(server, token_file=token) as pods:
        token.write_text("first\n")
        assert len((await pods.pods()).pods) == 1
        token.write_text("second\n")
        await pods.pods()
    assert "fieldSelector=spec.nodeName%3Dnode-1" in server.asked[0][0] or "spec.nodeName=node-1" in server.asked[0][0]
    assert [authorization for _, authorization in server.asked] == ["Bearer first", "Bearer second"]


async def test_labels_of_the_node_come_first_and_the_loop_beats() -> None:
    server, node, loops = Server(), Node(), Loops(time.monotonic)
    async with a_list(server) as pods:
        loop = loops.add("pods", deadline=1)
        task = asyncio.create_task(pods.run(node, loop))
        await eventually(lambda: loop.beats)
        task.cancel()
        await asyncio.wait([task])
    assert node.facts.labels[NAMES.host_index] == "5"
    assert node.pods is not None


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (403, "", "may not read"),
        (500, "", "answers 500"),
        (200, "<html>", "no JSON"),
        (200, "[]", "no object"),
        (200, "{}", "no items"),
    ],
)
async def test_an_answer_that_is_none_is_unknown(status: int, body: str, why: str) -> None:
    server = Server()
    server.status, server.body = status, body
    async with a_list(server) as pods:
        with pytest.raises(Retry, match=why):
            await pods.pods()


async def test_a_server_that_is_away_and_a_token_that_is_gone_are_unknown(tmp_path: Path) -> None:
    for server in (ApiServer("http://127.0.0.1:1"), ApiServer("http://127.0.0.1:1", tmp_path / "none")):
        pods = PodList(server, "prod", "node-1", NAMES, timeout=10.0)
        with pytest.raises(Retry):
            await pods.pods()


def test_inside_a_cluster_the_server_is_the_one_that_every_pod_is_told_of(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    server = ApiServer.in_cluster(environ, tmp_path)
    assert server == ApiServer("https://[fd00::1]:443", tmp_path / "token", tmp_path / "ca.crt")
    assert ApiServer.in_cluster({}) is None
    with pytest.raises(Misconfigured, match="CA file"):
        server.tls()
