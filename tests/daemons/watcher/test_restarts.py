"""What a restart of the watcher must not do: resolve a fault that still stands, or tell less than is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sliceward.daemons import topics
from sliceward.detectors.finding import State
from sliceward.remediations.ports import NODE
from tests.builders import gang_id
from tests.daemons.watcher.stage import H0, H1, Stage, settle, steps

if TYPE_CHECKING:
    from pathlib import Path

LOST, QUIET = f"HostLost c1/host/{H0}", f"TelemetryLost c1/host/{H0}"
STUCK = f"CollectiveStuck {gang_id('llm')}"


def states(stage: Stage) -> dict[str, State]:
    return {name: finding.state for name, finding in stage.kept.items()}


async def test_a_host_that_is_still_dead_is_never_called_alive_by_a_restart() -> None:
    stage = Stage()
    async with stage.connected():
        await stage.rounds(8)
        stage.silent.add(H0)
        stage.cluster.edit(NODE, H0, {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
        await stage.rounds(12)
        before = stage.kept[LOST]
        assert before.state is State.FIRING
    stage.restart()
    async with stage.connected():
        for _ in range(20):
            await stage.rounds(1)
            assert stage.kept[LOST].state is not State.RESOLVED
        assert (stage.kept[LOST].state, stage.kept[LOST].since) == (State.FIRING, before.since)


async def test_lost_telemetry_stays_lost_over_a_restart_until_the_host_is_heard() -> None:
    stage = Stage()
    async with stage.connected():
        await stage.rounds(8)
        stage.silent.add(H0)
        await stage.rounds(12)
    stage.restart()
    async with stage.connected():
        for _ in range(10):
            await stage.rounds(1)
            assert stage.kept[QUIET].state is not State.RESOLVED
        stage.silent.clear()
        await stage.rounds(5)
        assert stage.kept[QUIET].state is State.RESOLVED


async def stand(stage: Stage, rounds: int) -> None:
    for _ in range(rounds):
        for speaker in stage.speakers.values():
            age = speaker.readings.get("host_step_age_seconds", 0)
            assert isinstance(age, int | float)
            speaker.readings |= {"host_step": 100, "host_step_age_seconds": age + 10, "chip_duty_cycle_percent": 100}
        await stage.rounds(1)


async def test_a_gang_that_still_stands_is_not_called_well_by_a_restart() -> None:
    stage = Stage()
    async with stage.connected():
        await stand(stage, 110)
        before = stage.kept[STUCK]
        assert before.state is State.FIRING
    stage.restart()
    async with stage.connected():
        for _ in range(110):
            await stand(stage, 1)
            assert stage.kept[STUCK].state is not State.RESOLVED
        assert (stage.kept[STUCK].state, stage.kept[STUCK].since) == (State.FIRING, before.since)


async def test_a_gang_that_steps_after_a_restart_is_stuck_no_more() -> None:
    stage = Stage()
    async with stage.connected():
        await stand(stage, 110)
    stage.restart()
    async with stage.connected():
        await stand(stage, 12)
        for step in range(101, 180):
            for speaker in stage.speakers.values():
                speaker.readings |= {"host_step": step, "host_step_age_seconds": 0}
            await stage.rounds(1)
        assert states(stage) == {STUCK: State.RESOLVED}


async def suspended(stage: Stage) -> str:
    """Let a gang run and be suspended; give the topic of its progress."""
    async with stage.connected():
        for n in range(12):
            steps(stage, 10 * n)
            await stage.rounds(1)
        for speaker in stage.speakers.values():
            speaker.notes = {}
            del speaker.readings["host_step"], speaker.readings["host_checkpoint_age_seconds"]
        await stage.rounds(6)
    return topics.progress("c1", gang_id("llm").key)


async def test_what_is_known_of_a_suspended_gang_outlives_a_restart() -> None:
    stage = Stage()
    topic = await suspended(stage)
    before, stage.broker.published = stage.broker.retained[topic], []
    assert json.loads(before.payload)["checkpoint_step"] == 900
    stage.restart()
    async with stage.connected():
        await stage.rounds(9)
        assert stage.broker.retained[topic].payload == before.payload
        assert topic not in [message.topic for message in stage.broker.published], "nobody has spoken for it since"


async def test_a_broker_that_comes_back_empty_is_told_of_a_suspended_gang_again() -> None:
    stage = Stage()
    topic = await suspended(stage)
    before = stage.broker.retained[topic]
    stage.restart()
    async with stage.connected():
        await stage.rounds(9)
        stage.broker.stop()
        await settle()
        stage.broker.start()
        await settle()
        await stage.rounds(1)
        assert stage.broker.retained[topic].payload == before.payload


BAND = """\
- {name: warm-chip, kind: AgentUnwell, part: chip, severity: error, says: warm, clear_for: 3 periods,
   when: {threshold: {metric: chip_hbm_bandwidth_percent, op: ">=", value: 90, clear: 70, k: 2, n: 3}}}
- {name: warm-host, kind: AgentUnwell, part: host, severity: error, says: warm, clear_for: 3 periods,
   when: {threshold: {metric: chip_hbm_bandwidth_percent, op: ">=", value: 90, clear: 70, k: 2, n: 3}}}
"""


async def test_what_has_not_cleared_yet_goes_on_over_a_restart_and_clears_after_it(tmp_path: Path) -> None:
    (tmp_path / "band.yaml").write_text(BAND)
    stage = Stage(environ={"SLICEWARD_RULES__FOLDERS": json.dumps([str(tmp_path)]), "SLICEWARD_STATISTICS__ENABLED": "false"})
    both = {f"AgentUnwell c1/chip/{H0}/1", f"AgentUnwell c1/host/{H0}"}
    async with stage.connected():
        stage.speakers[H0].chip("chip_hbm_bandwidth_percent", 1, 95)
        stage.speakers[H1].chip("chip_hbm_bandwidth_percent", 1, 80)
        await stage.rounds(10)
        stage.speakers[H0].chip("chip_hbm_bandwidth_percent", 1, 80)
        await stage.rounds(8)
        before = stage.kept
        assert {name for name, one in before.items() if one.state is State.FIRING} == both
    stage.restart()
    async with stage.connected():
        for _ in range(20):
            await stage.rounds(1)
            assert {name for name, one in stage.kept.items() if one.state is State.FIRING} == both
        assert all(stage.kept[name].since == before[name].since for name in both)
        stage.speakers[H0].chip("chip_hbm_bandwidth_percent", 1, 60)
        await stage.rounds(8)
        stage.speakers[H0].chip("chip_hbm_bandwidth_percent", 1, 80)
        await stage.rounds(4)
        assert {one.state for one in stage.kept.values()} == {State.RESOLVED}
