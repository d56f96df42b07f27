"""Baselines on disk: as far as a file is believed that somebody else may have written, and what the broker says of it after a restart."""

from __future__ import annotations

import asyncio
import io
import shutil
import zipfile
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sliceward.daemons import topics
from sliceward.daemons.watcher import baselines
from sliceward.detectors.finding import Kind, State, to_json
from tests.daemons.watcher.life import LEARN, OTHER, SICK, Life, firing, kept_in, ours, rewritten
from tests.daemons.watcher.stage import settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.daemons.watcher.stage import Stage

SUSPECT, CONDEMNED = f"PartSuspect {SICK}", f"PartCondemned {SICK}"
RESTARTED = 8
"""Rounds after a restart until all is told."""


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, datetime]:
    """A folder of baselines, and when they were saved."""
    folder = tmp_path_factory.mktemp("learnt")
    stage = named_by_themselves(kept_in(folder))

    async def learn() -> None:
        async with stage.connected():
            await Life(stage).live(LEARN)

    asyncio.run(learn())
    return folder, stage.now


@pytest.fixture
def stage(learnt: tuple[Path, datetime], tmp_path: Path) -> Stage:
    """A watcher that has not begun, and has a copy of those baselines."""
    shutil.copy(learnt[0] / baselines.NAME, tmp_path / baselines.NAME)
    found = named_by_themselves(kept_in(tmp_path))
    found.now = learnt[1]
    found.restart()
    return found


def named_by_themselves(stage: Stage) -> Stage:
    """Let the machines have other names for themselves than Kubernetes has."""
    for speaker in stage.speakers.values():
        speaker.instance_id = f"meta-{speaker.instance_id}"
    return stage


def file_of(stage: Stage) -> Path:
    folder = stage.watcher.parts.settings.statistics.folder
    assert folder is not None
    return folder / baselines.NAME


def accusation(**more: object) -> dict[str, object]:
    row = {
        "part": OTHER, "since": 1, "crowd": "chip", "signal": "chip_throttle_score", "best": 0, "nats": 60.0, "quiet": 0, "level": "condemned",
        "corroborated": True, "sticky": False,
    }  # fmt: skip
    return row | more


def offset(path: Path, change: Callable[[np.ndarray[Any, Any]], object]) -> np.ndarray[Any, Any]:
    with np.load(path) as file:
        found = np.array(file["chip/base/offset"])
    told = change(found)
    return told if isinstance(told, np.ndarray) else found


ACCUSED: dict[str, dict[str, object]] = {
    "of a part that is no id": {"part": "a/b/c"}, "of a number": {"part": 7}, "since a text": {"since": "x"}, "since the future": {"since": 10**8},
    "by a shift that there is not": {"best": 99}, "that is never quiet enough": {"quiet": -(10**9)}, "of no level": {"level": "guilty"},
    "of endless evidence": {"nats": 1e300}, "of no evidence": {"nats": None}, "told in another age": {"told": 1e300},
    "by nobody": {"by": [["x"]]}, "of a yes that is none": {"sticky": 1}, "of an offence that is none": {"offences": "many", "tick": 1},
}  # fmt: skip


@pytest.mark.parametrize("wrong", ACCUSED.values(), ids=ACCUSED.keys())
def test_an_accusation_that_no_watch_makes_is_refused(stage: Stage, wrong: dict[str, object]) -> None:
    rewritten(file_of(stage), accused=[accusation(**wrong)])
    with pytest.raises(baselines.BadBaselines):
        baselines.load(file_of(stage).parent, "c1", now=stage.now.timestamp(), oldest=3600.0)


NUMBERS: dict[str, dict[str, object]] = {
    "a need that nothing meets": {"numbers": {"stricter": 1e9}}, "no number": {"numbers": {"stricter": float("nan")}},
    "ticks that were not": {"numbers": {"tick": -1}}, "more ticks of a part than of all": {"numbers": {"chip/base/ticks": 10**6}},
    "another day": {"at": 2e9}, "no time": {"at": float("inf")}, "no signals": {"signals": 5},
}  # fmt: skip


