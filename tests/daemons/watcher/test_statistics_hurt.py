"""What is wrong with readings, clocks, frames and names condemns nobody, whatever the statistical passes make of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sliceward.detectors.finding import Kind
from sliceward.detectors.frame import decode, encode
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD
from tests.builders import a_fleet
from tests.daemons.watcher.life import LEARN, METERS, Life, ours
from tests.daemons.watcher.stage import A_CLUSTER, H0, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.daemons.watcher.life import Fault, Said

ROUNDS = 30


@dataclass
class Hurt(Stage):
    """A stage on which frames of every fourth host go wrong after a while. ``wrong``: how."""

    wrong: str = ""
    held: dict[str, list[bytes]] = field(default_factory=dict)
    said: int = 0

    def frames(self) -> Iterator[tuple[str, bytes]]:
        self.said += 1
        for number, (name, payload) in enumerate(super().frames()):
            if number % 4 or self.said <= LEARN:
                yield name, payload
            else:
                yield from ((name, one) for one in self._spoilt(name, payload))

    def _spoilt(self, name: str, payload: bytes) -> list[bytes]:
        frame, held = decode(payload), self.held.setdefault(name, [])
        match self.wrong:
            case "clock ahead" | "clock behind":
                step = 300 if self.wrong == "clock ahead" else -300
                return [encode(replace(frame, at=frame.at + step))]
            case "late":
                held.append(payload)
                return [held.pop(0)] if len(held) > 3 else []
            case "doubled":
                return [payload, payload]
            case "out of order":
                held.append(payload)
                return [held.pop(), held.pop()] if len(held) > 1 else []
            case "from the future":
                return [encode(replace(frame, at=frame.at + 86_400 * (self.said % 2)))]
            case "lost by the third":
                return [payload] if self.said % 3 else []
            case _:
                raise AssertionError(self.wrong)


WRONG = ("clock ahead", "clock behind", "late", "doubled", "out of order", "from the future", "lost by the third")


def condemned(stage: Stage) -> list[str]:
    return [key for key, one in ours(stage).items() if one.kind is Kind.PART_CONDEMNED]


@pytest.mark.parametrize("wrong", WRONG)
async def test_frames_that_go_wrong_condemn_nobody(wrong: str) -> None:
    stage = Hurt(wrong=wrong)
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN + ROUNDS)
        assert condemned(stage) == []


def counters_restart(tick: int, said: Said) -> None:
    if tick > LEARN:
        said["chip_hbm_correctable_total"][::3] %= 2


def counters_wrap(_: int, said: Said) -> None:
    said["chip_hbm_correctable_total"] = (said["chip_hbm_correctable_total"] + 2**32 - 3) % 2**32


def nonsense(tick: int, said: Said) -> None:
    said["chip_duty_cycle_percent"][tick % 64] = np.inf
    said["chip_tensorcore_percent"][(7 * tick) % 64] = np.nan
    said["chip_hbm_correctable_total"][(5 * tick) % 64] = -np.inf


def vanished(tick: int, said: Said) -> None:
    if tick > LEARN:
        del said["chip_tensorcore_percent"]
        said["chip_duty_cycle_percent"][:20] = np.nan


def replugged(tick: int, said: Said) -> None:
    if tick > LEARN:
        for values in said.values():
            values[[0, 1, 30, 31]] = values[[1, 0, 31, 30]]


def wave_of_load(tick: int, said: Said) -> None:
    for name in METERS:
        said[name] += 20 * np.sin(tick / 9)


def dropout(tick: int, said: Said) -> None:
    lost = np.random.default_rng(tick).random(64) < 0.3
    for values in said.values():
        values[lost] = np.nan


def stages_of_a_job(tick: int, said: Said) -> None:
    if tick > LEARN:  # the last quarter of the chips works twice as long by design
        for name in METERS:
            said[name][48:] += 15


@pytest.mark.parametrize(
    "fault",
    [counters_restart, counters_wrap, nonsense, vanished, replugged, wave_of_load, dropout, stages_of_a_job],
    ids=lambda fault: fault.__name__,
)
async def test_readings_that_go_wrong_condemn_nobody(fault: Fault) -> None:
    stage = Stage()
    life = Life(stage)
    life.faults.append(fault)
    async with stage.connected():
        await life.live(LEARN + ROUNDS)
        assert condemned(stage) == []


async def test_a_wave_of_reboots_condemns_nobody() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        names = list(stage.speakers)
        for step in range(ROUNDS):
            stage.silent = set(names[step // 2 : step // 2 + 3])
            if step % 2 == 0 and step // 2 < len(names):
                speaker = stage.speakers[names[step // 2]]
                speaker.boot_id, speaker.seq, speaker.agent_start = f"b-{step}", 0, stage.now.timestamp()
            await life.live(1)
        assert condemned(stage) == []


async def test_links_of_which_the_ends_disagree_accuse_nobody() -> None:
    stage = Stage(a_fleet().with_cubes(1))
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        for port in range(6):
            stage.speakers[H0].link(1, port, 7.0)
        await life.live(ROUNDS)
        assert ours(stage) == {}


async def test_another_job_in_mid_window_condemns_nobody_and_is_learnt_anew() -> None:
    stage = Stage(a_fleet().with_cubes(1))
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        statistics = stage.watcher.statistics
        assert statistics is not None
        assert statistics.places is not None
        assert statistics.places.roles == ("idle tpu7x",)
        objects = A_CLUSTER.objects()
        for kind, rows in ((NODE, objects.nodes), (POD, objects.pods), (JOB, objects.jobs), (JOBSET, objects.jobsets)):
            stage.cluster.put_all(kind, rows)
        life.offset = {name: life.dice.normal(0, 2.0, life.count) for name in METERS}
        await life.live(ROUNDS)
        assert statistics.places.roles == ("default.llm-slice-0",)
        assert ours(stage) == {}
