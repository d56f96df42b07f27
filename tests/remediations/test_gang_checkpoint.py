"""A checkpoint is asked for, acknowledged or not, and never waited for without end."""

from __future__ import annotations

from datetime import timedelta

from sliceward.remediations.gang_checkpoint import CheckpointGang
from sliceward.remediations.ports import HostAnswer, Progress
from sliceward.topology.errors import Refused, Retry
from tests.builders import NOW
from tests.remediations.scene import LLM, a_scene, default_fleet, done, failed, waiting

CHECKPOINT = CheckpointGang()


async def test_the_first_acknowledgement_is_enough() -> None:
    scene = a_scene()
    waiting(await scene.act(CHECKPOINT))
    assert len({host for host, _, _ in scene.hosts.asked}) == 32
    scene.hosts.says["cube-1-host-03"] = HostAnswer(ok=True, facts={"checkpoint_step": 480})
    answer = done(await scene.act(CHECKPOINT))
    assert answer.facts == {"checkpoint_acknowledged": True, "checkpoint_step": 480}


async def test_each_host_is_asked_again_by_the_same_id_until_it_answers() -> None:
    scene = a_scene()
    await scene.act(CHECKPOINT)
    await scene.act(CHECKPOINT)
    assert len(scene.hosts.asked) == 64
    assert len({request for _, _, request in scene.hosts.asked}) == 32


async def test_past_the_deadline_sigterm_must_do_and_the_last_known_step_is_told() -> None:
    scene = a_scene()
    scene.progress = Progress(LLM, NOW, 500, 1.0, 1.0, 450, 50.0, 32)
    waiting(await scene.act(CHECKPOINT, deadline="30s"))
    scene.elapsed = timedelta(seconds=30)
    answer = done(await scene.act(CHECKPOINT, deadline="30s"))
    assert "relying on SIGTERM" in answer.text
    assert answer.facts == {"checkpoint_acknowledged": False, "checkpoint_step": 450}


async def test_a_gang_that_stands_still_is_not_waited_for_as_long_since_its_save_cannot_end() -> None:
    scene = a_scene()
    scene.progress = Progress(LLM, NOW, 500, 0.0, 1.0, 450, 50.0, 32)
    waiting(await scene.act(CHECKPOINT))
    scene.elapsed = timedelta(seconds=5)
    assert "as the gang stands still, relying on SIGTERM" in done(await scene.act(CHECKPOINT)).text


async def test_old_news_of_a_gang_that_stood_still_shortens_nothing() -> None:
    scene = a_scene()
    scene.progress = Progress(LLM, NOW - timedelta(minutes=5), 500, 0.0, 1.0, 450, 50.0, 32)
    scene.elapsed = timedelta(seconds=10)
    waiting(await scene.act(CHECKPOINT))


async def test_a_member_on_a_host_that_is_not_ready_shortens_the_wait() -> None:
    scene = a_scene(default_fleet().not_ready("cube-0-host-05"))
    scene.elapsed = timedelta(seconds=6)
    assert "cube-0-host-05 of the gang is not ready" in done(await scene.act(CHECKPOINT)).text


async def test_when_every_host_says_no_there_is_nothing_to_wait_for() -> None:
    scene = a_scene()
    scene.hosts.says["*"] = HostAnswer(ok=False, why="no reporter")
    answer = done(await scene.act(CHECKPOINT))
    assert "no reporter" in answer.text
    assert "relying on SIGTERM" in answer.text


async def test_a_broker_that_is_away_only_uses_up_the_deadline() -> None:
    scene = a_scene()
    scene.hosts.failing = Retry("not connected")
    waiting(await scene.act(CHECKPOINT))
    scene.elapsed = timedelta(minutes=2)
    done(await scene.act(CHECKPOINT))


async def test_a_host_that_cannot_be_asked_counts_as_a_no() -> None:
    scene = a_scene()
    scene.hosts.failing = Refused("no such host")
    assert "no such host" in done(await scene.act(CHECKPOINT)).text


async def test_a_gang_without_pods_has_nothing_to_save() -> None:
    scene = a_scene()
    scene.drop_pods()
    assert "no member" in done(await scene.act(CHECKPOINT)).text


async def test_a_wrong_deadline_is_named() -> None:
    scene = a_scene()
    assert "with.deadline" in failed(await scene.act(CHECKPOINT, deadline="soon")).why
