"""From which page, and by which name of ours, a request may come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.daemons.coordinator.bench import World, the_fleet
from tests.daemons.coordinator.test_api import OPERATE, calling, the_tokens

if TYPE_CHECKING:
    from pathlib import Path


def a_world(folder: Path) -> World:
    world = World(folder)
    world.fill(the_fleet())
    return world


HOSTS = (
    ("localhost:8482", 200),
    ("127.0.0.1", 200),
    ("127.1.2.3:80", 200),
    ("[::1]:8482", 200),
    ("evil.example", 403),
    ("127.evil.example", 403),
    ("127.0.0.1.evil.example:8482", 403),
    ("localhost.evil.example", 403),
    ("[::1", 403),
    ("[", 403),
)


async def test_without_tokens_only_loopback_names_and_our_own_page_may_call(tmp_path: Path) -> None:
    async with calling(a_world(tmp_path)) as caller:
        assert (await caller.get("/api/v1/status"))[0] == 200
        for host, wanted in HOSTS:
            async with caller.session.get(caller.base + "/api/v1/status", headers={"Host": host}) as answer:
                assert (host, answer.status) == (host, wanted)
        assert (await caller.post("/api/v1/pause", {"reason": "x"}, Origin="http://evil.example"))[0] == 403
        assert (await caller.post("/api/v1/pause", {"reason": "x"}, Origin=caller.base))[0] == 200


async def test_with_a_token_too_a_change_comes_from_our_own_page_or_from_none(tmp_path: Path) -> None:
    async with calling(a_world(tmp_path), *the_tokens()) as caller:
        for origin, wanted in (("http://evil.example", 403), ("null", 403), ("http://[", 403), (caller.base, 200)):
            said = await caller.post("/api/v1/pause", {"reason": "x"}, token=OPERATE, Origin=origin)
            assert (origin, said[0]) == (origin, wanted)
