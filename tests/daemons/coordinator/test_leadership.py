"""Who leads: one at a time, soon after the other's death, and never after one's own time ran out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.leadership import ADDRESS, LEASE, Candidacy, Leadership
from sliceward.daemons.loops import Loops
from sliceward.topology.errors import Refused, Retry
from tests.fakes.cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime

NAME, SPACE = "sliceward-coordinator", "sliceward"
BEGIN = datetime(2026, 11, 22, tzinfo=UTC)


def now() -> float:
    return asyncio.get_running_loop().time()


def a_candidate(cluster: FakeCluster, holder: str, *, wall: datetime = BEGIN) -> Leadership:
    of = Candidacy(
        name=NAME,
        namespace=SPACE,
        holder=holder,
        address=f"http://{holder}:8482",
        duration=timedelta(seconds=8),
        renew_every=timedelta(seconds=2),
        give_up_after=timedelta(seconds=6),
    )
    return Leadership(cluster, of, now, lambda: wall + timedelta(seconds=now()), Loops(now).add("lease", deadline=60))


@asynccontextmanager
async def kept(leader: Leadership) -> AsyncIterator[asyncio.Task[None]]:
    await leader.acquire()
    task = asyncio.create_task(leader.keep())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_first_leads_at_once_and_says_where_it_is() -> None:
    cluster = FakeCluster()
    first = a_candidate(cluster, "a")
    await first.acquire()
    assert (first.leads, now()) == (True, 0.0)
    lease = cluster.see(LEASE, NAME, SPACE)
    assert lease["spec"]["holderIdentity"] == "a"
    assert lease["metadata"]["annotations"][ADDRESS] == "http://a:8482"


async def test_the_second_stands_by_for_as_long_as_the_first_renews() -> None:
    cluster = FakeCluster()
    first, second = a_candidate(cluster, "a"), a_candidate(cluster, "b")
    async with kept(first):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await second.acquire()
        assert (first.leads, second.leads, second.leader) == (True, False, "a")
        assert second.address == "http://a:8482"


@pytest.mark.parametrize("hours", [-5, 0, 5], ids=lambda hours: f"clock {hours} h off")
async def test_after_the_death_of_the_first_the_second_leads_within_ten_seconds_whatever_its_clock(hours: int) -> None:
    cluster = FakeCluster()
    first, second = a_candidate(cluster, "a"), a_candidate(cluster, "b", wall=BEGIN + timedelta(hours=hours))
    taking = asyncio.create_task(second.acquire())
    async with kept(first):
        await asyncio.sleep(31)
    died = now()
    await taking
    assert 6 < now() - died <= 10
    assert not first.leads
    assert cluster.see(LEASE, NAME, SPACE)["spec"]["leaseTransitions"] == 1


async def test_a_lead_given_back_is_taken_at_once() -> None:
    cluster = FakeCluster()
    first, second = a_candidate(cluster, "a"), a_candidate(cluster, "b")
    await first.acquire()
    taking = asyncio.create_task(second.acquire())
    await asyncio.sleep(3)
    await first.release()
    gone = now()
    await taking
    assert now() - gone <= 1


async def test_at_no_moment_do_two_lead_though_writes_are_lost_and_answers_too() -> None:
    cluster = FakeCluster()
    rivals = [a_candidate(cluster, name) for name in "abc"]

    async def live(one: Leadership) -> None:
        while True:
            await one.acquire()
            try:
                await one.keep()
            except Refused:
                continue

    tasks = [asyncio.create_task(live(one)) for one in rivals]
    led = set()
    for second in range(400):
        leaders = [one.of.holder for one in rivals if one.leads]
        assert len(leaders) <= 1, f"at {second} s"
        led |= set(leaders)
        if second % 40 < 12:  # outages of twelve seconds
            cluster.fail("get" if second % 2 else "patch", LEASE, after=second % 3 == 0, error=Retry("away"))
        await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert led


async def test_a_leader_that_cannot_renew_gives_up_before_another_may_take_over() -> None:
    cluster = FakeCluster()
    first = a_candidate(cluster, "a")
    async with kept(first) as keeping:
        await asyncio.sleep(1)
        for _ in range(40):
            cluster.fail("get", LEASE, error=Retry("away"))
        with pytest.raises(Refused, match="could not be renewed"):
            await keeping
        assert now() < first.of.duration.total_seconds()
        assert not first.leads


async def test_a_call_that_hangs_does_not_keep_a_leader_from_giving_up() -> None:
    cluster = FakeCluster()
    first = a_candidate(cluster, "a")

    async def hang(*_: object) -> None:
        await asyncio.sleep(3600)

    async with kept(first) as keeping:
        cluster.between = hang
        with pytest.raises(Refused):
            await keeping
        assert now() < first.of.duration.total_seconds()


async def test_a_leader_that_was_paused_knows_at_once_that_its_time_is_over() -> None:
    cluster = FakeCluster()
    first = a_candidate(cluster, "a")
    await first.acquire()
    await asyncio.sleep(6)
    assert not first.leads


async def test_a_leader_learns_that_somebody_else_was_written_into_the_lease() -> None:
    cluster = FakeCluster()
    first = a_candidate(cluster, "a")
    async with kept(first) as keeping:
        cluster.edit(LEASE, NAME, {"spec": {"holderIdentity": "people"}}, SPACE)
        with pytest.raises(Refused, match="people holds"):
            await keeping


async def test_a_holder_that_promised_itself_longer_is_believed() -> None:
    cluster = FakeCluster()
    cluster.put(
        LEASE, {"metadata": {"name": NAME, "namespace": SPACE}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 60}}
    )
    second = a_candidate(cluster, "b")
    await second.acquire()
    assert 60 <= now() <= 61


async def test_of_two_that_find_it_free_in_the_same_moment_one_leads() -> None:
    cluster = FakeCluster()
    cluster.put(LEASE, {"metadata": {"name": NAME, "namespace": SPACE}, "spec": {}})
    rivals = [a_candidate(cluster, name) for name in "ab"]
    tasks = [asyncio.create_task(one.acquire()) for one in rivals]
    await asyncio.sleep(1)
    assert sum(one.leads for one in rivals) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_api_server_that_is_away_for_long_is_no_reason_to_restart_who_waits_for_the_lease() -> None:
    cluster = FakeCluster()
    second = a_candidate(cluster, "b")

    async def away(*_: object) -> None:
        raise Retry("no route to host")

    cluster.between = away
    taking = asyncio.create_task(second.acquire())
    await asyncio.sleep(10 * second.loop.deadline)
    assert (second.loop.late, second.loop.stalled, second.loop.error) == (False, True, "no route to host")
    cluster.between = None
    await taking
    assert second.leads
    assert not second.loop.stalled