@pytest.mark.parametrize("wrong", NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_that_no_watch_comes_to_are_refused(stage: Stage, wrong: dict[str, Any]) -> None:
    rewritten(file_of(stage), **wrong)
    with pytest.raises(baselines.BadBaselines):
        baselines.load(file_of(stage).parent, "c1", now=stage.now.timestamp(), oldest=3600.0)


def infinite(found: np.ndarray[Any, Any]) -> None:
    found[0, 3] = np.inf


def missing(found: np.ndarray[Any, Any]) -> None:
    found[0, 3] = np.nan


def out_of_range(found: np.ndarray[Any, Any]) -> None:
    found[0, 3] = 1e6


def texts(found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return found.astype("U8")


@pytest.mark.parametrize("wrong", [infinite, missing, out_of_range, texts], ids=lambda one: one.__name__)
def test_values_that_no_watch_comes_to_are_refused(stage: Stage, wrong: Callable[[np.ndarray[Any, Any]], object]) -> None:
    path = file_of(stage)
    rewritten(path, **{"chip/base/offset": offset(path, wrong)})
    with pytest.raises(baselines.BadBaselines):
        baselines.load(path.parent, "c1", now=stage.now.timestamp(), oldest=3600.0)


def packed(path: Path, entry: bytes, how: int) -> None:
    with zipfile.ZipFile(path, "w", how) as file:
        file.writestr("a.npy", entry)


def header(shape: tuple[int, ...]) -> bytes:
    told = io.BytesIO()
    np.lib.format.write_array_header_1_0(told, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return told.getvalue()


@pytest.mark.parametrize(
    ("entry", "how"),
    [
        (header((400_000_000,)) + bytes(1_000_000), zipfile.ZIP_DEFLATED),
        (header((400_000_000_000,)) + bytes(8), zipfile.ZIP_STORED),
        (b"no array", zipfile.ZIP_STORED),
    ],
    ids=["packed", "larger than it is", "none"],
)
def test_a_file_that_would_fill_the_memory_is_refused_unread(stage: Stage, entry: bytes, how: int) -> None:
    packed(file_of(stage), entry, how)
    with pytest.raises(baselines.BadBaselines):
        baselines.load(file_of(stage).parent, "c1", now=stage.now.timestamp(), oldest=3600.0)


async def test_an_array_of_another_shape_is_set_aside_at_once_and_fails_no_round(stage: Stage) -> None:
    path = file_of(stage)
    rewritten(path, **{"chip/base/offset": offset(path, lambda found: np.vstack((found, found[:1])))})
    async with stage.connected():
        await Life(stage).live(RESTARTED)
        counts = stage.watcher.counts
        assert (counts["baselines_refused"], counts["statistics_failed"], path.exists()) == (1, 0, False)


# ── what is plausible, and wrong ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_alone_condemns_nobody_and_a_suspect_that_is_well_is_cleared(stage: Stage) -> None:
    rewritten(file_of(stage), accused=[accusation()])
    async with stage.connected():
        life = Life(stage)
        await life.live(RESTARTED)
        assert stage.watcher.counts["baselines_restored"] == 1
        assert firing(stage) == {f"PartSuspect {OTHER}"}
        for _ in range(30):
            await life.live(1)
            assert not any(one.kind is Kind.PART_CONDEMNED for one in ours(stage).values())


async def test_evidence_that_stands_in_a_file_accuses_nobody(stage: Stage) -> None:
    path = file_of(stage)
    with np.load(path) as file:
        forged = {name: np.array(file[name]) for name in file.files if name in {"chip/bank/nats", "chip/nats", "chip/most"}}
    for nats in forged.values():
        nats[..., 5] = 60.0
    rewritten(path, **forged)
    async with stage.connected():
        await Life(stage).live(RESTARTED + 6)
        assert stage.watcher.counts["baselines_restored"] == 1
        assert ours(stage) == {}


# ── what the broker says ──────────────────────────────────────────────────────────────────────────────────────────────


async def accused(stage: Stage, rounds: int, *, throttled: bool = False) -> Life:
    """Let a chip be accused by a first watcher, and stay sick."""
    life = Life(stage)
    async with stage.connected():
        await life.live(RESTARTED)
        life.slow()
        await life.live(8)
        if throttled:
            life.throttled()
        await life.live(rounds - 8)
    return life


async def test_what_was_accused_after_the_file_was_written_goes_on(stage: Stage) -> None:
    life = await accused(stage, 8)
    since = ours(stage)[SUSPECT].since
    rewritten(file_of(stage), accused=[])
    stage.restart()
    async with stage.connected():
        for _ in range(20):
            await life.live(1)
            assert (ours(stage)[SUSPECT].state, ours(stage)[SUSPECT].since) == (State.FIRING, since)


async def test_what_was_condemned_after_the_file_was_written_stays_condemned(stage: Stage) -> None:
    life = await accused(stage, 26, throttled=True)
    assert firing(stage) == {CONDEMNED}
    rewritten(
        file_of(stage), accused=[accusation(part=SICK, level="suspect", corroborated=False, signal="chip_tensorcore_percent low")]
    )
    stage.restart()
    async with stage.connected():
        for _ in range(16):
            await life.live(1)
            assert ours(stage)[CONDEMNED].state is not State.RESOLVED
        assert firing(stage) == {CONDEMNED}


async def test_what_was_cleared_after_the_file_was_written_is_not_accused_again(stage: Stage) -> None:
    await accused(stage, 8)
    told = ours(stage)[SUSPECT]
    over = replace(told, state=State.RESOLVED, seen=stage.now + timedelta(seconds=300), text="cleared by its readings")
    stage.say(topics.finding("c1", told.id), to_json(over), retain=True)
    stage.now += timedelta(seconds=310)
    stage.restart()
    async with stage.connected():
        life = Life(stage)
        await life.live(RESTARTED + 4)
        assert firing(stage) == set()


async def test_with_an_empty_broker_a_finding_is_dated_as_before_and_must_be_condemned_anew(stage: Stage) -> None:
    life = await accused(stage, 28, throttled=True)
    before = ours(stage)[CONDEMNED]
    stage.broker.retained.clear()
    stage.restart()
    async with stage.connected():
        await life.live(RESTARTED)
        assert firing(stage) == {SUSPECT}
        assert before.since - timedelta(minutes=5) < ours(stage)[SUSPECT].since <= before.since
        await life.live(14)
        assert firing(stage) == {CONDEMNED}


# ── who is not there yet ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_kubernetes_does_not_answer_nothing_is_learnt_anew_and_nothing_resolved(stage: Stage) -> None:
    life = await accused(stage, 28, throttled=True)
    stage.restart()
    hearing = asyncio.create_task(stage.wire.run(stage.watcher.take, stage.watcher._greet))  # noqa: SLF001 (the broker alone)
    await settle()
    for number in range(20):
        await life.live(1)
        assert ours(stage)[CONDEMNED].state in ({State.FIRING, State.UNKNOWN} if number < 8 else {State.UNKNOWN})
    reading = asyncio.create_task(stage.watcher.parts.surroundings.run())
    await settle()
    for _ in range(4):
        await life.live(1)
        assert ours(stage)[CONDEMNED].state is not State.RESOLVED
    assert firing(stage) == {CONDEMNED}
    statistics = stage.watcher.statistics
    assert statistics is not None
    assert statistics.warm
    assert (stage.watcher.counts["learnt_anew"], stage.watcher.counts["baselines_restored"]) == (0, 1)
    for task in (hearing, reading):
        task.cancel()
    await asyncio.gather(hearing, reading, return_exceptions=True)


async def test_a_machine_that_kubernetes_names_otherwise_than_it_names_itself_is_the_same_after_a_restart(stage: Stage) -> None:
    life = await accused(stage, 8)
    stage.restart()
    async with stage.connected():
        await stage.watcher.round()  # Kubernetes is read, and no frame came yet
        await stage.watcher.compare()
        await life.live(RESTARTED)
        assert (firing(stage), stage.watcher.counts["learnt_anew"]) == ({SUSPECT}, 0)
