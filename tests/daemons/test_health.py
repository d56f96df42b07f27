"""Liveness is loop progress; readiness names each dependency with its age; metrics show both."""

from __future__ import annotations

import aiohttp
import pytest

from sliceward.daemons.health import Dependency, Health, new_registry
from sliceward.daemons.loops import Loops
from sliceward.daemons.serving import application, serving


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


async def _get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_a_loop_past_its_deadline_fails_liveness_and_an_absent_broker_does_not(clock: _Clock) -> None:
    loops = Loops(clock)
    loop = loops.add("deciding", deadline=5)
    needs = [Dependency("broker c1", ok=False, age=None, why="connection refused")]
    health = Health(loops, lambda: needs, new_registry(loops, version="1"), "1")
    async with serving(application(health), host="127.0.0.1", port=0) as port:
        assert (await _get(port, "/healthz"))[0] == 200
        status, text = await _get(port, "/readyz")
        assert status == 503
        assert "connection refused" in text
        clock.now += 6
        status, text = await _get(port, "/healthz")
        assert status == 503
        assert '"late": true' in text
        loop.beat()
        assert (await _get(port, "/healthz"))[0] == 200


async def test_metrics_show_age_and_deadline_of_each_loop(clock: _Clock) -> None:
    loops = Loops(clock)
    loops.add("outbox", deadline=30).set_aside["page-1"] = "no summary"
    clock.now += 2
    health = Health(loops, tuple, new_registry(loops, version="1.2"), "1.2")
    async with serving(application(health), host="127.0.0.1", port=0) as port:
        text = (await _get(port, "/metrics"))[1]
    assert 'sliceward_loop_age_seconds{loop="outbox"} 2.0' in text
    assert 'sliceward_loop_deadline_seconds{loop="outbox"} 30.0' in text
    assert 'sliceward_loop_set_aside{loop="outbox"} 1.0' in text
    assert 'sliceward_build_info{version="1.2"} 1.0' in text


def test_a_loop_that_finds_something_away_is_alive_without_a_result(clock: _Clock) -> None:
    loop = Loops(clock).add("deciding", deadline=5)
    for _ in range(4):
        clock.now += 4
        loop.retried("the store did not answer")
    assert (loop.late, loop.stalled, loop.beats, loop.error) == (False, True, 0, "the store did not answer")
    loop.beat()
    assert (loop.late, loop.stalled, loop.beats, loop.error) == (False, False, 1, "")
    clock.now += 6
    loop.failed("KeyError: 'x'")
    assert (loop.late, loop.stalled) == (True, True)
    loop.begin()
    assert (loop.late, loop.stalled) == (False, False)
    loop.resting = True
    clock.now += 60
    assert (loop.late, loop.stalled) == (False, False)
