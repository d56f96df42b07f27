"""A mirror stays right through everything that a server can do to a watch."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_asyncio.client import ApiClient, Configuration

import sliceward.remediations.kubernetes.mirror as module
from sliceward.remediations.kubernetes.calls import Calls
from sliceward.remediations.kubernetes.mirror import Mirror, Rhythm, split_lines
from sliceward.remediations.ports import NODE
from sliceward.simulation.serving import served
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sliceward.remediations.ports import Object


def _node(name: str, version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": labels, "managedFields": [{"a": 1}]}}


def _line(kind: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


EXPIRED = _line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
HANG = b""


class Server:
    """Lists and watches by script: each watch sends the next entry of ``watches`` and closes; the last one stays open."""

    def __init__(self) -> None:
        self.lists: list[list[dict[str, Any]] | int] = [[_node("a", 1)]]
        self.watches: list[list[bytes] | int] = []
        self.listed = 0
        self.versions: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            told = self.lists[min(self.listed, len(self.lists) - 1)]
            self.listed += 1
            if isinstance(told, int):
                return web.json_response({"code": told, "reason": "R"}, status=told)
            return web.json_response({"metadata": {"resourceVersion": "10"}, "items": told})
        self.versions.append(request.query["resourceVersion"])
        script = self.watches.pop(0) if self.watches else [HANG]
        if isinstance(script, int):
            return web.json_response({"code": script, "reason": "R"}, status=script)
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in script:
            if chunk == HANG:
                await asyncio.Event().wait()
            await response.write(chunk)
        return response


@asynccontextmanager
async def _mirroring(
    server: Server, needed: Callable[[Object], bool] | None = None, **rhythm: float
) -> AsyncIterator[tuple[Mirror, Any]]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    woken = asyncio.Event()
    pace = {"first_pause": 0.001, "longest_pause": 0.01, "absent": 0.01, **rhythm}
    async with served(app, patience=0.05) as url, ApiClient(Configuration(host=url)) as client:
        clock = asyncio.get_running_loop().time
        mirror = Mirror(NODE, {}, Calls(client, 1.0), Rhythm(clock, random.Random(1), **pace), needed=needed)  # noqa: S311 (jitter)
        running = asyncio.create_task(mirror.run(woken.set))

        async def until(names: set[str]) -> None:
            async with asyncio.timeout(30):
                while not mirror.synced or {node["metadata"]["name"] for node in mirror.objects} != names:
                    await woken.wait()
                    woken.clear()

        try:
            yield mirror, until
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_it_lists_then_follows_from_the_lists_version() -> None:
    server = Server()
    server.watches = [[_line("ADDED", _node("b", 11)), _line("MODIFIED", _node("a", 12, x="1")), HANG]]
    async with _mirroring(server) as (mirror, until):
        await until({"a", "b"})
        assert server.versions == ["10"]
        assert mirror.problem == ""
        assert mirror.age < 5
        found = mirror.get("a")
        assert found is not None
        assert "managedFields" not in found["metadata"]
        assert mirror.get("nobody") is None


async def test_a_watch_that_closes_goes_on_from_the_last_version_bookmarks_too() -> None:
    server = Server()
    server.watches = [
        [_line("ADDED", _node("b", 11))],
        [_line("BOOKMARK", _node("", 40))],
        [_line("DELETED", _node("a", 41)), HANG],
    ]
    async with _mirroring(server) as (mirror, until):
        await until({"b"})
        assert server.versions == ["10", "11", "40"]
        assert mirror.relists == 1


async def test_what_is_not_needed_is_not_held_and_its_changes_are_followed() -> None:
    server = Server()
    server.lists = [[_node("a", 1), _node("b", 2, role="none")]]
    server.watches = [
        [_line("ADDED", _node("c", 11, role="none")), _line("MODIFIED", _node("c", 12, role="none"))],
        [_line("MODIFIED", _node("b", 13)), _line("MODIFIED", _node("a", 14, role="none")), HANG],
    ]
    async with _mirroring(server, lambda node: "role" not in node["metadata"]["labels"]) as (mirror, until):
        await until({"a"})
        await until({"b"})
        assert server.versions == ["10", "12"]
        assert (mirror.get("a"), mirror.get("c")) == (None, None)


@pytest.mark.parametrize("script", [[EXPIRED], 410], ids=["as a line", "as a status"])
async def test_a_version_that_is_too_old_lists_again(script: list[bytes] | int) -> None:
    server = Server()
    server.lists = [[_node("a", 1)], [_node("c", 2)]]
    server.watches = [script]
    async with _mirroring(server) as (mirror, until):
        await until({"c"})
        assert (mirror.relists, mirror.expired) == (2, 1)


async def test_a_kind_that_is_gone_is_no_version_that_was_forgotten() -> None:
    server = Server()
    server.lists = [[_node("a", 1)], [_node("c", 2)]]
    server.watches = [404]
    async with _mirroring(server) as (mirror, until):
        await until({"c"})
        assert (mirror.relists, mirror.expired) == (2, 0)


@pytest.mark.parametrize(
    "script",
    [
        500,
        429,
        403,
        [b'{"type": "ADDED", "obj'],
        [b"no json\n"],
        [_line("ERROR", {"code": 500})],
        [b'{"type": "ERROR", "object": 1}\n'],
        [_line("ADDED", {"metadata": {"name": "x", "resourceVersion": 3}})],
    ],
    ids=["500", "429", "403", "cut in a line", "no JSON", "error 500", "error of no kind", "version of a wrong type"],
)
async def test_a_watch_that_breaks_is_opened_again(script: list[bytes] | int) -> None:
    server = Server()
    server.watches = [script, [_line("ADDED", _node("b", 12)), HANG]]
    async with _mirroring(server) as (mirror, until):
        await until({"a", "b"})
        assert mirror.failures >= 1
        assert mirror.relists == 1


@pytest.mark.parametrize("code", [500, 403, 410, 401])
async def test_a_list_that_fails_is_tried_again_and_says_why(code: int) -> None:
    server = Server()
    server.lists = [code, code, [_node("a", 1)]]
    async with _mirroring(server) as (mirror, until):
        await until({"a"})
        assert mirror.problem == ""


async def test_until_it_has_listed_it_is_not_in_step_and_grows_older() -> None:
    server = Server()
    server.lists = [503]
    async with _mirroring(server) as (mirror, _):
        while mirror.failures < 2:  # noqa: ASYNC110 (a failure wakes nobody)
            await asyncio.sleep(0)
        assert not mirror.synced
        assert "503" in mirror.problem
        assert mirror.age > 0


async def test_a_kind_that_does_not_exist_is_empty_and_is_looked_for_again() -> None:
    server = Server()
    server.lists = [404, 404, [_node("a", 1)]]
    async with _mirroring(server) as (mirror, until):
        await until(set())
        assert mirror.absent
        await until({"a"})
        assert not mirror.absent


async def test_a_kind_that_vanishes_empties_the_mirror() -> None:
    server = Server()
    server.lists = [[_node("a", 1)], 404]
    server.watches = [404]
    async with _mirroring(server) as (mirror, until):
        await until(set())
        assert mirror.absent


async def test_one_poisoned_object_is_set_aside_by_name_and_the_rest_goes_on() -> None:
    server = Server()
    poisoned = {"metadata": {"name": "bad", "resourceVersion": "5", "labels": 7}}
    server.lists = [[_node("a", 1), poisoned]]
    server.watches = [[_line("ADDED", _node("b", 11)), HANG]]
    async with _mirroring(server) as (mirror, until):
        await until({"a", "b"})
        assert list(mirror.set_aside) == ["bad"]
        assert "labels" in mirror.set_aside["bad"]


@pytest.mark.parametrize("where", ["labels", "name", "resourceVersion", "beside"])
async def test_an_object_that_is_no_utf_8_is_set_aside_and_the_rest_goes_on(where: str) -> None:
    server = Server()
    meta = {"name": "bad", "resourceVersion": "11", "labels": {"x": "y"}} | {
        where: "BYTES" if where != "labels" else {"x": "BYTES"}
    }
    poisoned = _line("ADDED", {"metadata": meta}).replace(b"BYTES", b"\xff")
    server.watches = [[poisoned, _line("ADDED", _node("b", 12)), HANG], [_line("ADDED", _node("b", 12)), HANG]]
    async with _mirroring(server) as (mirror, until):
        await until({"a", "b"} if where != "beside" else {"a", "b", "bad"})
        assert len(mirror.set_aside) == (where != "beside")
        assert all("utf-8" in why for why in mirror.set_aside.values())


async def test_an_event_that_is_no_utf_8_opens_the_watch_again() -> None:
    server = Server()
    server.watches = [[b'{"type": "\xff", "object": {}}\n', HANG], [_line("ADDED", _node("b", 12)), HANG]]
    async with _mirroring(server) as (_, until):
        await until({"a", "b"})


async def test_a_poisoned_object_that_heals_or_goes_is_no_longer_set_aside() -> None:
    server = Server()
    poisoned = {"metadata": {"name": "bad", "resourceVersion": "11", "labels": 7}}
    server.watches = [[_line("MODIFIED", poisoned), _line("MODIFIED", _node("bad", 12)), HANG]]
    async with _mirroring(server) as (mirror, until):
        await until({"a", "bad"})
        assert mirror.set_aside == {}


async def test_a_silent_connection_is_given_up() -> None:
    server = Server()
    server.watches = [[HANG], [_line("ADDED", _node("b", 11)), HANG]]
    async with _mirroring(server, watch=0.05, silence=0.05) as (mirror, until):
        await until({"a", "b"})
        assert mirror.failures >= 1


async def test_a_mirror_that_would_grow_without_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OBJECTS", 2)
    server = Server()
    server.lists = [[_node(name, 1) for name in "abc"]]
    async with _mirroring(server) as (mirror, _):
        while not mirror.failures:  # noqa: ASYNC110 (a failure wakes nobody)
            await asyncio.sleep(0)
        assert "more than 2 nodes" in mirror.problem
        assert not mirror.synced


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line and line.strip() != b"")), st.data())
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    text = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    async def split() -> list[bytes]:
        async def chunks() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        return [line async for batch in split_lines(chunks()) for line in batch]

    assert asyncio.run(split()) == lines


async def test_a_line_without_end_is_given_up() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(Retry, match="longer than"):
        async for _ in split_lines(chunks(), longest=10_000):
            pass


def test_pauses_double_are_jittered_and_end_growing() -> None:
    rhythm = Rhythm(lambda: 0.0, random.Random(3))  # noqa: S311 (jitter)
    for failures, longest in ((1, 0.25), (2, 0.5), (5, 4.0), (50, 30.0)):
        assert all(longest / 2 <= rhythm.pause(failures) <= longest for _ in range(50))
