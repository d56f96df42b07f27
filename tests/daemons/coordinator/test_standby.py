"""A replica that stands by: what it is asked goes to the leader as if the leader had been asked, with who asks and from which page."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp

from sliceward.daemons.coordinator.api import Api
from sliceward.daemons.coordinator.leadership import ADDRESS, LEASE, Candidacy, Leadership
from sliceward.daemons.coordinator.standby import standing_by
from sliceward.daemons.coordinator.tokens import Tokens
from sliceward.daemons.loops import Loops
from sliceward.daemons.serving import serving
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_api import OPERATE, VIEW, Caller, calling, the_tokens
from tests.fakes.cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

NAME, SPACE, SECOND = "sliceward-coordinator", "sliceward", timedelta(seconds=1)


def following(leader: str) -> Leadership:
    """Give what a replica knows that stands by while another leads, whose API is at ``leader``; "" where it said nothing."""
    cluster = FakeCluster()
    meta = {"name": NAME, "namespace": SPACE, "annotations": {ADDRESS: leader}}
    cluster.put(LEASE, {"metadata": meta, "spec": {"holderIdentity": "first", "leaseDurationSeconds": 60}})
    of = Candidacy(NAME, SPACE, "second", "http://second", 8 * SECOND, 2 * SECOND, 6 * SECOND)
    time = asyncio.get_running_loop().time
    return Leadership(cluster, of, time, lambda: datetime.now(UTC), Loops(time).add("lease", deadline=60))


@asynccontextmanager
async def asking_the_second(tmp_path: Path, leader: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Caller]:
    world = World(tmp_path)
    world.fill(the_fleet())
    leadership = following(leader)
    taking = asyncio.create_task(leadership.acquire())
    async with (
        a_bench(world) as bench,
        aiohttp.ClientSession(auto_decompress=False) as passing,
        aiohttp.ClientSession() as session,
    ):
        monkeypatch.setattr(bench.coordinator, "parts", replace(bench.coordinator.parts, leadership=leadership))
        app = Api(bench.coordinator, Tokens(the_tokens(), world.clock.seconds)).application(
            standing_by(bench.coordinator, passing)
        )
        async with serving(app, host="127.0.0.1", port=0) as port:
            yield Caller(bench, session, f"http://127.0.0.1:{port}")
            bench.coordinator.bell.close()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)


async def test_a_change_from_our_own_page_reaches_the_leader_and_one_from_another_page_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    world = World(first)
    world.fill(the_fleet())
    async with calling(world, *the_tokens()) as leader, asking_the_second(second, leader.base, monkeypatch) as caller:
        for origin, wanted in (("http://evil.example", 403), (leader.base, 403), (caller.base, 200)):
            said = await caller.post("/api/v1/pause", {"reason": "x"}, token=OPERATE, Origin=origin)
            assert (origin, said[0]) == (origin, wanted), said
        assert leader.bench.coordinator.status()["paused"]
        assert not caller.bench.coordinator.status()["paused"]
        assert (await caller.post("/api/v1/pause", {"reason": "x"}, token=VIEW))[0] == 403


async def test_while_nobody_is_known_to_lead_it_says_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking_the_second(tmp_path, "", monkeypatch) as caller:
        status, body = await caller.get("/api/v1/status", token=VIEW)
    assert (status, body["error"]["code"]) == (503, "StandsBy")
